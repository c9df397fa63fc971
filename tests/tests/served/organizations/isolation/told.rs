//! What log lines and refusals tell.

use atlasent_tests::{capture, quiet_panics};
use serde_json::json;
use tokio::runtime::Builder;

use super::{ORGS, Side, serve};
use crate::organizations::support::Folder;
use crate::support::{deploy, with};

const OPEN: &str = "permit (principal, action, resource);";

/// Returns the texts that no log line may have: the keys, the tokens and the contexts.
async fn talk() -> Vec<String> {
    quiet_panics();
    let folder = Folder::new();
    let served = serve(&folder).await;
    let mut secrets = Vec::new();
    for org in ORGS {
        let side = Side::new(&served, org, 1).await;
        secrets.extend([side.key.to_owned(), side.token().to_owned()]);
        let mark = format!("patient-of-{}", side.org);
        let body = with(
            deploy(),
            &json!({"context": {"patient": mark}, "actor_id": 7}),
        );
        side.post("/v1-evaluate", &body)
            .await
            .is_problem(422, "INVALID_FIELD");
        let body = with(
            deploy(),
            &json!({"context": {"patient": mark}, "api_key": mark}),
        );
        side.post("/v1-evaluate", &body)
            .await
            .is_problem(401, "API_KEY_MISMATCH");
        secrets.push(mark);
        secrets.push(format!("only-of-{}", side.org));
        secrets.push(format!("a reason of {}", side.org));
        let missing = side.get(&format!("/v1/permits/{}", side.token())).await;
        missing.is_problem(404, "PERMIT_NOT_FOUND");
    }
    secrets
}

#[test]
fn no_log_line_has_a_secret_or_a_context_of_any_organization() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (secrets, seen) = capture(|| runtime.block_on(talk()));
    let told: Vec<_> = seen.iter().map(|seen| format!("{seen:?}")).collect();
    assert!(told.len() > 20, "{told:?}");
    for secret in &secrets {
        assert!(secret.len() > 10, "{secret}");
        for line in &told {
            assert!(!line.contains(&**secret), "`{secret}` in {line}");
        }
    }
}

#[tokio::test]
async fn a_request_is_compared_with_the_schema_of_its_own_organization() {
    let folder = Folder::new();
    let schema = |attribute: &str| {
        format!(
            "entity Agent, Resource; action deploy appliesTo {{ principal: Agent, resource: Resource, \
             context: {{ environment?: String, {attribute}?: Long }} }};"
        )
    };
    for (org, attribute) in [("acme", "replicas"), ("globex", "patients")] {
        folder.write_policies(org, OPEN);
        let path = folder.path().join(org).join("schema.cedarschema");
        std::fs::write(path, schema(attribute)).unwrap();
    }
    let served = serve(&folder).await;
    let digest = async |key: &str| {
        let answer = served.caller(key).evaluate(&deploy()).await;
        answer.header("x-atlasent-schema-digest").map(str::to_owned)
    };
    let [local, acme, globex] = ORGS.map(|(_, key)| key);
    let digests = [digest(acme).await.unwrap(), digest(globex).await.unwrap()];
    assert_ne!(digests[0], digests[1]);
    assert_eq!(digest(local).await, None);
    for (key, own, foreign) in [
        (acme, Some(&digests[0]), &digests[1]),
        (globex, Some(&digests[1]), &digests[0]),
        (local, None, &digests[0]),
    ] {
        for target in ["/v1-evaluate", "/v1-evaluate-stream"] {
            let ask = async |stated: &str| {
                let request = served.bare(reqwest::Method::POST, target);
                let request = request
                    .header("authorization", format!("Bearer {key}"))
                    .header("content-type", "application/json")
                    .header("x-atlasent-schema-digest", stated);
                crate::support::Answer::receive(request.body(deploy().to_string())).await
            };
            if let Some(own) = own {
                assert_eq!(ask(own).await.status, 200);
            }
            assert_eq!(ask(foreign).await.status, 412);
        }
    }
}
