//! When the keys are fetched, and what happens while they cannot be.

use axum::http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use super::issuer::{Answer, LocalIssuer, Signer};
use super::{claims, config};
use crate::server::oidc::OidcError;

#[tokio::test]
async fn a_new_key_is_found_and_a_withdrawn_one_is_refused() {
    let issuer = LocalIssuer::start().await;
    let (old, new) = (Signer::es256("old"), Signer::ed25519("new"));
    issuer.publish(&[&old]);
    let verifier = issuer.verifier(config(&issuer, ""));
    let verify = async |signer: &Signer| verifier.verify(&signer.sign(&claims(&issuer))).await;
    assert!(verify(&old).await.is_ok());
    issuer.publish(&[&new]);
    // The keys were fetched a moment ago.
    assert_eq!(verify(&new).await, Err(OidcError::UnknownKey));
    issuer.pass(31);
    assert!(verify(&new).await.is_ok());
    assert_eq!(verify(&old).await, Err(OidcError::UnknownKey));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_by_tokens_without_a_key_id_too() {
    let issuer = LocalIssuer::start().await;
    let nameless = || Signer::es256("x").with_header(json!({ "kid": null }));
    let (old, new) = (nameless(), nameless());
    issuer.publish(&[&old]);
    let verifier = issuer.verifier(config(&issuer, ""));
    assert!(verifier.verify(&old.sign(&claims(&issuer))).await.is_ok());
    issuer.publish(&[&new]);
    issuer.pass(31);
    assert!(verifier.verify(&new.sign(&claims(&issuer))).await.is_ok());
}

#[tokio::test]
async fn a_flood_of_unknown_keys_reaches_the_issuer_twice_a_minute() {
    let issuer = LocalIssuer::start().await;
    let known = Signer::es256("known");
    issuer.publish(&[&known]);
    let verifier = issuer.verifier(config(&issuer, ""));
    for second in 0..60 {
        for _ in 0..5 {
            let forged = Signer::es256(&format!("k{second}")).sign(&claims(&issuer));
            assert_eq!(verifier.verify(&forged).await, Err(OidcError::UnknownKey));
        }
        issuer.pass(1);
    }
    assert_eq!(issuer.fetches(), 2);
    assert!(verifier.verify(&known.sign(&claims(&issuer))).await.is_ok());
}

#[tokio::test]
async fn known_keys_outlive_an_outage_of_the_issuer_for_an_hour() {
    let issuer = LocalIssuer::start().await;
    let signer = Signer::es256("p");
    issuer.publish(&[&signer]);
    let verifier = issuer.verifier(config(&issuer, ""));
    let verify = async || verifier.verify(&signer.sign(&claims(&issuer))).await;
    assert!(verify().await.is_ok());
    issuer.answer_keys(Answer::Status(StatusCode::SERVICE_UNAVAILABLE));
    issuer.pass(599);
    assert!(verify().await.is_ok());
    assert_eq!(issuer.fetches(), 1);
    issuer.pass(1);
    assert!(verify().await.is_ok());
    assert!(verify().await.is_ok());
    assert_eq!(issuer.fetches(), 2);
    issuer.pass(2_999);
    assert!(verify().await.is_ok());
    issuer.pass(31);
    let error = verify().await.unwrap_err();
    assert!(
        error.is_outage() && error.to_string().contains("503"),
        "{error}"
    );
    // It comes back.
    issuer.publish(&[&signer]);
    issuer.pass(31);
    assert!(verify().await.is_ok());
}

#[tokio::test]
async fn a_withdrawn_set_of_keys_is_not_an_outage() {
    let issuer = LocalIssuer::start().await;
    let signer = Signer::es256("p");
    issuer.publish(&[&signer]);
    let verifier = issuer.verifier(config(&issuer, ""));
    let token = signer.sign(&claims(&issuer));
    assert!(verifier.verify(&token).await.is_ok());
    issuer.publish(&[]);
    issuer.pass(600);
    let token = signer.sign(&claims(&issuer));
    assert_eq!(verifier.verify(&token).await, Err(OidcError::UnknownKey));
}

#[tokio::test]
async fn an_answer_that_is_not_a_key_set_is_an_outage() {
    let signer = Signer::es256("p");
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 * 1024));
    let many = json!({ "keys": vec![signer.jwk.clone(); 101] });
    for (answer, words) in [
        (Answer::Status(StatusCode::NOT_FOUND), "status 404"),
        (Answer::Json("<html>".to_owned()), "not a JWK set"),
        (Answer::Json("{}".to_owned()), "not a JWK set"),
        (Answer::Json(large), "more than 262144 bytes"),
        (Answer::Json(many.to_string()), "more than 100 keys"),
        (Answer::Nothing, "no answer within 5s"),
    ] {
        let issuer = LocalIssuer::start().await;
        issuer.answer_keys(answer);
        let verifier = issuer.verifier(config(&issuer, ""));
        let error = verifier.verify(&signer.sign(&claims(&issuer))).await;
        let error = error.unwrap_err();
        assert!(
            error.is_outage() && error.to_string().contains(words),
            "{error}"
        );
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (issuer, other) = (LocalIssuer::start().await, LocalIssuer::start().await);
    let signer = Signer::es256("p");
    other.publish(&[&signer]);
    issuer.answer_keys(Answer::Redirect(format!("{}/jwks", other.url())));
    let verifier = issuer.verifier(config(&issuer, ""));
    let error = verifier.verify(&signer.sign(&claims(&issuer))).await;
    assert!(error.unwrap_err().to_string().contains("status 307"));
    assert_eq!(other.fetches(), 0);
}

