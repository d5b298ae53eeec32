//! Tests of the client against a scripted bus.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::*;
use crate::host::Roots;

const MOST: Duration = Duration::from_secs(20);

/// A host with a bus that runs one of these scripts for each client.
pub(crate) struct Bus {
    pub(crate) dir: tempfile::TempDir,
    server: Option<JoinHandle<()>>,
}

type Script = Box<dyn FnOnce(Peer) + Send>;

impl Bus {
    pub(crate) fn new(scripts: Vec<Script>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("run/dbus")).unwrap();
        let listener = UnixListener::bind(dir.path().join("run/dbus/system_bus_socket")).unwrap();
        let server = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                script(Peer { reader: BufReader::new(stream.try_clone().unwrap()), stream });
            }
        });
        Self { dir, server: Some(server) }
    }

    pub(crate) fn host(&self) -> Host {
        Host::new(&Roots { root: Some(self.dir.path().to_owned()), ..Roots::default() })
    }

    pub(crate) fn end(mut self) {
        self.server.take().unwrap().join().unwrap();
    }
}

/// The server side of a client's connection.
pub(crate) struct Peer {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Peer {
    /// Answers the authentication and the hello.
    pub(crate) fn welcome(mut self) -> Self {
        let mut line = String::new();
        for expected in ["\0AUTH EXTERNAL\r\n", "DATA\r\n", "BEGIN\r\n"] {
            line.clear();
            self.reader.read_line(&mut line).unwrap();
            assert_eq!(line, expected);
        }
        self.stream.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").unwrap();
        let (serial, member) = self.call();
        assert_eq!(member, "Hello");
        let mut name = Vec::new();
        put_text(&mut name, ":1.7");
        self.send(&message(2, serial, "s", &name));
        // The signal that a bus sends to each client.
        self.send(&message(4, 0, "s", &name));
        self
    }

