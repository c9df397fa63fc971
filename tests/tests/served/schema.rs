//! A program that was compiled with another schema than the one that decides: its requests are
//! refused, and no protected body runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use atlasent::client::{Batch, StreamEvent};
use atlasent::error::Code;
use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Agent, AnyAction, Client, Error, protect};
use atlasent_authority::server::PolicyFolder;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use futures_util::TryStreamExt;
use reqwest::Method;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::{AGENT, Answer, Served, deploy, keyed, memory, ms, server, token_of};

const HEADER: &str = "x-atlasent-schema-digest";

const OPEN: &str = "permit (principal, action, resource);";

/// A schema for `deploy`, with an attribute of this name.
fn schema(attribute: &str) -> String {
    format!(
        "entity Agent, Resource; action deploy appliesTo {{ principal: Agent, resource: Resource, \
         context: {{ environment?: String, {attribute}?: Long }} }};"
    )
}

fn set(attribute: &str) -> Policies {
    let builder = Policies::builder().schema("s", schema(attribute));
    builder.source("p", OPEN).build().unwrap()
}

fn digest(attribute: &str) -> String {
    set(attribute).schema_digest().unwrap().to_owned()
}

async fn serve(attribute: &str) -> Served {
    Served::run(server(LocalAuthority::in_memory(set(attribute)).unwrap())).await
}

#[protect(action = "deploy", agent = AGENT, authority = client)]
async fn guarded(client: &Client, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

/// Posts with these headers of the schema.
async fn post(served: &Served, path: &str, body: &serde_json::Value, stated: &[&str]) -> Answer {
    let mut request = keyed(served.bare(Method::POST, path)).body(body.to_string());
    for digest in stated {
        request = request.header(HEADER, *digest);
    }
    Answer::receive(request).await
}

#[tokio::test]
async fn a_body_runs_only_when_the_program_and_the_policies_have_one_schema() {
    let served = serve("replicas").await;
    let ran = Ran::new();
    let same = served.client().require_schema(digest("replicas")).build();
    guarded(&same.unwrap(), &ran).await.unwrap();
    assert_eq!(ran.count(), 1);

    let other = served.client().require_schema(digest("count")).build();
    let error = guarded(&other.unwrap(), &ran).await.unwrap_err();
    assert_eq!(ran.count(), 1);
    let failure = error.failure().unwrap();
    assert_eq!(
        (failure.code(), failure.status()),
        (Code::BadRequest, Some(412))
    );
    let text = failure.message();
    assert!(
        text.contains(&digest("replicas")) && text.contains(&digest("count")),
        "{text}"
    );
    // A refused request is not decided, so the trail has no event of it.
    assert_eq!(served.count("evaluate.allow").await, 1);

    let without = Served::run(server(memory())).await;
    let client = without.client().require_schema(digest("replicas")).build();
    let error = guarded(&client.unwrap(), &ran).await.unwrap_err();
    assert!(
        error.to_string().contains("the policies have no schema"),
        "{error}"
    );
    assert_eq!(ran.count(), 1);
}

#[tokio::test]
async fn each_endpoint_that_decides_compares_the_schemas_and_states_its_own() {
    let served = serve("replicas").await;
    let (same, other) = (digest("replicas"), digest("count"));
    let batch = json!({"items": [deploy()]});
    for (path, body) in [
        ("/v1-evaluate", deploy()),
        ("/v1-evaluate?include=constraint_trace", deploy()),
        ("/v1-evaluate-stream", deploy()),
        ("/v1/evaluate/batch", batch.clone()),
        ("/v1-verify-permit", json!({"permit_token": "permit_0"})),
    ] {
        for stated in [&[][..], &[&*same]] {
            let answer = post(&served, path, &body, stated).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            assert_eq!(answer.header(HEADER), Some(&*same), "{path}");
        }
        for stated in [&["5e0c"][..], &[&*same, &*same], &[&*same, &*other], &[""]] {
            let answer = post(&served, path, &body, stated).await;
            answer.is_problem(400, "INVALID_SCHEMA_DIGEST");
        }
        if path != "/v1/evaluate/batch" {
            let answer = post(&served, path, &body, &[&other]).await;
            answer.is_problem(412, "SCHEMA_MISMATCH");
        }
    }
    // The requests of a batch have an answer each.
    let answer = post(&served, "/v1/evaluate/batch", &batch, &[&other])
        .await
        .json();
    let item = &answer["items"][0];
    assert_eq!(
        (&item["decision"], &item["error_code"]),
        (&json!("deny"), &json!("SCHEMA_MISMATCH"))
    );
    assert_eq!(item.get("permit_token"), None);

    // Policies without a schema state none.
    let without = Served::run(server(memory())).await;
    let answer = post(&without, "/v1-evaluate", &deploy(), &[]).await;
    assert_eq!((answer.status, answer.header(HEADER)), (200, None));
    let answer = post(&without, "/v1-evaluate", &deploy(), &[&same]).await;
    answer.is_problem(412, "SCHEMA_MISMATCH");
}

#[tokio::test]
async fn a_permit_survives_a_verification_by_a_program_with_another_schema() {
    let served = serve("replicas").await;
    let token = token_of(&served.evaluate(&deploy()).await);
    let body = json!({"permit_token": token, "action_type": "deploy", "actor_id": AGENT, "environment": "production"});
    let answer = post(&served, "/v1-verify-permit", &body, &[&digest("count")]).await;
    answer.is_problem(412, "SCHEMA_MISMATCH");
    assert_eq!(served.count("permit.verify_failed").await, 0);
    let answer = post(&served, "/v1-verify-permit", &body, &[&digest("replicas")]).await;
    assert_eq!(answer.json()["valid"], true, "{}", answer.text);
}

#[tokio::test]
async fn every_call_of_the_client_that_decides_states_its_schema() {
    let served = serve("replicas").await;
    let request = || {
        EvaluateRequest::new(
            Agent::new(AGENT).unwrap(),
            &AnyAction::new("deploy").unwrap(),
        )
        .unwrap()
    };
    let client = |attribute: &str| {
        served
            .client()
            .require_schema(digest(attribute))
            .build()
            .unwrap()
    };
    let (same, other) = (client("replicas"), client("count"));
    let batch = || Batch::new([request()]).unwrap();

    let allow = same.evaluate(&request()).await.unwrap();
    let verify = VerifyRequest::restating(&request(), allow.permit_token.unwrap());
    same.evaluate_preflight(&request()).await.unwrap();
    assert!(same.evaluate_batch(&batch()).await.unwrap().items[0].is_ok());
    let events: Vec<StreamEvent> = same
        .evaluate_stream(&request())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(events.len(), 1);

    let status = |error: &Error| error.failure().unwrap().status();
    assert_eq!(
        status(&other.evaluate(&request()).await.unwrap_err()),
        Some(412)
    );
    assert_eq!(
        status(&other.evaluate_preflight(&request()).await.unwrap_err()),
        Some(412)
    );
    assert_eq!(status(&other.verify(&verify).await.unwrap_err()), Some(412));
    assert!(other.evaluate_batch(&batch()).await.unwrap().items[0].is_err());
    let streamed = other
        .evaluate_stream(&request())
        .try_collect::<Vec<_>>()
        .await;
    assert_eq!(status(&streamed.unwrap_err()), Some(412));
    // A call that decides nothing needs no schema.
    other.key_self().await.unwrap();
    assert!(same.verify(&verify).await.unwrap().valid);
}

/// Creates a file that is complete as soon as it exists.
fn put(folder: &Path, name: &str, text: &str) {
    let draft = folder.join("draft.txt");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.join(name)).unwrap();
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let wait = async {
        while !done().await {
            sleep(ms(20)).await;
        }
    };
    timeout(ms(20_000), wait)
        .await
        .unwrap_or_else(|_| panic!("not {what}"));
}

