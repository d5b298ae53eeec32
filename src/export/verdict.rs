//! Verdicts on a server's answer: accept, keep, send smaller, doubt, or drop. `docs/delivery.md` has the table.
//!
//! The table follows the OTLP specification with some differences, which all keep data that the outbox limits anyway. A
//! status that a proxy or load balancer may have sent (404, 405, HTML, no gRPC status, redirects) is never a rejection.
//! Neither is a missing or expired token (401, `UNAUTHENTICATED`), because the headers file can be renewed.

use std::error::Error;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::reason;

/// What to do with batches that were not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send them again, after at least this delay if the server requested one.
    Keep(Option<Duration>),
    Smaller,
    /// Send each one alone, a few times, then drop it.
    Doubt,
    /// Drop them: the server rejected them permanently.
    Drop,
}

/// A request that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub verdict: Verdict,
    /// The error occurred on the client side: no server answered.
    pub local: bool,
    /// If the request is large, the server rejected it because of its size.
    pub too_large: bool,
    /// If the request is large, its size may be the cause: it timed out or was cut on the way.
    pub by_size: bool,
    /// The server rejected the content of the request, or failed while processing it.
    pub content: bool,
    /// The reason, in the form shown to operators.
    pub words: String,
}

/// A request that the server accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Number of rejected data points.
    pub rejected: u64,
    /// The server's reason, or a warning if `rejected` is zero.
    pub message: String,
}

/// Requests above this size may fail because of their size.
pub const LARGE_BYTES: usize = 64 * 1024;

/// Maximum delay that a server may request. A longer one, such as a mistake in units, would overflow the outbox.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

impl Failure {
    fn answered(verdict: Verdict, words: String) -> Self {
        Self { verdict, local: false, too_large: false, by_size: false, content: false, words }
    }

    pub fn local(error: &(dyn Error + 'static)) -> Self {
        let by_size = reason::is_timeout(error) || reason::is_cut(error);
        Self { local: true, by_size, ..Self::answered(Verdict::Keep(None), reason::words(error)) }
    }

    pub fn timeout(waited: Duration) -> Self {
        // The time that is left at a stop has nanoseconds.
        let millis = (waited + Duration::from_micros(500)).as_millis();
        let waited = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        let words = format!("no answer within {waited:?}");
        Self { local: true, by_size: true, ..Self::answered(Verdict::Keep(None), words) }
    }

    pub fn without_status() -> Self {
        let words = "the answer ended without a gRPC status: a proxy or load balancer cut it".to_owned();
        Self { by_size: true, ..Self::answered(Verdict::Keep(None), words) }
    }

    /// A gRPC status, from the server or from tonic for a connection error.
    pub fn from_status(status: &Status) -> Self {
        if let Some(source) = status.source() {
            return Self::local(source);
        }
        let retry_info =
            status.get_details_retry_info().map(|info| info.retry_delay.unwrap_or_default().min(LONGEST_WAIT));
        let (verdict, too_large) = match status.code() {
            Code::Ok
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => (Verdict::Keep(retry_info), false),
            Code::ResourceExhausted => (Verdict::Keep(retry_info), retry_info.is_none()),
            // Servers built on tonic use it for a message that is too large.
            Code::OutOfRange => (Verdict::Doubt, true),
            Code::Unknown | Code::Internal => (Verdict::Doubt, false),
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented => (Verdict::Drop, false),
        };
        let words = match status.message() {
            "" => format!("the server answered {:?}", status.code()),
            message => format!("the server answered {:?}: {}", status.code(), reason::quote(message)),
        };
        let content = matches!(status.code(), Code::InvalidArgument | Code::Internal | Code::Unknown);
        Self { too_large, content, ..Self::answered(verdict, words) }
    }

    /// The verdict for a request of `bytes`.
    pub fn verdict_for(&self, bytes: usize) -> Verdict {
        if self.too_large && bytes > LARGE_BYTES { Verdict::Smaller } else { self.verdict }
    }
}

pub struct Page<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    /// The beginning of the body.
    pub body: Bytes,
}

