//! Tokens of a local issuer: which are accepted, and when its keys are fetched.

mod claims;
mod config;
mod fetching;
mod issuer;
mod signatures;

use serde_json::{Value, json};

use super::{OidcConfig, OidcError};
use crate::ledger::approval::Approver;
use issuer::{LocalIssuer, Signer};

/// Returns the settings for a local issuer, with these besides.
fn config(issuer: &LocalIssuer, more: &str) -> OidcConfig {
    let text = format!(
        "issuer = \"{}\"\naudience = \"atlasent\"\n{more}",
        issuer.url()
    );
    OidcConfig::from_toml(&text).unwrap()
}

/// Returns the claims of a token for alice, who is a release manager.
fn claims(issuer: &LocalIssuer) -> Value {
    json!({
        "iss": issuer.url(), "aud": "atlasent", "sub": "alice", "roles": ["release-manager"],
        "exp": issuer.now() + 300, "iat": issuer.now(),
    })
}

/// Returns the claims with some members replaced; `null` removes one.
fn changed(mut claims: Value, changes: Value) -> Value {
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    claims
}

/// Verifies a token with these claims, signed by a fresh key that the issuer publishes.
async fn verified(issuer: &LocalIssuer, more: &str, claims: &Value) -> Result<Approver, OidcError> {
    let signer = Signer::ed25519("k1");
    issuer.publish(&[&signer]);
    let verifier = issuer.verifier(config(issuer, more));
    verifier.verify(&signer.sign(claims)).await
}