    /// Reads the next call; returns its serial and member.
    pub(crate) fn call(&mut self) -> (u32, String) {
        let mut fixed = [0; wire::FIXED_BYTES];
        self.reader.read_exact(&mut fixed).unwrap();
        let serial = u32::from_le_bytes(fixed[8..12].try_into().unwrap());
        let lengths = wire::Fixed::decode(&fixed).unwrap();
        let mut rest = vec![0; lengths.fields_bytes + lengths.body_bytes];
        self.reader.read_exact(&mut rest).unwrap();
        let text = String::from_utf8_lossy(&rest).into_owned();
        let member = ["Hello", "ListUnits", "Get"].into_iter().find(|member| text.contains(&format!("\0{member}\0")));
        (serial, member.unwrap_or_default().to_owned())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The client may already have closed the connection.
        let _ = self.stream.write_all(bytes);
    }
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    pad(out, 4);
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Creates a message of this kind (2 return, 3 error, 4 signal) as reply to the call with this serial.
pub(crate) fn message(kind: u8, reply: u32, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend_from_slice(&reply.to_le_bytes());
    fields.extend_from_slice(&[8, 1, b'g', 0, signature.len() as u8]);
    fields.extend_from_slice(signature.as_bytes());
    fields.push(0);
    let mut out = vec![b'l', kind, 0, 1];
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&9u32.to_le_bytes());
    out.extend_from_slice(&(fields.len() as u32).to_le_bytes());
    out.extend_from_slice(&fields);
    pad(&mut out, 8);
    out.extend_from_slice(body);
    out
}

/// Creates an error reply with this name to the call with this serial.
fn refusal(reply: u32, name: &str) -> Vec<u8> {
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend_from_slice(&reply.to_le_bytes());
    fields.extend_from_slice(&[4, 1, b's', 0]);
    put_text(&mut fields, name);
    let mut out = vec![b'l', 3, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0];
    out.extend_from_slice(&(fields.len() as u32).to_le_bytes());
    out.extend_from_slice(&fields);
    pad(&mut out, 8);
    out
}

/// Creates the body of a reply to ListUnits.
pub(crate) fn units_body(units: &[(&str, &str)]) -> Vec<u8> {
    // The length of the array, and padding to its elements.
    let mut body = vec![0; 8];
    for (name, state) in units {
        pad(&mut body, 8);
        for text in [name, "A description", "loaded", state, "dead", "", "/org/freedesktop/systemd1/unit/x"] {
            put_text(&mut body, text);
        }
        pad(&mut body, 4);
        body.extend_from_slice(&0u32.to_le_bytes());
        put_text(&mut body, "");
        put_text(&mut body, "/");
    }
    let length = (body.len() - 8) as u32;
    body[..4].copy_from_slice(&length.to_le_bytes());
    body
}

/// A script that answers each list of units, and then the calls for the restarts of services.
pub(crate) fn answering(lists: Vec<Vec<(&'static str, &'static str)>>, restarts: Vec<u32>) -> Script {
    Box::new(move |peer| {
        let mut peer = peer.welcome();
        let mut restarts = restarts.into_iter();
        for list in lists {
            let (serial, member) = peer.call();
            assert_eq!(member, "ListUnits");
            peer.send(&message(2, serial, UNITS, &units_body(&list)));
            for _ in list.iter().filter(|(name, _)| name.ends_with(".service")) {
                let Some(count) = restarts.next() else { continue };
                let (serial, member) = peer.call();
                assert_eq!(member, "Get");
                let mut body = vec![1, b'u', 0, 0];
                body.extend_from_slice(&count.to_le_bytes());
                peer.send(&message(2, serial, "v", &body));
            }
        }
    })
}

/// A script that refuses each call after the hello, as a bus whose policy denies it to this user.
pub(crate) fn denying(calls: usize) -> Script {
    Box::new(move |peer| {
        let mut peer = peer.welcome();
        for _ in 0..calls {
            let (serial, _) = peer.call();
            peer.send(&refusal(serial, "org.freedesktop.DBus.Error.AccessDenied"));
        }
    })
}

/// A script that answers the first call after the hello with these bytes and closes the connection.
fn hostile(answer: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Script {
    Box::new(move |peer| {
        let mut peer = peer.welcome();
        let (serial, _) = peer.call();
        peer.send(&answer(serial));
    })
}

#[test]
fn a_property_is_a_number_or_a_text() {
    let value = |body: &[u8]| parse_value("v", Decoder::new(body, false));
    assert_eq!(value(&[1, b'u', 0, 0, 7, 0, 0, 0]), Some(Value::Number(7)));
    assert_eq!(value(&[1, b't', 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1]), Some(Value::Number(7 + (1 << 56))));
    assert_eq!(value(&[1, b's', 0, 0, 2, 0, 0, 0, b'o', b'k', 0]), Some(Value::Text("ok".into())));
    assert_eq!(value(&[1, b'd', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(parse_value("s", Decoder::new(&[2, 0, 0, 0, b'o', b'k', 0], false)), None);
}

#[test]
fn units_and_restarts_are_read_over_one_connection() {
    let bus = Bus::new(vec![answering(vec![vec![("a.service", "active"), ("b.timer", "failed")]], vec![7])]);
    let mut systemd = Systemd::new(&bus.host());
    let units = systemd.units(MOST).unwrap();
    let states: Vec<_> = units.iter().map(|unit| (unit.name.as_str(), unit.active_state.as_str())).collect();
    assert_eq!(states, [("a.service", "active"), ("b.timer", "failed")]);
    assert_eq!(systemd.restarts(&[&units[0]], MOST).unwrap(), [Some(7)]);
    bus.end();
}

#[test]
fn a_refused_question_costs_that_answer() {
    let bus = Bus::new(vec![Box::new(|peer| {
        let mut peer = peer.welcome();
        for refused in [true, false] {
            let (serial, _) = peer.call();
            let body = [1, b'u', 0, 0, 3, 0, 0, 0];
            peer.send(&if refused { message(3, serial, "", &[]) } else { message(2, serial, "v", &body) });
        }
    })]);
    let unit = Unit {
        name: "a.service".into(),
        loaded: true,
        active_state: "active".into(),
        path: "/x".into(),
        restarts: None,
    };
    assert_eq!(Systemd::new(&bus.host()).restarts(&[&unit, &unit], MOST).unwrap(), [None, Some(3)]);
    bus.end();
}

#[test]
fn a_bus_that_restarts_between_two_calls_costs_neither() {
    let list = || vec![vec![("a.service", "active")]];
    let bus = Bus::new(vec![answering(list(), vec![]), answering(list(), vec![])]);
    let mut systemd = Systemd::new(&bus.host());
    assert_eq!(systemd.units(MOST).unwrap().len(), 1);
    assert_eq!(systemd.units(MOST).unwrap().len(), 1);
    bus.end();
}

#[test]
fn hostile_answers_are_errors() {
    let answers: Vec<Box<dyn Fn(u32) -> Vec<u8> + Send>> = vec![
        Box::new(|_| Vec::new()),
        Box::new(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Box::new(|serial| message(3, serial, "s", &[])),
        Box::new(|serial| message(2, serial + 1, UNITS, &units_body(&[]))),
        Box::new(|serial| message(2, serial, "as", &units_body(&[]))),
        // A missing body, and wrong lengths.
        Box::new(|serial| message(2, serial, UNITS, &[])),
        Box::new(|serial| message(2, serial, UNITS, &[0xff; 64])),
        Box::new(|serial| message(2, serial, UNITS, &units_body(&[("a", "active")])[..40])),
        Box::new(|serial| {
            let mut long = message(2, serial, UNITS, &units_body(&[]));
            long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
            long
        }),
        Box::new(|serial| {
            let mut body = units_body(&[("a.service", "active")]);
            body[8..12].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
            message(2, serial, UNITS, &body)
        }),
        // Too many signals.
        Box::new(|_| message(4, 0, "s", b"\x01\0\0\0x\0").repeat(100)),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let bus = Bus::new(vec![hostile(answer)]);
        assert!(Systemd::new(&bus.host()).units(MOST).is_err(), "answer {number}");
        bus.end();
    }
}

#[test]
fn a_bus_that_refuses_the_user_is_named_so() {
    let bus = Bus::new(vec![Box::new(|mut peer: Peer| {
        peer.send(b"REJECTED EXTERNAL\r\n");
        let _ = peer.reader.read_to_end(&mut Vec::new());
    })]);
    let mut systemd = Systemd::new(&bus.host());
    assert_eq!(systemd.units(MOST).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    bus.end();
}

#[test]
fn a_bus_that_does_not_answer_is_abandoned_at_its_time_limit() {
    let bus = Bus::new(vec![Box::new(|mut peer: Peer| _ = peer.reader.read_to_end(&mut Vec::new()))]);
    let mut systemd = Systemd::new(&bus.host());
    assert_eq!(systemd.units(Duration::from_millis(20)).unwrap_err().kind(), io::ErrorKind::TimedOut);
    bus.end();
}

#[test]
fn varlink_is_asked_first_and_its_failure_is_one_where_there_is_no_bus() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("run/systemd/report")).unwrap();
    let listener = UnixListener::bind(dir.path().join("run/systemd/report/io.systemd.Manager")).unwrap();
    let host = Host::new(&Roots { root: Some(dir.path().to_owned()), ..Roots::default() });
    let mut systemd = Systemd::new(&host);
    // The server has not accepted the connection.
    assert_eq!(systemd.units(Duration::from_millis(20)).unwrap_err().kind(), io::ErrorKind::TimedOut);
    let server = std::thread::spawn(move || {
        // The client abandoned the first connection.
        for mut stream in [listener.accept().unwrap().0, listener.accept().unwrap().0] {
            let message = |name: &str, value: &str, continues: bool| {
                format!(
                    "{{\"parameters\":{{\"name\":\"io.systemd.Manager.{name}\",\"object\":\"a.service\",\"value\":{value}}},\"continues\":{continues}}}\0"
                )
            };
            let answer = message("UnitActiveState", "\"failed\"", true) + &message("NRestarts", "3", false);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let units = systemd.units(MOST).unwrap();
    assert_eq!((&*units[0].name, &*units[0].active_state), ("a.service", "failed"));
    assert_eq!(systemd.restarts(&[&units[0]], MOST).unwrap(), [Some(3)]);
    server.join().unwrap();
}

#[test]
fn a_host_without_a_bus_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(&Roots { root: Some(dir.path().to_owned()), ..Roots::default() });
    assert_eq!(Systemd::new(&host).units(MOST).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_bus_without_systemd_is_not_found_and_a_policy_against_the_user_is_named_so() {
    for (name, kind) in [
        ("org.freedesktop.DBus.Error.NameHasNoOwner", io::ErrorKind::NotFound),
        ("org.freedesktop.DBus.Error.ServiceUnknown", io::ErrorKind::NotFound),
        ("org.freedesktop.DBus.Error.AccessDenied", io::ErrorKind::PermissionDenied),
        ("org.example.Busy", io::ErrorKind::Other),
    ] {
        let bus = Bus::new(vec![hostile(move |serial| refusal(serial, name))]);
        assert_eq!(Systemd::new(&bus.host()).units(MOST).unwrap_err().kind(), kind, "{name}");
        bus.end();
    }
}

#[test]
fn a_call_is_encoded_as_the_specification_has_it() {
    let mut bytes = Vec::new();
    get("/u", &["org.freedesktop.systemd1.Service", "NRestarts"]).encode(258, &mut bytes);
    assert_eq!(bytes[..4], [b'l', 1, 2, 1]);
    assert_eq!(bytes[8..12], [2, 1, 0, 0]);
    let fixed = wire::Fixed::decode(&bytes[..16].try_into().unwrap()).unwrap();
    assert_eq!(bytes.len(), 16 + fixed.fields_bytes + fixed.body_bytes);
    let fields = wire::decode_fields(&bytes[16..16 + fixed.fields_bytes], false).unwrap();
    assert_eq!((fields.serial, fields.signature.as_str()), (None, "ss"));
    let mut body = Decoder::new(&bytes[16 + fixed.fields_bytes..], false);
    assert_eq!(body.text(), Some("org.freedesktop.systemd1.Service"));
    assert_eq!(body.text(), Some("NRestarts"));
}

proptest! {
    #[test]
    fn any_bytes_are_no_panic(bytes: Vec<u8>, fixed: [u8; wire::FIXED_BYTES], big_endian: bool) {
        if let Some(fixed) = wire::Fixed::decode(&fixed) {
            prop_assert!(fixed.fields_bytes + fixed.body_bytes <= wire::MOST_BYTES);
        }
        wire::decode_fields(&bytes, big_endian);
        parse_units(UNITS, Decoder::new(&bytes, big_endian));
        parse_value("v", Decoder::new(&bytes, big_endian));
    }

    #[test]
    fn a_list_that_is_cut_or_changed_is_no_panic(at: prop::sample::Index, with: u8) {
        let mut body = units_body(&[("a.service", "active"), ("b.mount", "failed")]);
        let at = at.index(body.len());
        parse_units(UNITS, Decoder::new(&body[..at], false));
        body[at] = with;
        parse_units(UNITS, Decoder::new(&body, false));
    }
}
