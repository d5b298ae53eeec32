//! What a failed send means for the batch: keep it, doubt it, or drop it.
//!
//! The OTLP specification's lists, with four deliberate differences, all on the side of keeping data that the outbox
//! bounds anyway:
//!
//! - A status that did not come from the OTLP server itself is always kept: transport errors (they carry a source),
//!   and what tonic makes of a proxy's bare HTTP status.
//! - `UNAUTHENTICATED` and 401 are kept: a token that expired is renewed through `--headers-file`, and an hour of data
//!   should not be its price. `PERMISSION_DENIED` and 403 are refusals.
//! - `UNKNOWN`, `INTERNAL`, 500, and `RESOURCE_EXHAUSTED` without RetryInfo are *doubtful*: bugs and quotas end, but one
//!   batch may also be what the server stumbles over or finds too large. They are tried alone a few times, then dropped.
//!   `OUT_OF_RANGE`, retryable by the list, is too: servers built on tonic say it of a message that is too large.
//! - Redirects, 407 and 408 are kept: somebody in between answered.

use std::error::Error;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::http::error_message;
use super::reason;

/// What to do with a batch that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it again, not before this long from now where the server said so.
    Keep(Option<Duration>),
    /// Send it again alone, a few times.
    Doubt,
    /// The server itself will never take it.
    Drop,
}

/// A send that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do with the batch.
    pub verdict: Verdict,
    /// It arose on this side of the wire: no server answered.
    pub local: bool,
    /// No answer came in time: after several of these the connection is replaced.
    pub timed_out: bool,
    /// The reason in an operator's words.
    pub words: String,
}

/// Longest wait that a server may ask for: beyond it the outbox would overflow on a slip of the server's units.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

impl Failure {
    /// An error that arose on this side of the wire.
    pub fn local(error: &(dyn Error + 'static)) -> Self {
        Self {
            verdict: Verdict::Keep(None),
            local: true,
            timed_out: reason::is_timeout(error),
            words: reason::words(error),
        }
    }

    /// Nothing came back within `waited`.
    pub fn timeout(waited: Duration) -> Self {
        Self {
            verdict: Verdict::Keep(None),
            local: true,
            timed_out: true,
            words: format!("no answer within {waited:?}"),
        }
    }

    /// A gRPC status, the server's own or tonic's.
    pub fn from_status(status: &Status) -> Self {
        if let Some(source) = status.source() {
            return Self::local(source);
        }
        if answered_by_a_middleman(status) {
            return Self {
                verdict: Verdict::Keep(None),
                local: false,
                timed_out: false,
                words: reason::quote(status.message()),
            };
        }
        let retry_info =
            status.get_details_retry_info().map(|info| info.retry_delay.unwrap_or_default().min(LONGEST_WAIT));
        let verdict = match status.code() {
            Code::Ok
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => Verdict::Keep(retry_info),
            Code::ResourceExhausted if retry_info.is_some() => Verdict::Keep(retry_info),
            Code::ResourceExhausted | Code::OutOfRange | Code::Unknown | Code::Internal => Verdict::Doubt,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented => Verdict::Drop,
        };
        let words = match status.message() {
            "" => format!("the server answered {:?}", status.code()),
            message => format!("the server answered {:?}: {}", status.code(), reason::quote(message)),
        };
        Self { verdict, local: false, timed_out: false, words }
    }

    /// An HTTP answer that is not a success.
    pub fn from_http(response: &Response<Bytes>, now: SystemTime) -> Self {
        let status = response.status();
        let verdict = match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Verdict::Keep(retry_after(response, now)),
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::REQUEST_TIMEOUT => {
                Verdict::Keep(None)
            }
            StatusCode::INTERNAL_SERVER_ERROR => Verdict::Doubt,
            _ if status.is_redirection() || status.is_informational() => Verdict::Keep(None),
            _ => Verdict::Drop,
        };
        let words = match reason::quote(&error_message(response)).as_str() {
            "" => format!("the server answered {status}"),
            message => format!("the server answered {status}: {message}"),
        };
        Self { verdict, local: false, timed_out: false, words }
    }
}

/// tonic's words for an answer without a gRPC status: it came from a proxy or load balancer, not from the OTLP server.
fn answered_by_a_middleman(status: &Status) -> bool {
    let message = status.message();
    message.starts_with("grpc-status header missing") || message.starts_with("protocol error: missing grpc-status")
}

fn retry_after(response: &Response<Bytes>, now: SystemTime) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
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

    fn http(status: u16, retry_after: Option<&str>) -> Verdict {
        let mut response = Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(header::RETRY_AFTER, value);
        }
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:59:00 GMT").unwrap();
        Failure::from_http(&response.body(Bytes::new()).unwrap(), now).verdict
    }

    #[test]
    fn grpc_statuses_of_the_server_follow_the_specification() {
        for (code, verdict) in [
            (Code::Unavailable, Verdict::Keep(None)),
            (Code::Aborted, Verdict::Keep(None)),
            (Code::DataLoss, Verdict::Keep(None)),
            (Code::Unauthenticated, Verdict::Keep(None)),
            (Code::ResourceExhausted, Verdict::Doubt),
            (Code::OutOfRange, Verdict::Doubt),
            (Code::Internal, Verdict::Doubt),
            (Code::InvalidArgument, Verdict::Drop),
            (Code::PermissionDenied, Verdict::Drop),
            (Code::Unimplemented, Verdict::Drop),
        ] {
            assert_eq!(Failure::from_status(&Status::new(code, "x")).verdict, verdict, "{code:?}");
        }
    }

    #[test]
    fn retry_info_is_honoured_and_bounded() {
        for (asked, granted) in [(3, 3), (86_400, 600)] {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(asked)));
            let status = Status::with_error_details(Code::ResourceExhausted, "later", details);
            assert_eq!(Failure::from_status(&status).verdict, Verdict::Keep(Some(Duration::from_secs(granted))));
        }
    }

    #[test]
    fn a_middlemans_bare_http_status_never_drops_a_batch() {
        let status = Status::unimplemented("grpc-status header missing, mapped from HTTP status code 404");
        assert_eq!(Failure::from_status(&status).verdict, Verdict::Keep(None));
    }

    #[test]
    fn a_local_error_is_kept_whatever_its_code() {
        let mut status = Status::invalid_argument("x");
        status.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        let failure = Failure::from_status(&status);
        assert_eq!(failure.verdict, Verdict::Keep(None));
        assert!(failure.words.contains("reset"), "{}", failure.words);
    }

    #[test]
    fn http_statuses() {
        assert_eq!(http(503, Some("7")), Verdict::Keep(Some(Duration::from_secs(7))));
        assert_eq!(http(429, Some("Fri, 31 Dec 1999 23:59:59 GMT")), Verdict::Keep(Some(Duration::from_secs(59))));
        assert_eq!(http(429, Some("nonsense")), Verdict::Keep(None));
        assert_eq!(http(401, None), Verdict::Keep(None));
        assert_eq!(http(302, None), Verdict::Keep(None));
        assert_eq!(http(500, None), Verdict::Doubt);
        for status in [400, 403, 404, 413, 501] {
            assert_eq!(http(status, None), Verdict::Drop, "{status}");
        }
    }
}
