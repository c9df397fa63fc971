//! Our own client against our own server, from end to end.

use atlasent::client::EventFilter;
use atlasent::{
    Agent, AnyAction, Authority, AuthorityExt, Client, Code, Decision, EvaluateRequest,
    PermitOutcome, VerifyRequest,
};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::stage::Stage;

fn client(stage: &Stage) -> Client {
    let client = Client::builder()
        .base_url(format!("http://{}", stage.address))
        .api_key(&stage.key);
    client.build().unwrap()
}

fn deploy() -> AnyAction {
    AnyAction::new("deploy").unwrap()
}

#[tokio::test]
async fn a_permit_comes_by_the_usual_path_with_any_context() {
    let stage = Stage::usual().await;
    let client = client(&stage);
    let action = deploy()
        .with_field("environment", "production")
        .unwrap()
        .with_field("load", &1e16)
        .unwrap()
        .with_field("share", &0.1)
        .unwrap()
        .with_field("nested", &json!({ "z": [1, { "b": null, "a": "\u{fc}" }] }))
        .unwrap();
    let permit = client.protect("bot", action).await.unwrap();
    assert!(permit.expires_at().is_some() && permit.audit_hash().is_some());
    assert_eq!(stage.events("permit.verified").await, 1);
}

#[tokio::test]
async fn a_refusal_arrives_as_what_it_is() {
    let stage = Stage::usual().await;
    let client = client(&stage);
    let big = deploy().with_field("replicas", &500).unwrap();
    let refused = client.protect("bot", big).await.unwrap_err();
    let denied = refused.denied().unwrap();
    assert_eq!(
        (denied.decision(), denied.reason()),
        (Decision::Hold, "wait")
    );
    assert_eq!(denied.retry_after().map(|wait| wait.as_secs()), Some(300));
    let refused = client.protect("intern", deploy()).await.unwrap_err();
    assert_eq!(refused.denied().unwrap().decision(), Decision::Deny);
}

#[tokio::test]
async fn every_other_call_is_answered() {
    let stage = Stage::usual().await;
    let client = client(&stage);
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &deploy()).unwrap();
    let token = client
        .evaluate(&request)
        .await
        .unwrap()
        .permit_token
        .unwrap();
    let revoked = client.revoke_permit(&token, "stop").await.unwrap();
    assert!(revoked.revoked && revoked.revoked_at.is_some());
    let verified = Authority::verify(&client, &VerifyRequest::restating(&request, token))
        .await
        .unwrap();
    assert_eq!(verified.permit_outcome(), Some(PermitOutcome::Revoked));

    let key = client.key_self().await.unwrap();
    assert_eq!(
        (&*key.organization_id, &*key.environment),
        ("local", "test")
    );
    let preflight = client.evaluate_preflight(&request).await.unwrap();
    assert!(preflight.constraint_trace.is_some());

    let events: Vec<_> = client
        .audit_event_stream(EventFilter::default().limit(2))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(events.len(), 5);
    let keys = client.signing_keys().await.unwrap().trusted().unwrap();
    let export = client.audit_export(&EventFilter::default()).await.unwrap();
    assert!(export.verify(&keys).unwrap().is_intact());
}

#[tokio::test]
async fn a_wrong_key_is_a_wrong_key() {
    let stage = Stage::usual().await;
    let client = Client::builder()
        .base_url(format!("http://{}", stage.address))
        .api_key("ask_test_other")
        .build()
        .unwrap();
    let error = client.protect("bot", deploy()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidApiKey));
}
