//! Answers of servers over HTTP and gRPC, and what they mean for a batch.
//!
//! The first byte chooses the protocol, two more the status; a line of header value (Retry-After), a line of message or
//! content type, and the rest is the body or the details.

#![no_main]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use heka_insights_agent::internals::export::verdict::{Failure, Page, Verdict};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use tonic::{Code, Status};

/// No server makes the agent wait longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

fuzz_target!(|input: &[u8]| {
    let [protocol, high, low, rest @ ..] = input else { return };
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (first, second, body) = (next(), next(), next());
    let failure = if protocol % 3 < 2 {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::RETRY_AFTER, first), (header::CONTENT_TYPE, second)] {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(name, value);
            }
        }
        let status = StatusCode::from_u16(100 + u16::from_be_bytes([*high, *low]) % 900).expect("three digits");
        let page = Page { status, headers: &headers, body: Bytes::copy_from_slice(body) };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        if protocol % 3 == 0 {
            let Err(failure) = page.over_http(now) else { return };
            failure
        } else {
            let failure = page.in_place_of_grpc(now);
            assert!(!matches!(failure.verdict, Verdict::Drop), "a proxy's answer drops data");
            failure
        }
    } else {
        let message = String::from_utf8_lossy(second);
        Failure::from_status(&Status::with_details(Code::from(i32::from(*low)), message, Bytes::copy_from_slice(body)))
    };
    if let Verdict::Keep(Some(wait)) = failure.verdict {
        assert!(wait <= LONGEST_WAIT, "{wait:?}");
    }
    // The reason is one line of bounded length for the log.
    assert!(failure.words.len() < 2_000 && !failure.words.contains(['\n', '\r', '\x1b']), "{:?}", failure.words);
});
