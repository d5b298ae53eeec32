//! Encoded batches onto the wire, and the answer.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::http::HttpSender;
use super::verdict::Failure;

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Sends encoded `ExportMetricsServiceRequest`s. Several of them in a row are one valid request, so stored batches
/// travel together without being decoded.
#[derive(Clone)]
pub enum Sender {
    /// OTLP over gRPC.
    Grpc {
        /// The connection, shared with the live exporter.
        channel: Channel,
        /// Replaces every request's metadata.
        metadata: MetadataMap,
        /// Compress requests.
        gzip: bool,
    },
    /// OTLP over HTTP.
    Http(Arc<HttpSender>),
}

/// The server took the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Data points it did not take, of those in the request.
    pub rejected: u64,
    /// Its reason; a warning where `rejected` is zero.
    pub message: String,
}

impl Sender {
    pub(crate) fn grpc(channel: Channel, headers: HeaderMap, gzip: bool) -> Self {
        Self::Grpc { channel, metadata: MetadataMap::from_headers(headers), gzip }
    }

    /// Sends one request. The caller bounds the time.
    ///
    /// # Errors
    /// What the network or the server answered, with what to do about it.
    pub async fn send(&self, body: Bytes) -> Result<Accepted, Failure> {
        match self {
            Self::Grpc { channel, metadata, gzip } => grpc(channel.clone(), metadata.clone(), *gzip, body)
                .await
                .map_err(|status| Failure::from_status(&status)),
            Self::Http(sender) => sender.send(body).await,
        }
    }
}

async fn grpc(channel: Channel, metadata: MetadataMap, gzip: bool, body: Bytes) -> Result<Accepted, Status> {
    let mut client = Grpc::new(channel);
    if gzip {
        client = client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    client.ready().await.map_err(|e| Status::from_error(Box::new(e)))?;
    let mut request = Request::new(body);
    *request.metadata_mut() = metadata;
    let answer = client.unary(request, PathAndQuery::from_static(EXPORT), RawCodec).await?;
    Ok(answer.into_inner().into())
}

impl From<ExportMetricsServiceResponse> for Accepted {
    fn from(response: ExportMetricsServiceResponse) -> Self {
        let partial: ExportMetricsPartialSuccess = response.partial_success.unwrap_or_default();
        Self { rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0), message: partial.error_message }
    }
}

impl Accepted {
    /// A success whose body cannot be read is still a success: some servers answer 200 with an empty or foreign body.
    pub(crate) fn from_protobuf(body: Bytes) -> Self {
        ExportMetricsServiceResponse::decode(body).map(Into::into).unwrap_or_default()
    }
}

/// Stored bytes go out as they are; the answer is decoded.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = ExportMetricsServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(item.len());
        dst.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = ExportMetricsServiceResponse;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let bytes = src.copy_to_bytes(src.remaining());
        // As over HTTP: an answer of status OK that does not parse is still OK.
        Ok(Some(ExportMetricsServiceResponse::decode(bytes).unwrap_or_default()))
    }
}
