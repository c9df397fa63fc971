//! Tests that a client which requires a schema runs a body only if both answers state exactly that
//! schema.

use std::iter;

use atlasent::client::ClientBuilder;
use atlasent::error::Code;
use atlasent::{Client, Error};
use atlasent_tests::Ran;
use atlasent_tests::server::{Reply, Request, Server};
use serde_json::json;

use crate::paths::async_paths;

const HEADER: &str = "X-AtlaSent-Schema-Digest";
const DIGEST: &str = "9c41b7e29c41b7e29c41b7e29c41b7e29c41b7e29c41b7e29c41b7e29c41b7e2";
const OTHER: &str = "7b2e9c417b2e9c417b2e9c417b2e9c417b2e9c417b2e9c417b2e9c417b2e9c41";

/// The digests that an answer states.
type Stated = &'static [&'static str];

/// A server that allows everything, and states these schemas in the answers of its two endpoints.
fn allowing(evaluate: Stated, verify: Stated) -> Server {
    Server::start(move |request: &Request| {
        let (reply, stated) = match request.path() {
            "/v1-evaluate" => {
                let allow = json!({"decision": "allow", "permit_token": "permit_2f9d4c8b7a6e5f10"});
                (Reply::json(200, allow), evaluate)
            }
            _ => (
                Reply::json(200, json!({"valid": true, "outcome": "allow"})),
                verify,
            ),
        };
        stated
            .iter()
            .fold(reply, |reply, digest| reply.header(HEADER, *digest))
    })
}

fn client(server: &Server) -> ClientBuilder {
    Client::builder()
        .api_key("ask_test_0123456789")
        .base_url(server.url())
}

/// Drives every async way to a body, and returns how many bodies ran, with the errors.
async fn drive_all(client: &Client) -> (usize, Vec<Error>) {
    let ran = Ran::new();
    let mut errors = Vec::new();
    for (_, path) in async_paths::<Client>() {
        errors.extend(path(client, &ran).await.err());
    }
    (ran.count(), errors)
}

#[tokio::test]
async fn a_body_runs_only_if_both_answers_state_the_required_schema() {
    let wrong: [Stated; 5] = [&[], &[OTHER], &[""], &[DIGEST, OTHER], &["9C41B7E2"]];
    let right: Stated = &[DIGEST];
    let pairs = wrong
        .iter()
        .flat_map(|wrong| [(*wrong, right), (right, *wrong), (*wrong, *wrong)]);
    for (evaluate, verify) in pairs {
        let server = allowing(evaluate, verify);
        let client = client(&server).require_schema(DIGEST).build().unwrap();
        let (count, errors) = drive_all(&client).await;
        assert_eq!(count, 0, "{evaluate:?} {verify:?}");
        assert_eq!(errors.len(), async_paths::<Client>().len());
        for error in errors {
            assert_eq!(error.code(), Some(Code::BadResponse), "{error}");
            assert!(error.to_string().contains(DIGEST), "{error}");
        }
    }
    let server = allowing(right, right);
    let required = client(&server).require_schema(DIGEST).build().unwrap();
    let (count, errors) = drive_all(&required).await;
    assert!(
        errors.is_empty() && count == async_paths::<Client>().len(),
        "{errors:?}"
    );
    // Both endpoints got the digest.
    for request in server.requests() {
        assert_eq!(request.header(HEADER), Some(DIGEST), "{request:?}");
    }
}

#[tokio::test]
async fn a_client_that_requires_no_schema_takes_and_sends_none() {
    for stated in iter::once::<Stated>(&[]).chain([&[OTHER][..]]) {
        let server = allowing(stated, stated);
        let (count, errors) = drive_all(&client(&server).build().unwrap()).await;
        assert!(
            errors.is_empty() && count == async_paths::<Client>().len(),
            "{errors:?}"
        );
        for request in server.requests() {
            assert_eq!(request.header(HEADER), None, "{request:?}");
        }
    }
}

#[test]
fn a_required_schema_that_is_no_digest_is_refused_before_any_request() {
    let server = allowing(&["5e0c"], &["5e0c"]);
    for wrong in ["5e0c", "", OTHER.to_uppercase().as_str()] {
        let built = client(&server).require_schema(wrong).build();
        assert!(matches!(built, Err(Error::Config(_))), "{wrong}");
    }
}
