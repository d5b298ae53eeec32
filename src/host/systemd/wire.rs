//! D-Bus messages (dbus-specification, "Message Protocol"): the subset needed for these calls and replies.

/// Maximum message size; 300 units are about 100 kB.
pub const MOST_BYTES: usize = 4 << 20;
/// Size of a message before its header fields.
pub const FIXED_BYTES: usize = 16;

const METHOD_CALL: u8 = 1;
/// Do not start a service that is not running.
const NO_AUTO_START: u8 = 2;
const PROTOCOL_VERSION: u8 = 1;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A call with string arguments only.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub arguments: &'a [&'a str],
}

impl Call<'_> {
    /// Appends the message. Alignment is relative to its own start, not to the start of `out`.
    pub fn encode(&self, serial: u32, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.arguments.iter().for_each(|argument| put_text(&mut body, argument));
        let mut fields = Vec::new();
        for (code, kind, value) in [
            (PATH, b'o', self.path),
            (INTERFACE, b's', self.interface),
            (MEMBER, b's', self.member),
            (DESTINATION, b's', self.destination),
        ] {
            pad(&mut fields, 8);
            fields.extend_from_slice(&[code, 1, kind, 0]);
            put_text(&mut fields, value);
        }
        if !self.arguments.is_empty() {
            pad(&mut fields, 8);
            fields.extend_from_slice(&[SIGNATURE, 1, b'g', 0]);
            fields.push(self.arguments.len().try_into().unwrap_or(u8::MAX));
            fields.extend(self.arguments.iter().map(|_| b's'));
            fields.push(0);
        }
        out.extend_from_slice(&[b'l', METHOD_CALL, NO_AUTO_START, PROTOCOL_VERSION]);
        put_length(out, body.len());
        out.extend_from_slice(&serial.to_le_bytes());
        put_length(out, fields.len());
        pad(&mut fields, 8);
        out.append(&mut fields);
        out.append(&mut body);
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    pad(out, 4);
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// The kind of a message, numbered as in the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Return,
    Error,
    Other,
}

/// The fixed part of a message header.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    pub kind: Kind,
    pub big_endian: bool,
    /// Size of the header fields, including padding.
    pub fields_bytes: usize,
    pub body_bytes: usize,
}

impl Fixed {
    /// `None` if it is not a message, or too long.
    pub fn decode(bytes: &[u8; FIXED_BYTES]) -> Option<Self> {
        let [endian, kind, _flags, version, ..] = *bytes;
        let big_endian = match endian {
            b'l' => false,
            b'B' => true,
            _ => return None,
        };
        let mut numbers = Decoder::new(bytes, big_endian);
        numbers.skip(4)?;
        let (body, _serial, fields) = (numbers.u32()?, numbers.u32()?, numbers.u32()?);
        let body_bytes = usize::try_from(body).ok()?;
        let fields_bytes = usize::try_from(fields).ok()?.checked_next_multiple_of(8)?;
        let all = body_bytes.checked_add(fields_bytes)?;
        let kind = match kind {
            0 => return None,
            2 => Kind::Return,
            3 => Kind::Error,
            _ => Kind::Other,
        };
        (version == PROTOCOL_VERSION && all <= MOST_BYTES).then_some(Self {
            kind,
            big_endian,
            fields_bytes,
            body_bytes,
        })
    }
}

#[derive(Debug, Default)]
pub struct Fields {
    /// Serial of the call that it answers.
    pub serial: Option<u32>,
    pub signature: String,
    pub error: String,
}

pub fn decode_fields(fields: &[u8], big_endian: bool) -> Option<Fields> {
    let mut decoder = Decoder::new(fields, big_endian);
    let mut found = Fields::default();
    while decoder.position() < fields.len() {
        decoder.align(8)?;
        let Some(code) = decoder.byte() else { break };
        // Padding at the end.
        if code == 0 {
            break;
        }
        let kind = decoder.signature()?;
        match kind {
            "s" | "o" => {
                let text = decoder.text()?;
                if code == ERROR_NAME {
                    text.clone_into(&mut found.error);
                }
            }
            "g" => {
                let text = decoder.signature()?;
                if code == SIGNATURE {
                    text.clone_into(&mut found.signature);
                }
            }
            "u" => {
                let number = decoder.u32()?;
                if code == REPLY_SERIAL {
                    found.serial = Some(number);
                }
            }
            _ => return None,
        }
    }
    Some(found)
}

/// Decodes consecutive values; `None` if the bytes do not contain one.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { bytes, at: 0, big_endian }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let skipped = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(skipped)
    }

    pub fn align(&mut self, to: usize) -> Option<()> {
        self.skip(self.at.checked_next_multiple_of(to)? - self.at).map(drop)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.skip(1)?.first().copied()
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes: [u8; 4] = self.skip(4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.align(8)?;
        let bytes: [u8; 8] = self.skip(8)?.try_into().ok()?;
        Some(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Decodes a string or an object path.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        let text = self.skip(length)?;
        (self.byte()? == 0).then(|| std::str::from_utf8(text).ok())?
    }

    pub fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = self.skip(length)?;
        (self.byte()? == 0).then(|| std::str::from_utf8(text).ok())?
    }

    /// Decodes the start of an array with this alignment; returns the position of its end.
    pub fn array(&mut self, alignment: usize) -> Option<usize> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.align(alignment)?;
        self.at.checked_add(length).filter(|end| *end <= self.bytes.len())
    }
}
