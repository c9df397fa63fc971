//! Which claims are accepted, and whom they name.

use serde_json::json;

use super::issuer::LocalIssuer;
use super::{changed, claims, verified};
use crate::server::oidc::OidcError;

#[tokio::test]
async fn a_token_counts_for_its_issuer_audience_and_time_only() {
    let issuer = LocalIssuer::start().await;
    let now = issuer.now();
    for (change, expected) in [
        (json!({ "aud": ["other", "atlasent"] }), Ok(())),
        (json!({ "exp": now - 59 }), Ok(())),
        (json!({ "exp": now as f64 + 0.5 }), Ok(())),
        (json!({ "iat": null }), Ok(())),
        (json!({ "nbf": now + 59, "iat": now + 59 }), Ok(())),
        (
            json!({ "iss": "https://other.example.com" }),
            Err(OidcError::WrongIssuer),
        ),
        (
            json!({ "iss": format!("{}/", issuer.url()) }),
            Err(OidcError::WrongIssuer),
        ),
        (
            json!({ "iss": [issuer.url()] }),
            Err(OidcError::WrongIssuer),
        ),
        (json!({ "iss": null }), Err(OidcError::WrongIssuer)),
        (json!({ "aud": "other" }), Err(OidcError::WrongAudience)),
        (json!({ "aud": ["other"] }), Err(OidcError::WrongAudience)),
        (json!({ "aud": [] }), Err(OidcError::WrongAudience)),
        (json!({ "aud": null }), Err(OidcError::WrongAudience)),
        (json!({ "aud": "atlasent2" }), Err(OidcError::WrongAudience)),
        (json!({ "exp": now - 60 }), Err(OidcError::Expired)),
        (json!({ "exp": 0 }), Err(OidcError::Expired)),
        (json!({ "exp": -1e300 }), Err(OidcError::Expired)),
        (json!({ "nbf": now + 61 }), Err(OidcError::NotYetValid)),
        (json!({ "iat": now + 61 }), Err(OidcError::NotYetValid)),
    ] {
        let token = changed(claims(&issuer), change.clone());
        let outcome = verified(&issuer, "", &token).await.map(drop);
        assert_eq!(outcome, expected, "{change}");
    }
    for change in [
        json!({ "exp": null }),
        json!({ "exp": "4000000000" }),
        json!({ "nbf": "soon" }),
        json!({ "sub": null }),
        json!({ "sub": 7 }),
        json!({ "roles": 7 }),
        json!({ "roles": ["a", 7] }),
        json!({ "roles": { "a": true } }),
    ] {
        let token = changed(claims(&issuer), change.clone());
        let refused = verified(&issuer, "", &token).await;
        assert!(matches!(refused, Err(OidcError::Claim { .. })), "{change}");
    }
    let nameless = changed(claims(&issuer), json!({ "sub": "" }));
    assert!(matches!(
        verified(&issuer, "", &nameless).await,
        Err(OidcError::Approver(_))
    ));
}

#[tokio::test]
async fn a_token_counts_for_the_authorized_parties_only_if_there_are_some() {
    let issuer = LocalIssuer::start().await;
    let listed = "authorized_parties = [\"cli\", \"console\"]";
    for (settings, change, is_accepted) in [
        ("", json!({}), true),
        ("", json!({ "azp": "any" }), true),
        (listed, json!({ "azp": "cli" }), true),
        (
            listed,
            json!({ "azp": "console", "client_id": "any" }),
            true,
        ),
        // Access tokens of RFC 9068 name the client so.
        (listed, json!({ "client_id": "cli" }), true),
        (listed, json!({}), false),
        (listed, json!({ "azp": "any" }), false),
        (listed, json!({ "azp": "any", "client_id": "cli" }), false),
        (listed, json!({ "azp": "" }), false),
        (listed, json!({ "client_id": "any" }), false),
    ] {
        let token = changed(claims(&issuer), change.clone());
        let outcome = verified(&issuer, settings, &token).await.map(drop);
        let expected = match is_accepted {
            true => Ok(()),
            false => Err(OidcError::WrongParty),
        };
        assert_eq!(outcome, expected, "{settings}: {change}");
    }
    for change in [
        json!({ "azp": 7 }),
        json!({ "azp": ["cli"] }),
        json!({ "client_id": 7 }),
    ] {
        let token = changed(claims(&issuer), change.clone());
        let refused = verified(&issuer, listed, &token).await;
        assert!(matches!(refused, Err(OidcError::Claim { .. })), "{change}");
    }
}

#[tokio::test]
async fn the_configured_claims_name_the_person_and_the_roles() {
    let issuer = LocalIssuer::start().await;
    let more = json!({
        "preferred_username": "al", "email": "al@example.com", "email_verified": true,
        "realm_access": { "roles": ["cto", "cto"] },
        "https://example.com/roles": "lead",
        "groups": ["CN=Releases,OU=Groups", "CN=All,OU=Groups"],
    });
    let token = changed(claims(&issuer), more);
    for (settings, expected) in [
        ("", "alice (release-manager)"),
        (
            "principal_claim = \"preferred_username\"",
            "al (release-manager)",
        ),
        (
            "principal_claim = \"email\"",
            "al@example.com (release-manager)",
        ),
        ("roles_claim = \"realm_access.roles\"", "alice (cto)"),
        (
            "roles_claim = \"https://example.com/roles\"",
            "alice (lead)",
        ),
        ("roles_claim = \"nothing\"", "alice"),
        ("roles_claim = \"realm_access.roles.more\"", "alice"),
        // A role that no policy can list is no role.
        ("roles_claim = \"groups\"", "alice"),
        (
            "roles_claim = \"groups\"\n[role_names]\n\"CN=Releases,OU=Groups\" = \"release-manager\"",
            "alice (release-manager)",
        ),
        // With names, other values count for nothing.
        ("[role_names]\nx = \"y\"", "alice"),
    ] {
        let approver = verified(&issuer, settings, &token).await.unwrap();
        assert_eq!(approver.to_string(), expected, "{settings}");
    }
}

#[tokio::test]
async fn an_address_that_the_issuer_has_not_verified_names_nobody() {
    let issuer = LocalIssuer::start().await;
    for verification in [json!(null), json!(false), json!("true"), json!(1)] {
        let more = json!({ "email": "cto@example.com", "email_verified": verification });
        let token = changed(claims(&issuer), more);
        let refused = verified(&issuer, "principal_claim = \"email\"", &token).await;
        assert!(
            matches!(refused, Err(OidcError::Claim { .. })),
            "{verification}"
        );
    }
}

#[tokio::test]
async fn no_refusal_repeats_the_token() {
    let issuer = LocalIssuer::start().await;
    for change in [
        json!({ "aud": "s3cret" }),
        json!({ "exp": "s3cret" }),
        json!({ "roles": { "s3cret": 1 } }),
        json!({ "iss": "s3cret" }),
    ] {
        let token = changed(claims(&issuer), change);
        let refused = verified(&issuer, "", &token).await.unwrap_err();
        assert!(
            !format!("{refused} {refused:?}").contains("s3cret"),
            "{refused}"
        );
    }
}