#[tokio::test]
async fn a_reload_with_another_schema_closes_the_bodies_of_programs_with_the_former_one() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "schema.cedarschema", &schema("replicas"));
    put(folder.path(), "rules.cedar", OPEN);
    let (policies, watched) = PolicyFolder::load(folder.path()).unwrap();
    let authority = LocalAuthority::in_memory(policies).unwrap();
    let server = server(authority).watch(watched.settle(Duration::ZERO));
    let served = Served::run(server).await;
    let client = served
        .client()
        .require_schema(digest("replicas"))
        .build()
        .unwrap();
    let ran = Ran::new();
    guarded(&client, &ran).await.unwrap();

    put(folder.path(), "schema.cedarschema", &schema("count"));
    until("loaded", async || served.count("policy.loaded").await == 2).await;
    guarded(&client, &ran).await.unwrap_err();
    assert_eq!(ran.count(), 1);

    put(folder.path(), "schema.cedarschema", &schema("replicas"));
    until("loaded", async || served.count("policy.loaded").await == 3).await;
    guarded(&client, &ran).await.unwrap();
    assert_eq!(ran.count(), 2);
}

#[tokio::test]
async fn a_server_that_requires_a_schema_keeps_its_policies_when_a_reload_has_another() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "schema.cedarschema", &schema("replicas"));
    put(
        folder.path(),
        "rules.cedar",
        "forbid (principal, action, resource);",
    );
    let (policies, watched) = PolicyFolder::load(folder.path()).unwrap();
    let authority = LocalAuthority::builder(policies)
        .require_schema(digest("replicas"))
        .build();
    let server = server(authority.await.unwrap()).watch(watched.settle(Duration::ZERO));
    let served = Served::run(server).await;
    let client = served.client().build().unwrap();
    let ran = Ran::new();

    put(folder.path(), "rules.cedar", OPEN);
    until("loaded", async || served.count("policy.loaded").await == 2).await;
    guarded(&client, &ran).await.unwrap();
    assert_eq!(ran.count(), 1);

    put(folder.path(), "schema.cedarschema", &schema("count"));
    until("refused", async || served.count("policy.error").await == 1).await;
    let page = served
        .get("/v1-audit/events?types=policy.error")
        .await
        .json();
    let problem = page["events"][0]["payload"]["problems"][0]
        .as_str()
        .unwrap();
    assert!(
        problem.starts_with("schema.cedarschema: the policies have the schema"),
        "{problem}"
    );
    // The former policies decide, and the refusal is recorded once, although the folder is listed
    // every second.
    guarded(&client, &ran).await.unwrap();
    sleep(ms(2_500)).await;
    assert_eq!(served.count("policy.error").await, 1);
    let metrics = served.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"atlasent_policy_reloads_total{outcome="refused"} 1"#),
        "{metrics}"
    );
}
