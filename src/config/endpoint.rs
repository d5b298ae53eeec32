//! Resolves endpoint and protocol, which depend on each other.

use crate::config::found::UsageError;
use crate::config::lookup::Lookup;
use crate::config::table;
use crate::export::config::Protocol;

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
            _ if !path.starts_with('/') => Err(wrong()),
            _ => Ok((Protocol::Grpc, found.value.to_owned())),
        };
    }
    let mut text = found.value.to_owned();
    if !text.contains("://") {
        if !found.is_otel() || protocol == Some(Protocol::HttpProtobuf) {
            return Err(wrong());
        }
        text = format!("{}://{text}", if insecure.is_some_and(|(insecure, _)| insecure) { "http" } else { "https" });
    } else if let Some((value, variable)) = insecure
        && text.starts_with(if value { "https://" } else { "http://" })
    {
        lookup.warnings.push(format!(
            "{}: '{value}' is not used, since the scheme of {} decides whether TLS is used",
            variable.place, found.place
        ));
    }
    // A fragment is never sent to a server.
    text.truncate(text.find('#').unwrap_or(text.len()));
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
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

/// Whether it is only `host` or `host:port`: credentials belong in a header, which is never printed.
fn is_host_and_port(authority: &http::uri::Authority) -> bool {
    let (host, whole) = (authority.host(), authority.as_str());
    !host.is_empty() && (whole == host || authority.port_u16().is_some_and(|port| whole == format!("{host}:{port}")))
}
