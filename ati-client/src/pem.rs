//! Parses P-256 keys in PEM: PKCS#8, SEC 1 or SPKI.

use pkcs8::der::{Decode, asn1::ObjectIdentifier};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use crate::Error;
use crate::crypto::{Es256Private, Es256Public, Point};

/// `id-ecPublicKey` (RFC 5480 §2.1.1).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `secp256r1`, which is P-256 (RFC 5480 §2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

const NOT_P256: Error = Error::BadKey {
    reason: "it is not on the curve P-256, which ES256 requires",
};
const NOT_DER: Error = Error::BadKey {
    reason: "the content of the PEM text is damaged",
};

/// Parses the private key in a PEM text, as PKCS#8 or SEC 1.
pub(crate) fn parse_private(pem: &[u8]) -> Result<Es256Private, Error> {
    let keys = PrivateKeyDer::pem_slice_iter(pem).map(|key| key.map(Zeroizing::new));
    let key = exactly_one(keys).ok_or(Error::BadKey {
        reason: "the PEM text must hold exactly one private key, which begins with `-----BEGIN PRIVATE KEY-----` or \
                 `-----BEGIN EC PRIVATE KEY-----`; put each key into a file of its own",
    })?;
    match &*key {
        PrivateKeyDer::Pkcs8(der) => from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Sec1(der) => EcPrivateKey::from_der(der.secret_sec1_der())
            .map_err(|_| NOT_DER)
            .and_then(|key| match key.parameters {
                Some(_) => from_sec1(&key),
                None => Err(NOT_P256),
            }),
        _ => Err(NOT_P256),
    }
}

fn from_pkcs8(der: &[u8]) -> Result<Es256Private, Error> {
    let info = pkcs8::PrivateKeyInfoRef::from_der(der).map_err(|_| NOT_DER)?;
    check_p256(&info.algorithm)?;
    from_sec1(&EcPrivateKey::from_der(info.private_key.as_bytes()).map_err(|_| NOT_DER)?)
}

fn from_sec1(key: &EcPrivateKey<'_>) -> Result<Es256Private, Error> {
    if key
        .parameters
        .is_some_and(|EcParameters::NamedCurve(curve)| curve != P256)
    {
        return Err(NOT_P256);
    }
    let scalar: [u8; 32] = key.private_key.try_into().map_err(|_| NOT_P256)?;
    let scalar = Zeroizing::new(scalar);
    let public = key.public_key.ok_or(Error::BadKey {
        reason: "its public half is missing; create a key with both halves by `openssl ecparam -name prime256v1 -genkey`",
    })?;
    Es256Private::new(scalar, uncompressed_point(public)?)
}

/// Parses the public key in a PEM text, as SPKI.
pub(crate) fn parse_public(pem: &[u8]) -> Result<Es256Public, Error> {
    let der = exactly_one(SubjectPublicKeyInfoDer::pem_slice_iter(pem)).ok_or(Error::BadKey {
        reason: "the PEM text must hold exactly one public key, which begins with `-----BEGIN PUBLIC KEY-----`; put \
                 each key into a file of its own",
    })?;
    let info = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| NOT_DER)?;
    check_p256(&info.algorithm)?;
    let public = info.subject_public_key.as_bytes().ok_or(NOT_DER)?;
    Es256Public::new(uncompressed_point(public)?)
}

/// Returns the only key of its kind in a PEM text. A second key is refused, not ignored.
fn exactly_one<K, E>(mut keys: impl Iterator<Item = Result<K, E>>) -> Option<K> {
    let key = keys.next()?.ok()?;
    keys.next().is_none().then_some(key)
}

fn check_p256(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), Error> {
    algorithm.assert_oids(EC, P256).map_err(|_| NOT_P256)
}

fn uncompressed_point(public: &[u8]) -> Result<Point, Error> {
    public.try_into().map_err(|_| Error::BadKey {
        reason: "its public half is compressed; convert the key by `openssl ec -conv_form uncompressed`",
    })
}