#[tokio::test]
async fn the_discovery_document_has_to_be_the_issuers() {
    let signer = Signer::es256("p");
    for (issuer_name, jwks_uri, words) in [
        ("https://other.example.com", "/jwks", "another issuer"),
        ("", "http://example.com/jwks", "`jwks_uri` is not `https`"),
        ("", "ftp://127.0.0.1/jwks", "`jwks_uri` is not `https`"),
        ("", "https://u:p@127.0.0.1/jwks", "`jwks_uri` has a user"),
    ] {
        let issuer = LocalIssuer::start().await;
        let named = if issuer_name.is_empty() {
            issuer.url()
        } else {
            issuer_name
        };
        let document = json!({ "issuer": named, "jwks_uri": jwks_uri });
        issuer.answer_discovery(Answer::Json(document.to_string()));
        let verifier = issuer.verifier(config(&issuer, ""));
        let error = verifier.verify(&signer.sign(&claims(&issuer))).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(issuer.fetches(), 0);
    }
    // Without discovery, the URL of the keys is configured.
    let issuer = LocalIssuer::start().await;
    issuer.answer_discovery(Answer::Status(StatusCode::NOT_FOUND));
    issuer.publish(&[&signer]);
    let more = format!("jwks_url = \"{}/jwks\"", issuer.url());
    let verifier = issuer.verifier(config(&issuer, &more));
    assert!(
        verifier
            .verify(&signer.sign(&claims(&issuer)))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn tokens_at_the_same_time_share_one_fetch_which_outlives_its_callers() {
    let issuer = LocalIssuer::start().await;
    let signer = Signer::es256("p");
    issuer.publish(&[&signer]);
    let verifier = issuer.verifier(config(&issuer, ""));
    let token = signer.sign(&claims(&issuer));
    // A caller that stops waiting at once.
    let first = verifier.verify(&token);
    assert!(futures_util::FutureExt::now_or_never(first).is_none());
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (verifier, token) = (verifier.clone(), token.clone());
        tasks.spawn(async move { verifier.verify(&token).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|accepted| accepted));
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_keep_old_keys() {
    let issuer = LocalIssuer::start().await;
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    issuer.publish(&[&old]);
    let verifier = issuer.verifier(config(&issuer, ""));
    assert!(verifier.verify(&old.sign(&claims(&issuer))).await.is_ok());
    issuer.publish(&[&new]);
    issuer.pass(-7_200);
    assert_eq!(
        verifier.verify(&old.sign(&claims(&issuer))).await,
        Err(OidcError::UnknownKey)
    );
    assert!(verifier.verify(&new.sign(&claims(&issuer))).await.is_ok());
}
