//! The file format of a batch: a header of 64 bytes, then the payload. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `HKOB` |
//! | 4 | 2 | version, 1 |
//! | 6 | 2 | zero |
//! | 8 | 4 | length of the payload |
//! | 12 | 4 | data points |
//! | 16 | 8 | sequence number, the same as in the file's name |
//! | 24 | 8 | wall clock when pushed, nanoseconds since 1970 |
//! | 32 | 8 | time since boot when pushed, nanoseconds |
//! | 40 | 16 | boot id, 0 where unknown |
//! | 56 | 4 | CRC-32 of the preceding bytes |
//! | 60 | 4 | CRC-32 of the preceding bytes and the payload |
//!
//! With the first checksum, recovery can validate a header without reading the payload: opening a full outbox reads 64
//! bytes per batch. The second checksum is verified before a batch is sent.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::moment::Moment;

pub(super) const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"HKOB";
const VERSION: u16 = 1;

/// 2020-01-01. A wall clock before that was never set (a board without a battery starts in 1970), so its timestamps say
/// nothing about age.
const NEVER_SET_BEFORE: Duration = Duration::from_secs(1_577_836_800);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub seq: u64,
    pub payload_len: u32,
    pub points: u32,
    /// Wall clock when pushed, nanoseconds since 1970.
    pub wall_nanos: u64,
    /// Time since boot when pushed, nanoseconds.
    pub up_nanos: u64,
    /// Boot id, 0 where unknown.
    pub boot_id: u128,
}

impl Header {
    pub fn file_len(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_len)
    }

    /// Encodes the header, checksums included.
    pub fn encode(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.payload_len.to_le_bytes());
        bytes.extend_from_slice(&self.points.to_le_bytes());
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.wall_nanos.to_le_bytes());
        bytes.extend_from_slice(&self.up_nanos.to_le_bytes());
        bytes.extend_from_slice(&self.boot_id.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes);
        crc.update(payload);
        bytes.extend_from_slice(&crc.finalize().to_le_bytes());
        bytes
    }

    /// Parses a header; `None` if it is corrupt, truncated or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let covered = bytes.get(..HEADER_BYTES - 8)?;
        let mut rest = bytes;
        let known = take::<4>(&mut rest)? == MAGIC
            && u16::from_le_bytes(take(&mut rest)?) == VERSION
            && take::<2>(&mut rest)? == [0; 2];
        let header = Self {
            payload_len: u32::from_le_bytes(take(&mut rest)?),
            points: u32::from_le_bytes(take(&mut rest)?),
            seq: u64::from_le_bytes(take(&mut rest)?),
            wall_nanos: u64::from_le_bytes(take(&mut rest)?),
            up_nanos: u64::from_le_bytes(take(&mut rest)?),
            boot_id: u128::from_le_bytes(take(&mut rest)?),
        };
        let crc = u32::from_le_bytes(take(&mut rest)?);
        (known && crc == crc32fast::hash(covered)).then_some(header)
    }

    /// The age of the batch, as far as it can be determined. The module documentation of the outbox explains the rules.
    pub(super) fn age(&self, now: &Moment, boot_id: u128) -> Duration {
        let (up, wall) = (Duration::from_nanos(self.up_nanos), Duration::from_nanos(self.wall_nanos));
        match boot_id != 0 && boot_id == self.boot_id {
            true => now.up.saturating_sub(up),
            false if wall < NEVER_SET_BEFORE => Duration::ZERO,
            false => now.wall.duration_since(UNIX_EPOCH + wall).unwrap_or_default(),
        }
    }
}

/// Returns the payload of a complete file; `None` if a checksum, the length or the number does not match.
pub fn decode(file: Vec<u8>, seq: u64) -> Option<Bytes> {
    let file = Bytes::from(file);
    let header = Header::decode(&file)?;
    if header.seq != seq || header.file_len() != file.len() as u64 {
        return None;
    }
    let (covered, mut rest) = file.split_at_checked(HEADER_BYTES - 4)?;
    let stored = u32::from_le_bytes(take(&mut rest)?);
    let mut crc = crc32fast::Hasher::new();
    crc.update(covered);
    crc.update(rest);
    (crc.finalize() == stored).then(|| file.slice(HEADER_BYTES..))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>()?;
    *bytes = tail;
    Some(*head)
}
