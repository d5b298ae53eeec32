//! systemd's units, over Varlink where systemd has it (`varlink.rs`), otherwise over its D-Bus interface
//! (org.freedesktop.systemd1(5)). Any user may read both.
//!
//! Clients of a few calls, on the standard library: the libraries for D-Bus cost ten times their memory. Every step is bounded
//! in time and every message in size; whatever the peer sends is an error at most. After an error the connection is closed,
//! and the next call opens another.

mod bus;
mod channel;
mod varlink;
mod wire;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bus::Connection;
use wire::{Call, Decoder};

use super::Host;

/// One unit that systemd has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name, such as `ssh.service`.
    pub name: String,
    /// Whether systemd has read the unit's file: a unit may also be known only because another one asks for it.
    pub loaded: bool,
    /// `active`, `failed` and so on.
    pub active_state: String,
    /// The name of its D-Bus object; empty where the unit was listed over Varlink.
    path: String,
    /// How often systemd restarted it, where the list has that.
    restarts: Option<u64>,
}

/// A property of one of systemd's objects.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    path: &'a str,
    interface: &'static str,
    name: &'static str,
}

impl Unit {
    /// A property that the unit has as a `kind` (`Service`, `Timer` and so on).
    #[must_use]
    pub fn property(&self, kind: Kind, name: &'static str) -> Property<'_> {
        Property { path: &self.path, interface: kind.interface(), name }
    }
}

/// A property of systemd itself.
#[must_use]
pub fn manager(name: &'static str) -> Property<'static> {
    Property { path: LIST_UNITS.path, interface: LIST_UNITS.interface, name }
}

/// The kinds of units that have properties of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service.
    Service,
    /// A socket.
    Socket,
    /// A timer.
    Timer,
}

impl Kind {
    const fn interface(self) -> &'static str {
        match self {
            Self::Service => "org.freedesktop.systemd1.Service",
            Self::Socket => "org.freedesktop.systemd1.Socket",
            Self::Timer => "org.freedesktop.systemd1.Timer",
        }
    }

    /// The kind of the unit of this name.
    #[must_use]
    pub fn of(unit: &str) -> Option<Self> {
        match unit.rsplit_once('.')?.1 {
            "service" => Some(Self::Service),
            "socket" => Some(Self::Socket),
            "timer" => Some(Self::Timer),
            _ => None,
        }
    }
}

/// What a property is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Number(u64),
    /// A text.
    Text(String),
}

impl Value {
    /// The number.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    /// The text.
    #[must_use]
    pub fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A client of the host's systemd.
#[derive(Debug)]
pub struct Systemd {
    varlink: Option<PathBuf>,
    socket: PathBuf,
    connection: Option<Connection>,
}

const MANAGER: &str = "org.freedesktop.systemd1";
const LIST_UNITS: Call<'static> = Call {
    destination: MANAGER,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "ListUnits",
    arguments: &[],
};
/// An array of units: name, description, load state, active state, sub state, followed unit, object path, job's id, type and
/// object path.
const UNITS: &str = "a(ssssssouso)";
/// Requests that are sent before their answers are read: few enough for the socket's buffers.
const AT_ONCE: usize = 64;

