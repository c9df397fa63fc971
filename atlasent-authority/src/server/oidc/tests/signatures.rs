//! Which signatures and headers are accepted.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::issuer::{LocalIssuer, Signer, base64};
use super::{claims, config};
use crate::server::oidc::OidcError;

#[tokio::test]
async fn a_token_of_each_algorithm_is_accepted() {
    let issuer = LocalIssuer::start().await;
    let signers = [Signer::rs256("r"), Signer::es256("p"), Signer::ed25519("e")];
    issuer.publish(&signers.each_ref());
    let verifier = issuer.verifier(config(&issuer, ""));
    for signer in signers {
        let approver = verifier
            .verify(&signer.sign(&claims(&issuer)))
            .await
            .unwrap();
        assert_eq!(approver.to_string(), "alice (release-manager)");
        // Without a `kid`, each key of the algorithm is tried.
        let signer = signer.with_header(json!({ "kid": null }));
        assert!(
            verifier
                .verify(&signer.sign(&claims(&issuer)))
                .await
                .is_ok()
        );
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn the_key_determines_the_algorithm_and_not_the_token() {
    let issuer = LocalIssuer::start().await;
    let published = [Signer::rs256("r"), Signer::es256("p")];
    issuer.publish(&published.each_ref());
    let verifier = issuer.verifier(config(&issuer, ""));
    let refusal = async |token: String| verifier.verify(&token).await.unwrap_err();

    // A secret that everybody knows: the public key, in the form of a published key or its bytes.
    let public = &published[0].jwk;
    for secret in [public.to_string(), public["n"].as_str().unwrap().to_owned()] {
        let header = json!({ "alg": "HS256", "kid": "r" });
        let message = format!(
            "{}.{}",
            base64(header.to_string()),
            base64(claims(&issuer).to_string())
        );
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let mac = mac.chain_update(&message).finalize().into_bytes();
        let token = format!("{message}.{}", base64(mac));
        assert_eq!(refusal(token).await, OidcError::UnsupportedAlgorithm);
    }
    for alg in [
        "none", "None", "", "RS384", "PS256", "ES384", "HS512", "rs256",
    ] {
        let signer = Signer::rs256("r").with_header(json!({ "alg": alg }));
        let token = signer.sign(&claims(&issuer));
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(refusal(token).await, OidcError::UnsupportedAlgorithm);
        assert_eq!(refusal(unsigned).await, OidcError::UnsupportedAlgorithm);
    }
    // The algorithm of another key.
    let confused = Signer::es256("p").with_header(json!({ "alg": "RS256" }));
    assert_eq!(
        refusal(confused.sign(&claims(&issuer))).await,
        OidcError::UnknownKey
    );
    // The right algorithm and `kid`, and another key.
    let forged = Signer::es256("p").sign(&claims(&issuer));
    assert_eq!(refusal(forged).await, OidcError::BadSignature);
    // A key that the token brings along.
    let own = Signer::es256("p");
    let jwk = own.jwk.clone();
    let own = own.with_header(json!({ "jwk": jwk, "jku": "http://127.0.0.1:1/jwks" }));
    assert_eq!(
        refusal(own.sign(&claims(&issuer))).await,
        OidcError::BadSignature
    );
}

#[tokio::test]
async fn a_key_for_another_purpose_verifies_nothing() {
    for change in [
        json!({ "use": "enc" }),
        json!({ "key_ops": ["sign"] }),
        json!({ "alg": "ES256" }),
        json!({ "crv": "Ed448" }),
        json!({ "kty": "oct" }),
        json!({ "x": null }),
        json!({ "x": "AAAA" }),
        json!({ "kid": 7 }),
    ] {
        let issuer = LocalIssuer::start().await;
        let signer = Signer::ed25519("e").with_jwk(change.clone());
        let good = Signer::es256("p");
        issuer.publish(&[&signer, &good]);
        let verifier = issuer.verifier(config(&issuer, ""));
        let refused = verifier.verify(&signer.sign(&claims(&issuer))).await;
        assert_eq!(refused, Err(OidcError::UnknownKey), "{change}");
        // The other keys of the set are used.
        assert!(verifier.verify(&good.sign(&claims(&issuer))).await.is_ok());
    }
}

#[tokio::test]
async fn every_changed_byte_of_a_token_is_found() {
    let issuer = LocalIssuer::start().await;
    let signer = Signer::es256("p");
    issuer.publish(&[&signer]);
    let verifier = issuer.verifier(config(&issuer, ""));
    let token = signer.sign(&claims(&issuer));
    assert!(verifier.verify(&token).await.is_ok());
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verifier.verify(&changed).await.is_err(), "{at}");
    }
    for at in 0..token.len() {
        let cut = token.get(..at).unwrap();
        assert!(verifier.verify(cut).await.is_err(), "{at}");
    }
    assert!(verifier.verify(&format!("{token}=")).await.is_err());
    assert!(verifier.verify(&format!("{token}.")).await.is_err());
}

#[tokio::test]
async fn a_header_that_asks_for_more_is_refused() {
    let issuer = LocalIssuer::start().await;
    let verifier = issuer.verifier(config(&issuer, ""));
    for change in [
        json!({ "crit": ["b64"] }),
        json!({ "typ": "logout+jwt" }),
        json!({ "typ": "dpop+jwt" }),
        json!({ "typ": "JOSE" }),
        json!({ "typ": 1 }),
        json!({ "kid": 1 }),
    ] {
        let signer = Signer::es256("p").with_header(change.clone());
        let refused = verifier.verify(&signer.sign(&claims(&issuer))).await;
        assert!(matches!(refused, Err(OidcError::Malformed(_))), "{change}");
    }
    let long = "a".repeat(16 * 1024 + 1);
    for text in ["", "a", "a.b", "a.b.c", "..", "a.b.c.d", &long] {
        let refused = verifier.verify(text).await;
        assert!(matches!(refused, Err(OidcError::Malformed(_))), "{text}");
    }
    // None of these is worth a request.
    assert_eq!(issuer.fetches(), 0);
}
