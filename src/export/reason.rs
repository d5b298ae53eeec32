//! Formats error chains for operators: the cause and, if one flag fixes it, that flag.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::chain;
use super::proxy::ThroughProxy;

/// Maximum number of characters of a server's text in a log line.
const QUOTED: usize = 200;

/// Describes an error of a request.
pub fn words(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    let mut through = String::new();
    while let Some(link) = next {
        if let Some(words) = known(link) {
            return through + &words;
        }
        if let Some(proxy) = link.downcast_ref::<ThroughProxy>() {
            through = format!("through the proxy {}: ", proxy.proxy);
        }
        next = link.source();
    }
    let text = chain(error);
    by_text(&text).map_or(text, |words| through + &words)
}

/// Whether the chain contains a timeout.
pub fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(link) = next {
        if link.is::<tokio::time::error::Elapsed>()
            || link.is::<tonic::TimeoutExpired>()
            || link.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut)
        {
            return true;
        }
        next = link.source();
    }
    false
}

/// Whether the peer closed an established connection.
pub fn is_cut(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(link) = next {
        // The connection was never established.
        if link.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|e| e.is_connect())
            || link.to_string().contains("connect error")
        {
            return false;
        }
        let by_kind = link.downcast_ref::<io::Error>().is_some_and(|e| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        });
        if by_kind || link.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        next = link.source();
    }
    false
}

/// Shortens a server's text to one log line.
pub fn quote(text: &str) -> String {
    let mut line: String = text.trim().chars().take(QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().count() > QUOTED {
        line.push('…');
    }
    line
}

fn known(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_words(tls));
    }
    if error.is::<tokio::time::error::Elapsed>() || error.is::<tonic::TimeoutExpired>() {
        return Some("timed out waiting for an answer".into());
    }
    let io = error.downcast_ref::<io::Error>()?;
    // `io::Error::source` skips the wrapped error, and rustls's errors are wrapped.
    if let Some(words) = io.get_ref().and_then(|inner| known(inner)) {
        return Some(words);
    }
    Some(match io.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused: nothing listens there (is the Collector running? gRPC uses port 4317, HTTP 4318)"
                .into()
        }
        io::ErrorKind::ConnectionReset => "connection reset by the other side".into(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => "the other side closed the connection".into(),
        io::ErrorKind::TimedOut => "timed out connecting".into(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            format!("no route: {io}")
        }
        io::ErrorKind::NotFound => "the socket does not exist".into(),
        io::ErrorKind::PermissionDenied => "no permission to open the socket".into(),
        _ => return None,
    })
}

fn tls_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => {
                "TLS: the server's certificate is from an authority that is not trusted (wrong or missing --ca-file)"
                    .into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("TLS: the server's certificate has expired ({certificate})")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("TLS: the server's certificate is not valid yet; is this host's clock right? ({certificate})")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("TLS: the server's certificate is for another host name ({certificate})")
            }
            other => match unfit(&other.to_string()) {
                Some(words) => format!("TLS: the server's certificate {words}"),
                None => format!("TLS: the server's certificate is not acceptable: {other}"),
            },
        },
        rustls::Error::AlertReceived(alert) => alert_words(*alert),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "TLS: the server does not speak TLS at this port (http:// instead of https://?)".into()
        }
        other => format!("TLS: {other}"),
    }
}

/// Explains why a certificate is invalid for any use and how to create a valid one. rustls reports these errors only as
/// text.
pub fn unfit(error: &str) -> Option<&'static str> {
    const FAULTS: [(&str, &str); 4] = [
        (
            "BadSignature",
            "is signed with another key than that of the trusted authority of this name (give the server's current authority \
             with --ca-file)",
        ),
        (
            "CaUsedAsEndEntity",
            "is one of an authority, not of a server (openssl req -x509 makes such certificates); make it with -addext \
             basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME, and give it with --ca-file",
        ),
        (
            "UnsupportedCertVersion",
            "is of X.509 version 1; make one of version 3: openssl x509 -req with -extfile and a subjectAltName",
        ),
        (
            "UnsupportedSignatureAlgorithm",
            "is signed in a way that is not supported (P-521, SHA-1, DSA); use P-256, P-384, Ed25519 or RSA with SHA-256",
        ),
    ];
    FAULTS.iter().find(|(name, _)| error.contains(name)).map(|(_, words)| *words)
}

fn alert_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "TLS: the server requires a client certificate (--cert-file and --key-file)".into()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            format!("TLS: the server refused the client certificate ({alert:?})")
        }
        AlertDescription::HandshakeFailure => {
            "TLS: the server ended the handshake: it has no version, cipher or certificate in common with this program (a \
             P-521 certificate is not supported: use P-256, P-384, Ed25519 or RSA)"
                .into()
        }
        other => format!("TLS: the server ended the handshake ({other:?})"),
    }
}

/// Finds the cause in the text of an h2 error, which has no source.
fn by_text(text: &str) -> Option<String> {
    const ALERTS: [(&str, AlertDescription); 10] = [
        ("HandshakeFailure", AlertDescription::HandshakeFailure),
        ("CertificateRequired", AlertDescription::CertificateRequired),
        ("BadCertificate", AlertDescription::BadCertificate),
        ("UnsupportedCertificate", AlertDescription::UnsupportedCertificate),
        ("CertificateRevoked", AlertDescription::CertificateRevoked),
        ("CertificateExpired", AlertDescription::CertificateExpired),
        ("CertificateUnknown", AlertDescription::CertificateUnknown),
        ("UnknownCA", AlertDescription::UnknownCA),
        ("AccessDenied", AlertDescription::AccessDenied),
        ("DecryptError", AlertDescription::DecryptError),
    ];
    if let Some((_, alert)) = text.split_once("received fatal alert: ") {
        let found = ALERTS.iter().find(|(name, _)| alert.starts_with(name));
        return Some(
            found.map_or_else(|| format!("TLS: the server ended the handshake ({alert})"), |(_, a)| alert_words(*a)),
        );
    }
    if text.contains("frame with invalid size") {
        return Some(
            "the server does not speak gRPC at this port (--protocol http/protobuf, usually port 4318?)".into(),
        );
    }
    // An HTTP/2 server sends first; hyper reads its bytes before or after sending the request.
    if text.contains("invalid HTTP version parsed") || text.contains("received unexpected message from connection") {
        return Some("the server does not speak HTTP/1.1 at this port (--protocol grpc, usually port 4317?)".into());
    }
    if let Some((_, why)) = text.split_once("dns error: ") {
        return Some(format!("the host name cannot be resolved: {why}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rustls_error_inside_an_io_error_is_found() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::new(io::ErrorKind::InvalidData, inner);
        assert!(words(&error).contains("authority"), "{}", words(&error));
    }

    #[test]
    fn a_refused_connection_names_what_to_look_at() {
        let refused = words(&io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(refused.ends_with("(is the Collector running? gRPC uses port 4317, HTTP 4318)"), "{refused}");
    }

    #[test]
    fn an_alert_that_survives_only_as_text_is_found() {
        let error = io::Error::other("connection error: received fatal alert: UnknownCA");
        assert!(words(&error).contains("refused the client certificate"), "{}", words(&error));
    }

    #[test]
    fn a_servers_text_is_one_bounded_line() {
        let line = quote(&format!("a\nb{}", "x".repeat(500)));
        assert!(line.starts_with("a b") && line.chars().count() == QUOTED + 1, "{line}");
    }
}