impl Systemd {
    /// A client that connects at its first call.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        let run = host.root().join("run");
        Self {
            varlink: Some(run.join("systemd/report/io.systemd.Manager")),
            socket: run.join("dbus/system_bus_socket"),
            connection: None,
        }
    }

    /// A client that uses D-Bus alone, for properties that Varlink does not have.
    #[must_use]
    pub fn over_dbus(host: &Host) -> Self {
        Self { varlink: None, ..Self::new(host) }
    }

    /// Where the system bus listens.
    #[must_use]
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// The units that are loaded.
    ///
    /// # Errors
    /// `NotFound` where there is no system bus, or no systemd on it, `PermissionDenied` where it may not be used, `TimedOut` after `most`,
    /// `InvalidData` for an answer that is none, and those of the socket.
    pub fn units(&mut self, most: Duration) -> io::Result<Vec<Unit>> {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        // A systemd without Varlink has no such socket. A quarter of the time is left for the bus.
        let varlink = match self.varlink.as_ref().map(|path| varlink::units(path, Instant::now() + most * 3 / 4)) {
            Some(Ok(units)) => return Ok(units),
            Some(Err(error)) => error,
            None => NotFound.into(),
        };
        let listed = self.with(most, |connection| {
            connection.send(&[LIST_UNITS])?;
            let answer = connection.answer()?;
            parse_units(&answer.signature, Decoder::new(&answer.body, answer.big_endian)).ok_or_else(bus::no_answer)
        });
        // Without a bus, a Varlink socket that is there and fails is the failure.
        let absent = matches!(varlink.kind(), NotFound | ConnectionRefused);
        listed.map_err(|bus| if bus.kind() == NotFound && !absent { varlink } else { bus })
    }

    /// The properties, in their order; `None` where systemd does not have one: before the version that brought it, or of a
    /// unit that is gone.
    ///
    /// # Errors
    /// As [`Systemd::units`].
    pub fn properties(&mut self, asked: &[Property<'_>], most: Duration) -> io::Result<Vec<Option<Value>>> {
        self.with(most, |connection| {
            let mut values = Vec::with_capacity(asked.len());
            for asked in asked.chunks(AT_ONCE) {
                let arguments: Vec<_> = asked.iter().map(|property| [property.interface, property.name]).collect();
                let calls: Vec<_> =
                    asked.iter().zip(&arguments).map(|(property, names)| get(property.path, names)).collect();
                connection.send(&calls)?;
                for _ in &calls {
                    let answer = connection.answer_or_refusal()?;
                    values.push(answer.ok().and_then(|answer| {
                        parse_value(&answer.signature, Decoder::new(&answer.body, answer.big_endian))
                    }));
                }
            }
            Ok(values)
        })
    }

    /// How often systemd restarted each of the services, in their order; `None` where it does not say (before systemd 235,
    /// or a unit that is gone).
    ///
    /// # Errors
    /// As [`Systemd::units`].
    pub fn restarts(&mut self, services: &[&Unit], most: Duration) -> io::Result<Vec<Option<u64>>> {
        if services.iter().all(|unit| unit.path.is_empty()) {
            return Ok(services.iter().map(|unit| unit.restarts).collect());
        }
        let asked: Vec<_> = services.iter().map(|unit| unit.property(Kind::Service, "NRestarts")).collect();
        let counts = self.properties(&asked, most)?;
        Ok(counts.into_iter().map(|count| count?.number()).collect())
    }

    /// Where the bus has closed the connection since the last call, it is asked once more over a new one.
    fn with<T>(&mut self, most: Duration, work: impl Fn(&mut Connection) -> io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let deadline = Instant::now() + most;
        if let Some(mut connection) = self.connection.take() {
            connection.set_deadline(deadline);
            match work(&mut connection) {
                Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => {}
                result => return self.keep(connection, result),
            }
        }
        let mut connection = Connection::open(&self.socket, deadline)?;
        let result = work(&mut connection);
        self.keep(connection, result)
    }

    fn keep<T>(&mut self, connection: Connection, result: io::Result<T>) -> io::Result<T> {
        self.connection = Some(connection).filter(|_| result.is_ok());
        result
    }
}

fn get<'a>(path: &'a str, arguments: &'a [&'a str]) -> Call<'a> {
    Call { destination: MANAGER, path, interface: "org.freedesktop.DBus.Properties", member: "Get", arguments }
}

fn parse_value(signature: &str, mut body: Decoder<'_>) -> Option<Value> {
    if signature != "v" {
        return None;
    }
    match body.signature()? {
        "u" => body.u32().map(|number| Value::Number(number.into())),
        "t" => body.u64().map(Value::Number),
        "s" => body.text().map(|text| Value::Text(text.to_owned())),
        _ => None,
    }
}

fn parse_units(signature: &str, mut body: Decoder<'_>) -> Option<Vec<Unit>> {
    if signature != UNITS {
        return None;
    }
    let end = body.array(8)?;
    let mut units = Vec::new();
    while body.position() < end {
        body.align(8)?;
        let name = body.text()?.to_owned();
        let _description = body.text()?;
        let loaded = body.text()? == "loaded";
        let active_state = body.text()?.to_owned();
        let (_sub_state, _followed) = (body.text()?, body.text()?);
        let path = body.text()?.to_owned();
        let (_job, _job_type, _job_path) = (body.u32()?, body.text()?, body.text()?);
        units.push(Unit { name, loaded, active_state, path, restarts: None });
    }
    (body.position() == end).then_some(units)
}

#[cfg(test)]
pub(crate) mod tests;
