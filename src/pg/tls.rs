//! TLS to the server: rustls with the system's authorities or a CA file, and libpq's `require` that verifies nothing.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::TlsMode;
use super::{ConnectionSettings, PgError};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key file cannot be used.
    #[error("the file {path} cannot be used: {reason}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// rustls refuses the combination.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// There is nobody to trust.
    #[error("no trusted authority was found; name one with sslrootcert")]
    NoAuthorities,
    /// The host's name cannot stand in a certificate.
    #[error("{host} is no name that a certificate could have: {reason}")]
    Name {
        /// As it was given.
        host: String,
        /// Why.
        reason: String,
    },
    /// A verifier cannot be built from the authorities.
    #[error("the trusted authorities cannot be used: {0}")]
    Verifier(String),
}

/// What makes TLS of a stream to this server.
pub(super) fn connect<S>(
    settings: &ConnectionSettings,
) -> Result<<MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect, PgError>
where
    MakeRustlsConnect: MakeTlsConnect<S>,
    <MakeRustlsConnect as MakeTlsConnect<S>>::Error: Display,
{
    let failed = |source| PgError::Tls { target: settings.describe(), source };
    let mut connector = connector(settings).map_err(failed)?;
    connector
        .make_tls_connect(&settings.host)
        .map_err(|error| failed(TlsError::Name { host: settings.host.clone(), reason: error.to_string() }))
}

fn connector(settings: &ConnectionSettings) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let verified = match settings.tls {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        }
        TlsMode::VerifyCa => {
            let roots = Arc::new(authorities(settings)?);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(ChainOnly { roots, provider }))
        }
        TlsMode::VerifyFull => {
            let verifier = WebPkiServerVerifier::builder_with_provider(
                Arc::new(authorities(settings)?),
                Arc::clone(&provider),
            )
            .build()
            .map_err(|error| TlsError::Verifier(error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        }
    };
    let config = match (&settings.client_cert, &settings.client_key) {
        (Some(cert), Some(key)) => verified.with_client_auth_cert(certificates(cert)?, private_key(key)?)?,
        _ => verified.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn authorities(settings: &ConnectionSettings) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let certificates = match &settings.root_cert {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(store) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| bad(path, &error.to_string()))
}

fn bad(path: &Path, reason: &str) -> TlsError {
    TlsError::File { path: path.display().to_string(), reason: reason.to_owned() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    rustls_pemfile::certs(&mut read(path)?.as_slice())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(path, &error.to_string()))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    rustls_pemfile::private_key(&mut read(path)?.as_slice())
        .map_err(|error| bad(path, &error.to_string()))?
        .ok_or_else(|| bad(path, "it has no private key"))
}

/// `sslmode=prefer` and `require`: the line is encrypted, nobody knows with whom. Exactly what libpq promises there.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

/// `sslmode=verify-ca`: a trusted authority vouches for the certificate, whatever name it carries.
#[derive(Debug)]
struct ChainOnly {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

macro_rules! signatures_by {
    ($this:ident => $provider:expr) => {
        fn verify_tls12_signature(
            &$this,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls12_signature(message, cert, dss, &$provider.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &$this,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls13_signature(message, cert, dss, &$provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&$this) -> Vec<SignatureScheme> {
            $provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    signatures_by!(self => self.0);
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_by!(self => self.provider);
}
