//! TLS certificates: all files are read and validated before a connection is built from them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{ExportError, reason};
use crate::export::config::TlsFiles;

/// TLS client configuration, built once from validated files.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    identity: bool,
}

/// Reads and validates the files. The system's root certificates are read only if `secure` is set, which means that TLS
/// is used.
///
/// # Errors
/// A file that cannot be read or used, in one sentence with the flag or variable, the file and a fix. The message
/// contains nothing of the file's content.
pub fn load(files: &TlsFiles, secure: bool) -> Result<Tls, ExportError> {
    let places = &files.places;
    let roots = match &files.ca {
        Some(path) => from_file(&places.ca, path, roots_from)?,
        None if secure => native_roots()?,
        None => RootCertStore::empty(),
    };
    let builder = builder()?.with_root_certificates(roots);
    let (config, identity) = match (&files.cert, &files.key) {
        (None, None) => (builder.with_no_client_auth(), false),
        (Some(cert_path), Some(key_path)) => {
            let cert = from_file(&places.cert, cert_path, certificates)?;
            let key = from_file(&places.key, key_path, private_key)?;
            // During a rotation the two files change one after the other; a mismatched pair is rejected here.
            let config = builder.with_client_auth_cert(cert, key).map_err(|error| {
                let (cert, key) = (cert_path.display(), key_path.display());
                let why = unusable(&error);
                ExportError::new(format!("{} {cert} with {} {key}: {why}", places.cert, places.key))
            })?;
            (config, true)
        }
        (Some(_), None) => return Err(ExportError::new(format!("{} needs {} as well", places.cert, places.key))),
        (None, Some(_)) => return Err(ExportError::new(format!("{} needs {} as well", places.key, places.cert))),
    };
    Ok(Tls { config: Arc::new(config), identity })
}

/// Reads and parses a file. `place` is the flag or variable that named it.
fn from_file<T>(place: &str, path: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Result<T, ExportError> {
    let content = fs::read(path).map_err(|error| error.to_string());
    let parsed = content.and_then(|content| parse(&content));
    parsed.map_err(|why| ExportError::new(format!("{place} {}: {why}", path.display())))
}

/// Why a client certificate and its key cannot be used.
fn unusable(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the key is not this certificate's".to_owned(),
        rustls::Error::InvalidCertificate(certificate) => match reason::unfit(&certificate.to_string()) {
            Some(words) => format!("the certificate {words}"),
            None => format!("the certificate is not usable: {certificate}"),
        },
        _ => "the key is of a kind that cannot be used (P-521, DSA); make one with: openssl ecparam -name prime256v1 \
              -genkey -noout -out KEY"
            .to_owned(),
    }
}

impl Tls {
    /// Whether a client certificate is sent.
    pub fn has_identity(&self) -> bool {
        self.identity
    }

    /// The configuration for connections with one of these ALPN protocols.
    pub fn client_config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

/// An empty configuration. The connector needs one even without TLS; reading the system's root certificates would be
/// wasteful.
///
/// # Errors
/// None in practice: the provider supports TLS.
pub fn unused() -> Result<ClientConfig, ExportError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ExportError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| ExportError::new(format!("TLS: {e}")))
}

fn native_roots() -> Result<RootCertStore, ExportError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(ExportError::new(
            "TLS: the system has no root certificates; install ca-certificates or give --ca-file",
        ));
    }
    Ok(roots)
}

fn roots_from(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(pem)? {
        roots.add(cert).map_err(|error| format!("holds a certificate that cannot be an authority: {error}"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    // The PEM reader's error contains the invalid line, which may be part of a private key.
    let certs = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "not valid PEM: expected -----BEGIN CERTIFICATE-----".to_owned())?;
    match certs.is_empty() {
        false => Ok(certs),
        true if holds(pem, "PRIVATE KEY-----") => Err("holds a private key where a certificate is expected".into()),
        true if is_der(pem) => {
            Err("is DER, not PEM; convert it: openssl x509 -inform der -in FILE -out FILE.pem".into())
        }
        true => Err("holds no PEM certificate (-----BEGIN CERTIFICATE-----)".into()),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if holds(pem, "ENCRYPTED") {
        return Err("the private key is encrypted, which is not supported; decrypt it: \
                    openssl pkey -in KEY -out KEY.plain"
            .into());
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| match holds(pem, "BEGIN CERTIFICATE-----") {
        true => "holds a certificate where a private key is expected; are the two files swapped?".into(),
        false if is_der(pem) => "is DER, not PEM; convert it: openssl pkey -inform der -in KEY -out KEY.pem".into(),
        false => "holds no PEM private key (PKCS#8, PKCS#1 or SEC1)".into(),
    })
}

/// Whether the file is DER: not text, and starting with an ASN.1 sequence like all certificates and keys.
fn is_der(file: &[u8]) -> bool {
    file.first() == Some(&0x30) && std::str::from_utf8(file).is_err()
}

fn holds(pem: &[u8], text: &str) -> bool {
    pem.windows(text.len()).any(|window| window == text.as_bytes())
}
