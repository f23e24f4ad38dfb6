//! Certificates of a QUIC lane: made for one lane and self-signed. Each side knows
//! the hash of the other's beforehand, over the authenticated control channel, and
//! takes no other; names, dates and authorities mean nothing. No name and no protocol
//! is told in the clear: what is spoken was agreed on the control channel.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

/// The name in certificates; nobody looks at it.
const NAME: &str = "passalong";

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateFault {
    #[error("no certificate could be made: {0}")]
    Made(#[from] rcgen::Error),
    #[error("TLS refused: {0}")]
    Tls(#[from] rustls::Error),
    #[error("QUIC has no cipher for its first packets")]
    Cipher(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// What this side shows on one lane.
pub(super) struct Certificate {
    made: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Certificate {
    /// A new one.
    pub(super) fn new() -> Result<Certificate, CertificateFault> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        Ok(Certificate { made })
    }

    /// What the other side has to know of it.
    pub(super) fn hash(&self) -> [u8; 32] {
        hash(self.made.cert.der())
    }

    /// To dial whoever shows the certificate with this hash.
    pub(super) fn client(&self, peer: [u8; 32]) -> Result<quinn::ClientConfig, CertificateFault> {
        let (provider, pinned) = pinned(peer);
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(pinned)
            .with_client_auth_cert(self.chain(), self.key())?;
        tls.enable_sni = false;
        let tls = QuicClientConfig::try_from(tls)?;
        Ok(quinn::ClientConfig::new(Arc::new(tls)))
    }

    /// To be dialled by whoever shows the certificate with this hash.
    pub(super) fn server(&self, peer: [u8; 32]) -> Result<quinn::ServerConfig, CertificateFault> {
        let (provider, pinned) = pinned(peer);
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(pinned)
            .with_single_cert(self.chain(), self.key())?;
        let tls = QuicServerConfig::try_from(tls)?;
        Ok(quinn::ServerConfig::with_crypto(Arc::new(tls)))
    }

    /// The name to dial by.
    pub(super) const fn name() -> &'static str {
        NAME
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.made.cert.der().clone()]
    }

    fn key(&self) -> rustls::pki_types::PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.made.signing_key.serialize_der()).into()
    }
}

fn hash(certificate: &CertificateDer<'_>) -> [u8; 32] {
    *blake3::hash(certificate).as_bytes()
}

fn pinned(hash: [u8; 32]) -> (Arc<CryptoProvider>, Arc<Pinned>) {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    (provider, Arc::new(Pinned { hash, algorithms }))
}

/// Takes the one certificate with this hash, of whoever holds its key.
#[derive(Debug)]
struct Pinned {
    hash: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        match hash(shown) == self.hash {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
