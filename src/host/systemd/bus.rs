//! A connection to the system bus: authentication, calls and replies.

use std::io;
use std::path::Path;
use std::time::Instant;

use super::channel::Channel;
use super::wire::{Call, FIXED_BYTES, Fields, Fixed, Kind, decode_fields};

/// Maximum number of skipped messages while waiting for a reply; the bus sends one at the beginning.
const MOST_OTHERS: usize = 64;
/// Maximum length of an authentication line.
const MOST_LINE_BYTES: usize = 512;

const HELLO: Call<'static> = Call {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
    arguments: &[],
};

#[derive(Debug)]
pub struct Answer {
    pub big_endian: bool,
    pub signature: String,
    pub body: Vec<u8>,
}

/// A connection after a successful `Hello`.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    /// Serial of the last call that was sent.
    serial: u32,
    /// Serial of the last call that was answered.
    answered: u32,
}

/// The error for an invalid message.
pub fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the system bus sent what is no answer")
}

impl Connection {
    /// Connects, authenticates and calls `Hello`.
    pub fn open(socket: &Path, deadline: Instant) -> io::Result<Self> {
        let mut new = Self { channel: Channel::open(socket, deadline)?, serial: 0, answered: 0 };
        // With an empty DATA, the bus takes the user id from the socket.
        new.channel.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut line = new.line()?;
        if line.starts_with(b"DATA") {
            line = new.line()?;
        }
        if !line.starts_with(b"OK") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the system bus refused the authentication"));
        }
        new.send(&[HELLO])?;
        new.answer()?;
        Ok(new)
    }

    pub fn set_deadline(&mut self, deadline: Instant) {
        self.channel.set_deadline(deadline);
    }

    /// Sends calls; their replies arrive in the same order.
    pub fn send(&mut self, calls: &[Call<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for call in calls {
            self.serial = self.serial.checked_add(1).ok_or_else(no_answer)?;
            call.encode(self.serial, &mut bytes);
        }
        self.channel.write(&bytes)
    }

    /// The reply to the next call; an error reply is returned as an error.
    pub fn answer(&mut self) -> io::Result<Answer> {
        self.answer_or_refusal()?.map_err(|name| match name.rsplit('.').next() {
            // The bus is running, but the called service is not.
            Some("ServiceUnknown" | "NameHasNoOwner") => io::ErrorKind::NotFound.into(),
            Some("AccessDenied") => io::ErrorKind::PermissionDenied.into(),
            _ => io::Error::other("the system bus answered with an error"),
        })
    }

    /// The reply to the next call, or the name of the error reply.
    pub fn answer_or_refusal(&mut self) -> io::Result<Result<Answer, String>> {
        self.answered += 1;
        for _ in 0..MOST_OTHERS {
            let (kind, fields, answer) = self.message()?;
            match (kind, fields.serial == Some(self.answered)) {
                (Kind::Return, true) => return Ok(Ok(Answer { signature: fields.signature, ..answer })),
                (Kind::Error, true) => return Ok(Err(fields.error)),
                // A signal, or a call to this client.
                (Kind::Other, _) => {}
                (Kind::Return | Kind::Error, false) => return Err(no_answer()),
            }
        }
        Err(no_answer())
    }

    fn message(&mut self) -> io::Result<(Kind, Fields, Answer)> {
        let mut fixed = [0; FIXED_BYTES];
        self.channel.read(&mut fixed)?;
        let fixed = Fixed::decode(&fixed).ok_or_else(no_answer)?;
        let mut fields = vec![0; fixed.fields_bytes];
        self.channel.read(&mut fields)?;
        let mut body = vec![0; fixed.body_bytes];
        self.channel.read(&mut body)?;
        let fields = decode_fields(&fields, fixed.big_endian).ok_or_else(no_answer)?;
        Ok((fixed.kind, fields, Answer { big_endian: fixed.big_endian, signature: String::new(), body }))
    }

    /// Reads an authentication line without its end. Read byte by byte, because the next bytes belong to a message.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.len() < MOST_LINE_BYTES {
            let mut byte = [0];
            self.channel.read(&mut byte)?;
            match byte {
                [b'\n'] => return Ok(line),
                [byte] => line.push(byte),
            }
        }
        Err(no_answer())
    }
}
