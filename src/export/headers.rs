//! The headers of every request: the configured ones, overridden by the headers file.

use std::fs;
use std::path::Path;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::ExportError;
use crate::export::config::OtlpConfig;

/// Names that the protocol defines. With other values, the request would not be OTLP.
const RESERVED: [&str; 9] = [
    "content-type",
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "connection",
    "host",
    "te",
    "grpc-encoding",
    "grpc-timeout",
];

pub(crate) const USER_AGENT: &str = concat!("heka-insights-agent/", env!("CARGO_PKG_VERSION"));

/// Reads the headers file and merges it over the configured headers.
///
/// # Errors
/// A name or value that is invalid in HTTP, a reserved name, or an unreadable file. Messages never contain a part of a
/// header or of the file: if a line has no name, what looks like one is a part of the secret.
pub fn load(config: &OtlpConfig) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let (name, value) = header(name, value).map_err(|why| ExportError::new(format!("--header: {why}")))?;
        headers.append(name, value);
    }
    if let Some(path) = &config.headers_file {
        let from_file = read_file(path)?;
        // Remove all old values of a name first, because two lines with the same name in the file are two values.
        for name in from_file.keys() {
            headers.remove(name);
        }
        for (name, value) in &from_file {
            headers.append(name.clone(), value.clone());
        }
    }
    Ok(headers)
}

fn read_file(path: &Path) -> Result<HeaderMap, ExportError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|e| ExportError::new(format!("--headers-file {shown}: {e}")))?;
    let mut headers = HeaderMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A name contains neither character, so the first one ends it.
        let (name, value) = line.split_once([':', '=']).ok_or_else(|| {
            ExportError::new(format!(
                "--headers-file {shown}: line {} is neither `name: value` nor `name=value`",
                number + 1
            ))
        })?;
        let (name, value) = header(name.trim(), value.trim())
            .map_err(|why| ExportError::new(format!("--headers-file {shown}: line {}: {why}", number + 1)))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    // `HeaderName` converts to lower case.
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "the header's name (not shown) is not valid; allowed: letters, digits, `-`".to_owned())?;
    if let Some(reserved) = reserved(name.as_str()) {
        return Err(format!("{reserved:?} belongs to the protocol and cannot be set"));
    }
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| "the header's value (not shown) holds a character that a header cannot carry".to_owned())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The name if the protocol defines it.
pub fn reserved(name: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|reserved| reserved.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::config::{Protocol, Proxies, Temporality, TlsFiles};
    use std::time::Duration;

    fn config(headers: &[(&str, &str)], file: Option<&Path>) -> OtlpConfig {
        OtlpConfig {
            protocol: Protocol::Grpc,
            endpoint: "http://127.0.0.1:1".into(),
            headers: headers.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            headers_file: file.map(Into::into),
            gzip: false,
            timeout: Duration::from_secs(1),
            tls: TlsFiles::default(),
            proxies: Proxies::default(),
            temporality: Temporality::Cumulative,
        }
    }

    #[test]
    fn the_files_lines_replace_the_same_names_and_keep_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        fs::write(&path, "# secrets\n\nauthorization: Bearer a=b:c\nX-Team=edge\n").unwrap();
        let headers = load(&config(&[("x-team", "old"), ("x-keep", "1")], Some(&path))).unwrap();
        assert_eq!(headers["authorization"], "Bearer a=b:c");
        assert_eq!(headers["x-team"], "edge");
        assert_eq!(headers["x-keep"], "1");
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn an_error_names_the_place_and_never_the_value() {
        let error = load(&config(&[("x-key", "secret\u{7f}")], None)).unwrap_err().to_string();
        assert!(error.contains("--header: the header's value"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        let error = load(&config(&[("content-type", "text/plain")], None)).unwrap_err().to_string();
        assert!(error.contains("content-type"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        for line in
            ["secret", "Bearer secret==", "Bearer secret:", "secret=\u{7f}", "s\u{e9}secret=1", "=secret", ":secret"]
        {
            fs::write(&path, format!("ok: 1\n{line}\n")).unwrap();
            let error = load(&config(&[], Some(&path))).unwrap_err().to_string();
            assert!(error.contains("headers: line 2") && !error.contains("secret"), "{error}");
        }
    }
}
