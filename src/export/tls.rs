//! Certificates: read from their files and checked whole before anything is built from them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::ExportError;
use crate::export::config::TlsFiles;

/// The client's side of every handshake, made once from files that are known to be usable.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    identity: bool,
}

/// Reads and checks the files. The system's roots are read if `secure` indicates that TLS is used.
///
/// # Errors
/// A file that cannot be read, holds no certificate or key, or a key that does not belong to the certificate: the
/// message names the flag and the file, and holds nothing of their content.
pub fn load(files: &TlsFiles, secure: bool) -> Result<Tls, ExportError> {
    let at = |flag: &str, path: &Path, why: String| ExportError::new(format!("{flag} {}: {why}", path.display()));
    let roots = match &files.ca {
        Some(path) => roots_from(&read("--ca-file", path)?).map_err(|why| at("--ca-file", path, why))?,
        None if secure => native_roots()?,
        None => RootCertStore::empty(),
    };
    let builder = builder()?.with_root_certificates(roots);
    let (config, identity) = match (&files.cert, &files.key) {
        (None, None) => (builder.with_no_client_auth(), false),
        (Some(cert_path), Some(key_path)) => {
            let cert =
                certificates(&read("--cert-file", cert_path)?).map_err(|why| at("--cert-file", cert_path, why))?;
            let key = private_key(&read("--key-file", key_path)?).map_err(|why| at("--key-file", key_path, why))?;
            // During a rotation the two files change one after the other; the half-changed pair is refused here.
            let config = builder.with_client_auth_cert(cert, key).map_err(|e| {
                let (cert, key) = (cert_path.display(), key_path.display());
                ExportError::new(format!("--cert-file {cert} with --key-file {key}: {e}"))
            })?;
            (config, true)
        }
        (Some(_), None) => return Err(ExportError::new("--cert-file needs --key-file as well")),
        (None, Some(_)) => return Err(ExportError::new("--key-file needs --cert-file as well")),
    };
    Ok(Tls { config: Arc::new(config), identity })
}

impl Tls {
    /// Whether a client certificate is shown.
    pub fn has_identity(&self) -> bool {
        self.identity
    }

    /// The configuration for connections that speak one of these protocols.
    pub fn client_config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

/// A connector wants a configuration even where no TLS is used; reading the system's roots for it would be waste.
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

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|e| ExportError::new(format!("{flag} {}: {e}", path.display())))
}

fn roots_from(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(pem)? {
        roots.add(cert).map_err(|e| format!("holds a certificate that cannot be an authority: {e}"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    // An error of the PEM reader shows the line it stumbled over, which may be a private key's.
    let certs = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "not valid PEM: expected -----BEGIN CERTIFICATE-----".to_owned())?;
    match certs.is_empty() {
        false => Ok(certs),
        true if holds(pem, "PRIVATE KEY-----") => Err("holds a private key where a certificate is expected".into()),
        true => Err("holds no PEM certificate (-----BEGIN CERTIFICATE-----)".into()),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if holds(pem, "ENCRYPTED") {
        return Err("the private key is encrypted, which is not supported; decrypt it: \
                    openssl pkey -in KEY -out KEY.plain"
            .into());
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no PEM private key (PKCS#8, PKCS#1 or SEC1)".into())
}

fn holds(pem: &[u8], text: &str) -> bool {
    pem.windows(text.len()).any(|window| window == text.as_bytes())
}