impl Page<'_> {
    /// Maximum number of body bytes to read: more than any response of an OTLP server.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Evaluates the response to an OTLP/HTTP request.
    ///
    /// # Errors
    /// The failure, with its verdict.
    pub fn over_http(self, now: SystemTime) -> Result<Accepted, Failure> {
        if self.status.is_success() && !self.is_html() {
            return Ok(if self.is("json") {
                Accepted::from_json(&self.body)
            } else {
                Accepted::from_protobuf(self.body)
            });
        }
        Err(self.failure(now))
    }

    /// Evaluates the response to a gRPC request that has no gRPC status. An intermediary sent it, so nothing is
    /// dropped.
    pub fn in_place_of_grpc(self, now: SystemTime) -> Failure {
        let mut failure = self.failure(now);
        if matches!(failure.verdict, Verdict::Drop | Verdict::Doubt) {
            failure.verdict = Verdict::Keep(None);
        }
        // What an OTLP/HTTP server answers to the path of a gRPC method.
        let http = matches!(self.status.as_u16(), 404 | 405 | 415);
        failure.words.push_str(match http {
            true => {
                " (no gRPC status: a port for OTLP/HTTP needs --protocol http/protobuf; otherwise a proxy answered)"
            }
            false => " (no gRPC status: a proxy or load balancer answered)",
        });
        failure
    }

    fn failure(&self, now: SystemTime) -> Failure {
        let wait = || retry_after(self.headers, now);
        // The texts of Go and nginx. Go's response has no headers, and its text may be lost when the connection closes.
        let wants_tls = ["HTTP request to an HTTPS server", "HTTP request was sent to HTTPS port"]
            .iter()
            .any(|words| String::from_utf8_lossy(&self.body).contains(words));
        if wants_tls || (self.status == StatusCode::BAD_REQUEST && self.headers.is_empty()) {
            let words = "the server requires TLS at this port (https:// instead of http://)".to_owned();
            return Failure::answered(Verdict::Keep(None), words);
        }
        let (verdict, by_size) = match self.status.as_u16() {
            413 => (Verdict::Smaller, false),
            504 => (Verdict::Keep(wait()), true),
            429 | 502 | 503 | 520..=599 => (Verdict::Keep(wait()), false),
            100..=399 | 401 | 404 | 405 | 407 | 408 | 421 | 425 => (Verdict::Keep(None), false),
            _ if self.is_html() => (Verdict::Keep(None), false),
            500 => (Verdict::Doubt, false),
            _ => (Verdict::Drop, false),
        };
        let text = self.text();
        let mut words = match text.as_str() {
            "" => format!("the server answered {}", self.status),
            text => format!("the server answered {}: {text}", self.status),
        };
        if self.status.is_success() {
            words = format!(
                "an HTML page came back with {}: not an OTLP server (a login page or captive portal?)",
                self.status
            );
        }
        let content = matches!(self.status.as_u16(), 400 | 422 | 500) && !self.is_html();
        Failure { by_size, content, ..Failure::answered(verdict, words) }
    }

    fn is(&self, kind: &str) -> bool {
        let found = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        found.to_ascii_lowercase().contains(kind)
    }

    fn is_html(&self) -> bool {
        self.is("text/html")
    }

    /// The message of an error body (a `google.rpc.Status` in protobuf, or text), shortened to one log line.
    fn text(&self) -> String {
        if self.is("protobuf") {
            let status = tonic_types::Status::decode(self.body.clone()).map(|status| status.message);
            return reason::quote(&status.unwrap_or_default());
        }
        // HTML markup does not help an operator; the title does.
        let text = String::from_utf8_lossy(&self.body);
        let title = |text: &str| Some(text.split_once("<title>")?.1.split_once("</title>")?.0.to_owned());
        let shown = if self.is_html() { title(&text).unwrap_or_default() } else { text.into_owned() };
        reason::quote(&shown)
    }
}

