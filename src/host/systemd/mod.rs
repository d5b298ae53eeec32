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
    /// `active`, `failed` and so on.
    pub active_state: String,
    /// The name of its D-Bus object; empty where the unit was listed over Varlink.
    path: String,
    /// How often systemd restarted it, where the list has that.
    restarts: Option<u64>,
}

/// A client of the host's systemd.
#[derive(Debug)]
pub struct Systemd {
    varlink: PathBuf,
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
            varlink: run.join("systemd/report/io.systemd.Manager"),
            socket: run.join("dbus/system_bus_socket"),
            connection: None,
        }
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
        let varlink = match varlink::units(&self.varlink, Instant::now() + most * 3 / 4) {
            Ok(units) => return Ok(units),
            Err(error) => error,
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

    /// How often systemd restarted each of the services, in their order; `None` where it does not say (before systemd 235,
    /// or a unit that is gone).
    ///
    /// # Errors
    /// As [`Systemd::units`].
    pub fn restarts(&mut self, services: &[&Unit], most: Duration) -> io::Result<Vec<Option<u64>>> {
        if services.iter().all(|unit| unit.path.is_empty()) {
            return Ok(services.iter().map(|unit| unit.restarts).collect());
        }
        self.with(most, |connection| {
            let mut counts = Vec::with_capacity(services.len());
            for services in services.chunks(AT_ONCE) {
                let calls: Vec<_> = services.iter().map(|unit| get_restarts(&unit.path)).collect();
                connection.send(&calls)?;
                for _ in &calls {
                    let answer = connection.answer_or_refusal()?;
                    counts.push(answer.ok().and_then(|answer| {
                        let mut body = Decoder::new(&answer.body, answer.big_endian);
                        (answer.signature == "v" && body.signature()? == "u").then(|| body.u32().map(u64::from))?
                    }));
                }
            }
            Ok(counts)
        })
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

fn get_restarts(path: &str) -> Call<'_> {
    Call {
        destination: MANAGER,
        path,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        arguments: &["org.freedesktop.systemd1.Service", "NRestarts"],
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
        let (_description, _load_state) = (body.text()?, body.text()?);
        let active_state = body.text()?.to_owned();
        let (_sub_state, _followed) = (body.text()?, body.text()?);
        let path = body.text()?.to_owned();
        let (_job, _job_type, _job_path) = (body.u32()?, body.text()?, body.text()?);
        units.push(Unit { name, active_state, path, restarts: None });
    }
    (body.position() == end).then_some(units)
}

#[cfg(test)]
pub(crate) mod tests;
