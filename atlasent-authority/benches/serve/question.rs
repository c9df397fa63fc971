//! The texts of both requests, which are sent over and over.

use atlasent::wire::execution_hash_of_text;

pub(super) const POLICIES: &str = include_str!("policies.cedar");
pub(super) const AMOUNT: i64 = 250;
pub(super) const REGION: &str = "eu-west";

/// The API key of `local`.
const API_KEY: &str = "ask_test_a-benchmark-has-no-secrets";

/// Returns the API key of an organization, or of `local`.
pub(super) fn api_key(organization: Option<usize>) -> String {
    organization.map_or_else(
        || API_KEY.to_owned(),
        |number| format!("{API_KEY}-{number}"),
    )
}

const AGENT: &str = "billing-bot";
pub(super) const ACTION: &str = "payment.refund";

fn context() -> String {
    format!(r#"{{"amount":{AMOUNT},"region":"{REGION}","urgent":false}}"#)
}

/// Returns the evaluate request of the holder of a key.
pub(super) fn evaluate(key: &str) -> Vec<u8> {
    let context = context();
    let body = format!(
        r#"{{"action_type":"{ACTION}","actor_id":"{AGENT}","resource_id":"account-12","context":{context}}}"#
    );
    let mut request = head("/v1-evaluate", key, body.len());
    request.extend_from_slice(body.as_bytes());
    request
}

/// Returns the verify request up to the token, and what follows the token. All tokens have one
/// length.
pub(super) fn verify(key: &str, token_length: usize) -> (Vec<u8>, Vec<u8>) {
    let hash = execution_hash_of_text(ACTION, AGENT, &context()).unwrap();
    let before = r#"{"permit_token":""#;
    let after =
        format!(r#"","action_type":"{ACTION}","actor_id":"{AGENT}","execution_hash":"{hash}"}}"#);
    let length = before.len() + token_length + after.len();
    let mut request = head("/v1-verify-permit", key, length);
    request.extend_from_slice(before.as_bytes());
    (request, after.into_bytes())
}

fn head(path: &str, key: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}
