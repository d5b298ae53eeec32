//! Certificates: read from their files and checked whole before anything is built from them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{ExportError, chain};
use crate::export::config::TlsFiles;

/// The files' contents, as PEM, known to be usable.
#[derive(Clone, Default)]
pub struct TlsMaterial {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Reads and checks the files.
///
/// # Errors
/// A file that cannot be read, holds no certificate or key, or a key that does not belong to the certificate: the
/// message names the flag and the file.
pub fn load(files: &TlsFiles) -> Result<TlsMaterial, ExportError> {
    let ca = files.ca.as_deref().map(|path| read("--ca-file", path)).transpose()?;
    let identity = match (&files.cert, &files.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((read("--cert-file", cert)?, read("--key-file", key)?)),
        (Some(_), None) => return Err(ExportError::new("--cert-file needs --key-file as well")),
        (None, Some(_)) => return Err(ExportError::new("--key-file needs --cert-file as well")),
    };
    let material = TlsMaterial { ca, identity };
    if let (Some(pem), Some(path)) = (&material.ca, &files.ca) {
        roots_from(pem).map_err(|why| ExportError::new(format!("--ca-file {}: {why}", path.display())))?;
    }
    if let (Some((cert, key)), Some(cert_path), Some(key_path)) = (&material.identity, &files.cert, &files.key) {
        let (cert, key) = (
            certificates(cert)
                .map_err(|why| ExportError::new(format!("--cert-file {}: {why}", cert_path.display())))?,
            private_key(key).map_err(|why| ExportError::new(format!("--key-file {}: {why}", key_path.display())))?,
        );
        // During a rotation the two files change one after the other; the half-changed pair must be refused here.
        builder()?.with_root_certificates(RootCertStore::empty()).with_client_auth_cert(cert, key).map_err(|e| {
            ExportError::new(format!("--cert-file {} with --key-file {}: {e}", cert_path.display(), key_path.display()))
        })?;
    }
    Ok(material)
}

impl TlsMaterial {
    /// Whether a client certificate is shown.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The client's side of every handshake.
    ///
    /// # Errors
    /// The system has no roots, or one of the checks of [`load`] fails after all.
    pub fn client_config(&self) -> Result<ClientConfig, ExportError> {
        let roots = match &self.ca {
            Some(pem) => roots_from(pem).map_err(|why| ExportError::new(format!("--ca-file: {why}")))?,
            None => native_roots()?,
        };
        let builder = builder()?.with_root_certificates(roots);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((cert, key)) => {
                let cert = certificates(cert).map_err(|why| ExportError::new(format!("--cert-file: {why}")))?;
                let key = private_key(key).map_err(|why| ExportError::new(format!("--key-file: {why}")))?;
                builder.with_client_auth_cert(cert, key).map_err(|e| ExportError::new(format!("--cert-file: {e}")))
            }
        }
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
    let certs = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("not valid PEM: {}", chain(&e)))?;
    if certs.is_empty() {
        return Err("holds no PEM certificate".into());
    }
    Ok(certs)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no PEM private key (PKCS#8, PKCS#1 or SEC1)".into())
}
