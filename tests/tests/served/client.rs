//! Our own client against our own server, from a request to the export that contains it.

use atlasent::client::EventFilter;
use atlasent::error::{Code, PermitOutcome};
use atlasent::wire::{EvaluateRequest, RequestOptions, VerifyRequest};
use atlasent::{Agent, AnyAction, AuthorityExt, Decision, Error};
use atlasent_authority::LocalAuthority;
use atlasent_authority::store::{RateCounter, Store};
use atlasent_tests::Ran;
use atlasent_tests::http::plain;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{AGENT, Served, memory, on_disk, server};

fn action(name: &'static str) -> AnyAction {
    let action = AnyAction::new(name).unwrap().with_resource("api");
    action
        .with_field("environment", "production")
        .unwrap()
        .with_field("load", &1e16)
        .unwrap()
}

fn request(name: &'static str) -> EvaluateRequest {
    EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action(name)).unwrap()
}

async fn from_a_question_to_its_record<S: Store + RateCounter>(authority: LocalAuthority<S>) {
    let served = Served::run(server(authority)).await;
    let client = served.client().build().unwrap();

    let ran = Ran::new();
    let body = async |_| {
        ran.hit();
        Ok::<_, Error>(7)
    };
    assert_eq!(
        client
            .with_permit(AGENT, action("deploy"), body)
            .await
            .unwrap(),
        7
    );
    for (name, decision) in [
        ("drop", Decision::Deny),
        ("release", Decision::Hold),
        ("migrate", Decision::Escalate),
    ] {
        let error = client
            .with_permit(AGENT, action(name), body)
            .await
            .unwrap_err();
        let denied = error.denied().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(denied.decision(), decision);
        let wait = denied.retry_after().map(|wait| wait.as_secs());
        assert_eq!(wait, (decision == Decision::Hold).then_some(3_600));
    }
    assert_eq!(ran.count(), 1);

    let permit = client.protect(AGENT, action("deploy")).await.unwrap();
    let evaluation = client.evaluate(&request("deploy")).await.unwrap();
    assert!(evaluation.rate_limit.is_some());
    let token = evaluation.permit_token.unwrap();
    assert!(
        client
            .revoke_permit(&token, "it misbehaved")
            .await
            .unwrap()
            .revoked
    );
    let verification = client
        .verify(&VerifyRequest::restating(&request("deploy"), token))
        .await
        .unwrap();
    assert_eq!(verification.permit_outcome(), Some(PermitOutcome::Revoked));
    let preflight = client.evaluate_preflight(&request("drop")).await.unwrap();
    assert_eq!(
        preflight
            .constraint_trace
            .unwrap()
            .matching_policy_id
            .as_deref(),
        Some("never")
    );
    assert_eq!(client.key_self().await.unwrap().environment, "test");

    let events: Vec<_> = client
        .audit_event_stream(EventFilter::default().limit(4))
        .try_collect()
        .await
        .unwrap();
    let kinds: Vec<_> = events.iter().map(|event| &*event.envelope.kind).collect();
    assert_eq!(
        kinds,
        [
            "policy.loaded",
            "evaluate.allow",
            "permit.verified",
            "evaluate.deny",
            "evaluate.hold",
            "evaluate.escalate",
            "evaluate.allow",
            "permit.verified",
            "evaluate.allow",
            "permit.revoked",
            "permit.verify_failed",
            "evaluate.deny"
        ]
    );
    assert_eq!(permit.audit_hash(), Some(&*events[6].hash));
    let export = client.audit_export(&EventFilter::default()).await.unwrap();
    let keys = client.signing_keys().await.unwrap().trusted().unwrap();
    assert!(export.verify(&keys).unwrap().is_intact());
    assert_eq!(export.chain_head_hash, events[11].hash);
}

#[tokio::test]
async fn our_client_and_our_server_understand_each_other() {
    from_a_question_to_its_record(memory()).await;
    let folder = tempfile::tempdir().unwrap();
    from_a_question_to_its_record(on_disk(folder.path()).await).await;
}

#[tokio::test]
async fn the_server_speaks_http2_too() {
    let served = Served::start().await;
    let http = plain().http2_prior_knowledge();
    let client = served.client().http_client(http).build().unwrap();
    join_all((0..32).map(async |_| client.protect(AGENT, action("deploy")).await.unwrap())).await;
    assert_eq!(served.count("permit.verified").await, 32);
}

#[tokio::test]
async fn problems_arrive_as_what_they_are() {
    let served = Served::start().await;
    let client = served.client().api_key("ask_test_unknown").build().unwrap();
    let error = client.protect(AGENT, action("deploy")).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidApiKey));

    let client = served.client().build().unwrap();
    let options = || RequestOptions::default().request_id("one-of-two");
    client
        .evaluate(&request("deploy").with_options(options()))
        .await
        .unwrap();
    let error = client
        .evaluate(&request("drop").with_options(options()))
        .await
        .unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!(
        (failure.code(), failure.status()),
        (Code::BadRequest, Some(409))
    );
    assert!(failure.message().contains("request_id"), "{failure}");
    let huge = AnyAction::new("deploy")
        .unwrap()
        .with_field("x", &"x".repeat(2 * 1024 * 1024))
        .unwrap();
    let error = client.protect(AGENT, huge).await.unwrap_err();
    assert_eq!(error.failure().unwrap().status(), Some(413), "{error:?}");
    assert!(
        !served
            .events()
            .await
            .iter()
            .any(|event| event["type"] == json!("permit.verified"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_each_run_once_for_each_permit() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    let ran = Ran::new();
    join_all((0..16).map(async |_| {
        for _ in 0..8 {
            let body = async |_| {
                ran.hit();
                Ok::<_, Error>(())
            };
            client
                .with_permit(AGENT, action("deploy"), body)
                .await
                .unwrap();
        }
    }))
    .await;
    assert_eq!(ran.count(), 128);
    assert_eq!(served.count("permit.verified").await, 128);
}

#[tokio::test]
async fn a_float_of_any_size_is_hashed_as_it_was_sent() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    let floats = [1e-5, 1.5e-7, 0.0001, 1e16, 1e22, -0.0, 5e-324, f64::MAX];
    let action = AnyAction::new("deploy").unwrap();
    let action = action.with_field("loads", &floats).unwrap();
    drop(client.protect(AGENT, action).await.unwrap());
}

#[tokio::test]
async fn a_shadow_question_is_answered_and_brings_no_permit() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    let evaluation = client.evaluate(&request("deploy").shadow(true)).await;
    let evaluation = evaluation.unwrap();
    assert_eq!(evaluation.decision, Decision::Allow);
    assert_eq!(evaluation.permit_token, None);
    let allowed = client.require_allow(&request("deploy")).await.unwrap();
    assert!(allowed.permit_token.is_some() && allowed.x_request_id().is_some());
    let refused = client.require_allow(&request("drop")).await.unwrap_err();
    assert!(refused.denied().unwrap().request_id().is_some());
}
