//! A request body made of several buffers, so that merged batches are not copied into one buffer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

/// The buffers that are not sent yet.
#[derive(Debug, Default)]
pub struct Pieces(VecDeque<Bytes>);

impl Pieces {
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes())
    }
}

/// Compresses the buffers into one gzip stream.
///
/// # Errors
/// None in practice: the output is in memory.
pub fn gzip(pieces: &[Bytes]) -> std::io::Result<Bytes> {
    let size: usize = pieces.iter().map(Bytes::len).sum();
    let mut encoder = GzEncoder::new(Vec::with_capacity(size / 4), Compression::default());
    for piece in pieces {
        encoder.write_all(piece)?;
    }
    Ok(encoder.finish()?.into())
}

/// Reads up to `max_bytes` of a response body and returns them with the trailers.
///
/// # Errors
/// The connection failed while reading.
pub async fn read<B>(mut body: B, max_bytes: usize) -> Result<(Bytes, Option<HeaderMap>), B::Error>
where
    B: Body + Unpin,
{
    let (mut text, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(mut data) => {
                let room = max_bytes.saturating_sub(text.len()).min(data.remaining());
                text.extend_from_slice(&data.copy_to_bytes(room));
                if data.has_remaining() {
                    break;
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((text.freeze(), trailers))
}
