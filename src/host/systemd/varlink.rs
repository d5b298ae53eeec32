//! systemd's units over Varlink: the interface io.systemd.Metrics, available since systemd 260, which needs no bus.
//!
//! One call lists all metrics of the manager. Each value is a separate message, a JSON object followed by a zero byte;
//! the last one does not have `continues` set. Only the state of each unit and the restarts of each service are used.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::Unit;
use super::channel::Channel;

const CALL: &[u8] = b"{\"method\":\"io.systemd.Metrics.List\",\"more\":true}\0";
/// Maximum message size; a unit name has at most 255 bytes.
const MOST_MESSAGE_BYTES: usize = 16 * 1024;
/// Maximum size of the whole reply; 300 units are about half a megabyte.
const MOST_BYTES: usize = 16 << 20;

/// Lists the loaded units, with the restarts of services.
pub fn units(socket: &Path, deadline: Instant) -> io::Result<Vec<Unit>> {
    let mut channel = Channel::open(socket, deadline)?;
    channel.write(CALL)?;
    let mut units = Vec::new();
    let mut restarts = HashMap::new();
    let (mut buffer, mut filled, mut all) = (vec![0; MOST_MESSAGE_BYTES], 0, 0);
    loop {
        let room = buffer.get_mut(filled..).filter(|room| !room.is_empty()).ok_or_else(no_answer)?;
        let count = channel.read_some(room)?;
        (filled, all) = (filled + count, all + count);
        if all > MOST_BYTES {
            return Err(no_answer());
        }
        let mut start = 0;
        while let Some(rest) = buffer.get(start..filled)
            && let Some(end) = rest.iter().position(|&byte| byte == 0)
        {
            let more = take(rest.get(..end).unwrap_or_default(), &mut units, &mut restarts)?;
            start += end + 1;
            if !more {
                units.iter_mut().for_each(|unit: &mut Unit| unit.restarts = restarts.remove(&unit.name));
                // Every host has units: a manager without them uses another name for the metric.
                return if units.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(units) };
            }
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

/// Evaluates a message; returns whether more follow.
fn take(message: &[u8], units: &mut Vec<Unit>, restarts: &mut HashMap<String, u64>) -> io::Result<bool> {
    let message: Value = serde_json::from_slice(message).map_err(|_| no_answer())?;
    if message.get("error").is_some() {
        // The method or the metric does not exist.
        return Err(io::ErrorKind::NotFound.into());
    }
    let parameters = message.get("parameters").ok_or_else(no_answer)?;
    let text = |key: &str| parameters.get(key).and_then(Value::as_str);
    if let (Some(name), Some(unit), Some(value)) = (text("name"), text("object"), parameters.get("value")) {
        match name {
            "io.systemd.Manager.UnitActiveState" => units.push(Unit {
                name: unit.to_owned(),
                loaded: true,
                active_state: value.as_str().ok_or_else(no_answer)?.to_owned(),
                path: String::new(),
                restarts: None,
            }),
            "io.systemd.Manager.NRestarts" => {
                restarts.insert(unit.to_owned(), value.as_u64().ok_or_else(no_answer)?);
            }
            _ => {}
        }
    }
    Ok(message.get("continues").and_then(Value::as_bool).unwrap_or(false))
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "systemd sent what is no answer")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MOST: Duration = Duration::from_secs(20);

    /// Returns the client's result if a server replies with these bytes and closes the connection.
    fn asked(answer: Vec<u8>) -> io::Result<Vec<Unit>> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut call = vec![0; CALL.len()];
            stream.read_exact(&mut call).unwrap();
            assert_eq!(call, CALL);
            // The client may already have closed the connection.
            let _ = stream.write_all(&answer);
        });
        let units = units(&socket, Instant::now() + MOST);
        server.join().unwrap();
        units
    }

    fn value(name: &str, object: &str, value: &str, continues: bool) -> Vec<u8> {
        let text = format!(
            r#"{{"parameters":{{"name":"io.systemd.Manager.{name}","object":"{object}","value":{value}}},"continues":{continues}}}"#
        );
        [text.as_bytes(), b"\0"].concat()
    }

    fn answer() -> Vec<u8> {
        [
            value("NRestarts", "a.service", "4", true),
            b"{\"parameters\":{\"name\":\"io.systemd.Manager.UnitsTotal\",\"value\":2},\"continues\":true}\0".to_vec(),
            value("UnitActiveState", "a.service", r#""failed""#, true),
            value("UnitActiveState", r"dev-disk\\x2d1.device", r#""active""#, false),
        ]
        .concat()
    }

    #[test]
    fn units_and_restarts_come_with_one_call() {
        let units = asked(answer()).unwrap();
        let found: Vec<_> = units.iter().map(|unit| (&*unit.name, &*unit.active_state, unit.restarts)).collect();
        assert_eq!(found, [("a.service", "failed", Some(4)), (r"dev-disk\x2d1.device", "active", None)]);
    }

    #[test]
    fn an_answer_of_thousands_of_messages_is_read_to_its_end() {
        let mut all = value("StatusErrno", "a.service", "0", true).repeat(9_000);
        all.extend(answer());
        assert_eq!(asked(all).unwrap().len(), 2);
    }

    #[test]
    fn a_systemd_without_these_metrics_is_not_found() {
        for answer in [
            b"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{}}\0".to_vec(),
            value("unit_active_state", "a.service", r#""active""#, false),
        ] {
            assert_eq!(asked(answer).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn hostile_answers_are_errors() {
        let endless = value("StatusErrno", "a.service", "0", true).repeat(MOST_BYTES / 100);
        for (number, answer) in [
            Vec::new(),
            b"HTTP/1.1 400 Bad Request\r\n\r\n\0".to_vec(),
            b"[]\0".to_vec(),
            b"{\"parameters\":null}".to_vec(),
            value("UnitActiveState", "a.service", "7", true),
            value("NRestarts", "a.service", "-7", true),
            answer()[..answer().len() - 1].to_vec(),
            vec![b' '; 2 * MOST_MESSAGE_BYTES],
            b"[".repeat(MOST_MESSAGE_BYTES - 1),
            endless,
        ]
        .into_iter()
        .enumerate()
        {
            assert!(asked(answer).is_err(), "answer {number}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>, at: prop::sample::Index, with: u8) {
            let _ = take(&bytes, &mut Vec::new(), &mut HashMap::new());
            let mut message = value("UnitActiveState", "a.service", r#""active""#, false);
            let at = at.index(message.len());
            message[at] = with;
            let _ = take(&message, &mut Vec::new(), &mut HashMap::new());
        }
    }
}
