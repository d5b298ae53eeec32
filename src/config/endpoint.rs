//! Resolves endpoint and protocol, which depend on each other.

use crate::config::found::UsageError;
use crate::config::lookup::Lookup;
use crate::config::table;
use crate::export::config::{Protocol, is_host_and_port};

const METRICS_PATH: &str = "/v1/metrics";
const METRICS_VARIABLE: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

/// The protocol and the full endpoint. Adds a line to `notes` if the protocol was inferred.
pub fn endpoint(lookup: &mut Lookup<'_>, notes: &mut Vec<String>) -> Result<(Protocol, String), UsageError> {
    let protocol = lookup.optional(&table::PROTOCOL)?;
    let insecure = lookup.found(&table::INSECURE)?;
    let Some(found) = lookup.find(&table::ENDPOINT.row).into_iter().next() else {
        let protocol = protocol.unwrap_or(Protocol::Grpc);
        let endpoint = match protocol {
            Protocol::Grpc => "http://localhost:4317".to_owned(),
            Protocol::HttpProtobuf => format!("http://localhost:4318{METRICS_PATH}"),
        };
        return Ok((protocol, endpoint));
    };
    let allowed = table::ENDPOINT.row.allowed;
    // An invalid endpoint is never replaced by the default, not even from a shared variable: metrics would be sent
    // elsewhere.
    let wrong = || found.wrong_url(allowed);
    if let Some(path) = found.value.strip_prefix("unix:") {
        return match protocol {
            Some(Protocol::HttpProtobuf) => Err(wrong()),
            _ if !path.starts_with('/') || path.contains(|c: char| c == '#' || c.is_control()) => Err(wrong()),
            _ => Ok((Protocol::Grpc, found.value.to_owned())),
        };
    }
    let mut text = match found.value.split_once("://") {
        Some((scheme, rest)) => {
            // Compared in lower case from here on.
            let scheme = scheme.to_ascii_lowercase();
            if let Some((value, variable)) = insecure
                && scheme == if value { "https" } else { "http" }
            {
                lookup.warnings.push(format!(
                    "{}: '{value}' is not used, since the scheme of {} decides whether TLS is used",
                    variable.place, found.place
                ));
            }
            format!("{scheme}://{rest}")
        }
        None if !found.is_otel() || protocol == Some(Protocol::HttpProtobuf) => return Err(wrong()),
        None if insecure.is_some_and(|(value, _)| value) => format!("http://{}", found.value),
        None => format!("https://{}", found.value),
    };
    // A fragment is never sent to a server.
    text.truncate(text.find('#').unwrap_or(text.len()));
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    // Credentials belong in a header, which is never printed.
    if !matches!(uri.scheme_str(), Some("http" | "https")) || !uri.authority().is_some_and(is_host_and_port) {
        return Err(wrong());
    }
    let path = uri.path().trim_end_matches('/');
    let protocol = match protocol {
        Some(protocol) => protocol,
        None if uri.port_u16() == Some(4318) || path.ends_with(METRICS_PATH) => {
            notes.push(format!(
                "{}: using http/protobuf, because of the endpoint's port or path; --protocol overrides this",
                found.place
            ));
            Protocol::HttpProtobuf
        }
        None => Protocol::Grpc,
    };
    let whole = match protocol {
        Protocol::HttpProtobuf if found.place != METRICS_VARIABLE && !path.ends_with(METRICS_PATH) => {
            let (base, query) = text.split_at(text.find('?').unwrap_or(text.len()));
            format!("{}{METRICS_PATH}{query}", base.trim_end_matches('/'))
        }
        _ => text,
    };
    Ok((protocol, whole))
}