impl Accepted {
    /// Evaluates the body of a successful response. An unreadable body is still a success: some servers send an empty
    /// or foreign one.
    pub fn from_protobuf(body: Bytes) -> Self {
        let partial = ExportMetricsServiceResponse::decode(body).ok().and_then(|answer| answer.partial_success);
        let partial = partial.unwrap_or_default();
        Self { rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0), message: partial.error_message }
    }

    fn from_json(body: &[u8]) -> Self {
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let partial = answer.get("partialSuccess");
        let rejected = partial.and_then(|partial| partial.get("rejectedDataPoints"));
        let number = |value: &serde_json::Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let message = partial.and_then(|partial| partial.get("errorMessage")?.as_str());
        Self { rejected: rejected.and_then(number).unwrap_or(0), message: message.unwrap_or_default().to_owned() }
    }
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok()?,
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    const SMALL: usize = 1_000;
    const LARGE: usize = 1 << 20;

    fn page(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)));
        (StatusCode::from_u16(status).unwrap(), headers.collect(), Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn the_limit_of_a_request_is_logged_in_whole_milliseconds() {
        let words = |waited| Failure::timeout(waited).words;
        assert_eq!(words(Duration::from_nanos(1_873_456_789)), "no answer within 1.873s");
        assert_eq!(words(Duration::from_nanos(1_999_999_999)), "no answer within 2s");
        assert_eq!(words(Duration::from_millis(300)), "no answer within 300ms");
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date("Fri, 31 Dec 1999 23:59:00 GMT").unwrap()
    }

    fn http(status: u16, headers: &[(&'static str, &'static str)]) -> Option<Failure> {
        let (status, headers, body) = page(status, headers, "");
        Page { status, headers: &headers, body }.over_http(now()).err()
    }

    fn verdict(status: u16, headers: &[(&'static str, &'static str)], bytes: usize) -> Verdict {
        http(status, headers).unwrap().verdict_for(bytes)
    }

    #[test]
    fn grpc_statuses_of_the_server_follow_the_table() {
        for (code, small, large) in [
            (Code::Cancelled, Verdict::Keep(None), Verdict::Keep(None)),
            (Code::DeadlineExceeded, Verdict::Keep(None), Verdict::Keep(None)),
            (Code::Unavailable, Verdict::Keep(None), Verdict::Keep(None)),
            (Code::Aborted, Verdict::Keep(None), Verdict::Keep(None)),
            (Code::DataLoss, Verdict::Keep(None), Verdict::Keep(None)),
            (Code::Unauthenticated, Verdict::Keep(None), Verdict::Keep(None)),
            (Code::ResourceExhausted, Verdict::Keep(None), Verdict::Smaller),
            (Code::OutOfRange, Verdict::Doubt, Verdict::Smaller),
            (Code::Unknown, Verdict::Doubt, Verdict::Doubt),
            (Code::Internal, Verdict::Doubt, Verdict::Doubt),
            (Code::InvalidArgument, Verdict::Drop, Verdict::Drop),
            (Code::NotFound, Verdict::Drop, Verdict::Drop),
            (Code::PermissionDenied, Verdict::Drop, Verdict::Drop),
            (Code::Unimplemented, Verdict::Drop, Verdict::Drop),
        ] {
            let failure = Failure::from_status(&Status::new(code, "x"));
            assert_eq!((failure.verdict_for(SMALL), failure.verdict_for(LARGE)), (small, large), "{code:?}");
        }
    }

    #[test]
    fn retry_info_is_honoured_and_bounded_whatever_the_size() {
        for (asked, granted) in [(3, 3), (86_400, 600)] {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(asked)));
            let status = Status::with_error_details(Code::ResourceExhausted, "later", details);
            let failure = Failure::from_status(&status);
            assert_eq!(failure.verdict_for(LARGE), Verdict::Keep(Some(Duration::from_secs(granted))));
        }
    }

    #[test]
    fn a_local_error_is_kept_whatever_its_code() {
        let mut status = Status::invalid_argument("x");
        status.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        let failure = Failure::from_status(&status);
        assert_eq!(failure.verdict_for(LARGE), Verdict::Keep(None));
        assert!(failure.by_size && failure.words.contains("reset"), "{}", failure.words);
    }

    #[test]
    fn http_statuses_follow_the_table() {
        for status in [100, 302, 401, 404, 405, 407, 408, 429, 502, 503, 522] {
            assert_eq!(verdict(status, &[], LARGE), Verdict::Keep(None), "{status}");
        }
        for status in [400, 403, 406, 415, 501] {
            assert_eq!(verdict(status, &[("content-type", "text/plain")], LARGE), Verdict::Drop, "{status}");
            assert_eq!(verdict(status, &[("content-type", "text/html")], LARGE), Verdict::Keep(None), "{status}");
        }
        assert_eq!((verdict(413, &[], SMALL), verdict(413, &[], LARGE)), (Verdict::Smaller, Verdict::Smaller));
        assert_eq!((verdict(504, &[], SMALL), verdict(504, &[], LARGE)), (Verdict::Keep(None), Verdict::Keep(None)));
        assert!(http(504, &[]).unwrap().by_size && !http(503, &[]).unwrap().by_size);
        assert_eq!(verdict(500, &[], LARGE), Verdict::Doubt);
        assert_eq!(verdict(400, &[], SMALL), Verdict::Keep(None), "the page of Go's port for TLS");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let keep = |seconds| Verdict::Keep(Some(Duration::from_secs(seconds)));
        assert_eq!(verdict(503, &[("retry-after", "7")], SMALL), keep(7));
        assert_eq!(verdict(429, &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], SMALL), keep(59));
        assert_eq!(verdict(429, &[("retry-after", "999999")], SMALL), keep(600));
        assert_eq!(verdict(429, &[("retry-after", "nonsense")], SMALL), Verdict::Keep(None));
    }

    #[test]
    fn a_success_is_one_unless_it_is_an_html_page() {
        for kind in ["application/x-protobuf", "application/json", "text/plain", ""] {
            assert_eq!(http(200, &[("content-type", kind)]), None, "{kind}");
        }
        assert_eq!(http(204, &[]), None);
        let failure = http(200, &[("content-type", "text/html; charset=utf-8")]).unwrap();
        assert_eq!(failure.verdict, Verdict::Keep(None));
        assert!(failure.words.contains("HTML page"), "{}", failure.words);
    }

    #[test]
    fn a_partial_success_is_read_from_protobuf_and_json() {
        let json = r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"no"}}"#;
        assert_eq!(Accepted::from_json(json.as_bytes()), Accepted { rejected: 3, message: "no".into() });
        assert_eq!(Accepted::from_json(b"{}"), Accepted::default());
        assert_eq!(Accepted::from_protobuf(Bytes::from_static(b"no protobuf")), Accepted::default());
    }

    #[test]
    fn a_page_in_place_of_a_grpc_answer_never_drops_a_batch() {
        for status in [200, 400, 401, 403, 404, 429, 500, 502, 503] {
            let (code, headers, body) = page(status, &[("content-type", "text/plain"), ("retry-after", "9")], "busy");
            let failure = Page { status: code, headers: &headers, body }.in_place_of_grpc(now());
            let wait = matches!(status, 429 | 502 | 503).then_some(Duration::from_secs(9));
            assert_eq!(failure.verdict_for(LARGE), Verdict::Keep(wait), "{status}");
            assert!(failure.words.contains("no gRPC status"), "{}", failure.words);
        }
        let (status, headers, body) = page(413, &[], "");
        assert_eq!(
            Page { status, headers: &headers, body }.in_place_of_grpc(now()).verdict_for(LARGE),
            Verdict::Smaller
        );
    }

    #[test]
    fn of_an_html_page_the_title_is_shown() {
        let (status, headers, body) =
            page(502, &[("content-type", "text/html")], "<html><head><title>502 Bad Gateway</title></head><body>");
        let failure = Page { status, headers: &headers, body }.over_http(now()).unwrap_err();
        assert_eq!(failure.words, "the server answered 502 Bad Gateway: 502 Bad Gateway");
    }
}
