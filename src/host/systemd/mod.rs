//! systemd's units, over Varlink if available (`varlink.rs`), otherwise over its D-Bus interface
//! (org.freedesktop.systemd1(5)). Both are readable by any user.
//!
//! These are minimal clients based on the standard library, because D-Bus libraries use ten times their memory. Every
//! operation has a deadline and every message a size limit; invalid data from the peer is only an error. After an error
//! the connection is closed, and the next call opens a new one.

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

/// A unit that is loaded in systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name, such as `ssh.service`.
    pub name: String,
    /// Whether the unit's file was loaded. A unit may also be known only because another unit refers to it.
    pub loaded: bool,
    /// `active`, `failed` and so on.
    pub active_state: String,
    /// Path of its D-Bus object; empty if the unit was listed over Varlink.
    path: String,
    /// Number of restarts by systemd, if the list contains it.
    restarts: Option<u64>,
}

/// A property of a systemd object.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    path: &'a str,
    interface: &'static str,
    name: &'static str,
}

impl Unit {
    /// A property of the unit for its `kind` (`Service`, `Timer` and so on).
    #[must_use]
    pub fn property(&self, kind: Kind, name: &'static str) -> Property<'_> {
        Property { path: &self.path, interface: kind.interface(), name }
    }
}

/// A property of the manager.
#[must_use]
pub fn manager(name: &'static str) -> Property<'static> {
    Property { path: LIST_UNITS.path, interface: LIST_UNITS.interface, name }
}

/// Kinds of units with properties that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Service,
    Socket,
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

    /// The kind of a unit, by its name.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Text(String),
}

impl Value {
    #[must_use]
    pub fn number(self) -> Option<u64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    #[must_use]
    pub fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

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
/// D-Bus signature of a list of units: name, description, load state, active state, sub state, followed unit, object
/// path, and the job's id, type and object path.
const UNITS: &str = "a(ssssssouso)";
/// Number of requests sent before replies are read; small enough for the socket buffers.
const AT_ONCE: usize = 64;

impl Systemd {
    /// Creates a client that connects at the first call.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        let run = host.root().join("run");
        Self {
            varlink: Some(run.join("systemd/report/io.systemd.Manager")),
            socket: run.join("dbus/system_bus_socket"),
            connection: None,
        }
    }

    /// Creates a client that uses only D-Bus, for properties that Varlink does not have.
    #[must_use]
    pub fn over_dbus(host: &Host) -> Self {
        Self { varlink: None, ..Self::new(host) }
    }

    #[must_use]
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Lists the loaded units.
    ///
    /// # Errors
    /// `NotFound` if there is no system bus or no systemd on it, `PermissionDenied` if access is denied, `TimedOut`
    /// after `most`, `InvalidData` for an invalid reply, and errors of the socket.
    pub fn units(&mut self, most: Duration) -> io::Result<Vec<Unit>> {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        // Older systemd versions have no Varlink socket. A quarter of the time is reserved for the bus.
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
        // If there is no bus but a Varlink socket exists, report the error of Varlink.
        let absent = matches!(varlink.kind(), NotFound | ConnectionRefused);
        listed.map_err(|bus| if bus.kind() == NotFound && !absent { varlink } else { bus })
    }

    /// Reads properties, in order; `None` if systemd does not have one: an older version, or the unit no longer exists.
    ///
    /// # Errors
    /// As [`Systemd::units`].
    pub fn properties(&mut self, wanted: &[Property<'_>], most: Duration) -> io::Result<Vec<Option<Value>>> {
        self.with(most, |connection| {
            let mut values = Vec::with_capacity(wanted.len());
            for chunk in wanted.chunks(AT_ONCE) {
                let arguments: Vec<_> = chunk.iter().map(|property| [property.interface, property.name]).collect();
                let calls: Vec<_> =
                    chunk.iter().zip(&arguments).map(|(property, names)| get(property.path, names)).collect();
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

    /// The number of restarts of each service, in order; `None` if it is unknown (before systemd 235, or the unit no
    /// longer exists).
    ///
    /// # Errors
    /// As [`Systemd::units`].
    pub fn restarts(&mut self, services: &[&Unit], most: Duration) -> io::Result<Vec<Option<u64>>> {
        if services.iter().all(|unit| unit.path.is_empty()) {
            return Ok(services.iter().map(|unit| unit.restarts).collect());
        }
        let wanted: Vec<_> = services.iter().map(|unit| unit.property(Kind::Service, "NRestarts")).collect();
        let counts = self.properties(&wanted, most)?;
        Ok(counts.into_iter().map(|count| count?.number()).collect())
    }

    /// Runs `work` on the connection. If the bus has closed it since the last call, retries once over a new one.
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
