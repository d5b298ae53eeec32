//! One export as the outbox keeps it: the encoded request and what must be known without decoding it.

use std::time::SystemTime;

use bytes::Bytes;

/// A batch that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its place in the send order. Grows by one a batch; never used twice while the outbox is open.
    pub seq: u64,
    /// The wall clock when it was pushed. To show and to compare with the host's logs; ages come from
    /// [`Store::oldest`](super::Store::oldest), which a stepping clock does not mislead.
    pub created: SystemTime,
    /// Data points inside, so that a loss can be told in the user's terms.
    pub points: u32,
    /// An encoded `ExportMetricsServiceRequest`. Several of them one after the other are again one valid request.
    pub payload: Bytes,
}
