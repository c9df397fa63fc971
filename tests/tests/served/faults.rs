//! A store that fails, hangs or panics: no allow is answered without its event, no body runs, and
//! the server recovers.

use atlasent::audit::BundleVerifier;
use atlasent::error::Code;
use atlasent::{AnyAction, AuthorityExt, Error};
use atlasent_tests::faulty::{CALLS, Call, FAULTS, Fault, StoreFaults, TIMES, When};
use atlasent_tests::{Ran, quiet_panics};
use reqwest::Method;
use serde_json::json;

use crate::store::faulty;
use crate::support::{
    AGENT, Answer, Served, deploy, evaluate_body, impatient, ms, server, token_of, with,
};

/// Starts a server with short timeouts.
async fn start() -> (Served, StoreFaults) {
    quiet_panics();
    let (authority, faults) = faulty().await;
    (
        Served::run(server(authority).settings(impatient(ms(150)))).await,
        faults,
    )
}

/// Asserts that the chain is intact and the server answers.
async fn is_well(served: &Served, case: &str) {
    let token = token_of(&served.evaluate(&deploy()).await);
    let verified = served.verify(&json!({"permit_token": token})).await;
    assert_eq!(verified.json()["valid"], true, "{case}");
    let client = served.client().build().unwrap();
    let keys = client.signing_keys().await.unwrap().trusted().unwrap();
    let bundle = served.post("/v1-audit/exports", &json!({})).await.text;
    let report = BundleVerifier::new(&keys).verify_bytes(&bundle).unwrap();
    assert!(report.is_intact(), "{case}: {report:?}");
}

fn is_trouble(answer: &Answer, fault: Fault, case: &str) {
    let (status, code) = match fault {
        Fault::Fails => (503, "STORE_UNAVAILABLE"),
        Fault::Hangs => (503, "TIMEOUT"),
        Fault::Panics => (500, "INTERNAL_ERROR"),
    };
    assert_eq!(answer.status, status, "{case}: {}", answer.text);
    answer.is_problem(status, code);
    assert!(
        !answer.text.contains("hunter2") && !answer.text.contains("scripted"),
        "{case}: {}",
        answer.text
    );
    assert_eq!(
        answer.header("retry-after").is_some(),
        status == 503,
        "{case}"
    );
}

#[tokio::test]
async fn whatever_the_store_does_the_answer_is_no_allow() {
    for fault in FAULTS {
        for when in TIMES {
            let (served, faults) = start().await;
            for target in [
                "/v1-evaluate",
                "/v1-evaluate?include=constraint_trace",
                "/v1-evaluate-stream",
            ] {
                for body in [
                    deploy(),
                    evaluate_body("drop"),
                    with(deploy(), &json!({"shadow": true})),
                    with(deploy(), &json!({"request_id": target})),
                ] {
                    let case = format!("{fault:?} {when:?}: {target} {body}");
                    faults.plan(Call::Commit, fault, when, 0);
                    let answer = served.post(target, &body).await;
                    is_trouble(&answer, fault, &case);
                    assert!(answer.header("x-ratelimit-remaining").is_some(), "{case}");
                    assert!(faults.have_happened(), "{case}");
                    is_well(&served, &case).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn each_endpoint_says_that_the_store_is_in_trouble() {
    let endpoints = [
        (
            Method::POST,
            "/v1-evaluate",
            &[Call::Count, Call::Commit][..],
        ),
        (
            Method::POST,
            "/v1-evaluate-stream",
            &[Call::Count, Call::Commit],
        ),
        (
            Method::POST,
            "/v1-verify-permit",
            &[Call::Count, Call::Commit],
        ),
        (
            Method::POST,
            "/v1-revoke-permit",
            &[Call::Count, Call::Commit],
        ),
        (
            Method::GET,
            "/v1-api-key-self",
            &[Call::Count, Call::Status],
        ),
        (Method::GET, "/v1-signing-keys", &[Call::Count]),
        (
            Method::GET,
            "/v1-audit/events",
            &[Call::Count, Call::Total, Call::Events],
        ),
        (
            Method::POST,
            "/v1-audit/exports",
            &[Call::Count, Call::Status, Call::Events],
        ),
        (Method::GET, "/readyz", &[Call::Commit]),
        (Method::GET, "/healthz", &[]),
    ];
    let (served, faults) = start().await;
    let body = with(deploy(), &json!({"decision_id": "x"})).to_string();
    for (method, target, uses) in endpoints {
        for call in CALLS {
            for fault in FAULTS {
                let case = format!("{target}: {call:?} {fault:?}");
                faults.plan(call, fault, When::Before, 0);
                let request = crate::support::keyed(served.bare(method.clone(), target));
                let answer = Answer::receive(request.body(body.clone())).await;
                assert_eq!(faults.have_happened(), uses.contains(&call), "{case}");
                if !uses.contains(&call) {
                    assert_eq!(answer.status, 200, "{case}: {}", answer.text);
                } else if target.starts_with("/v1") {
                    is_trouble(&answer, fault, &case);
                } else {
                    assert_eq!(answer.status, 503, "{case}");
                }
            }
        }
    }
    // The counters are needed most during such a fault.
    for fault in FAULTS {
        faults.plan(Call::Status, fault, When::Before, 0);
        let metrics = served.get("/metrics").await;
        assert_eq!(metrics.status, 200, "{fault:?}");
        assert!(
            metrics.text.contains("atlasent_store_answers 0"),
            "{fault:?}"
        );
    }
    assert!(
        served
            .get("/metrics")
            .await
            .text
            .contains("atlasent_store_answers 1")
    );
    is_well(&served, "after all").await;
}

#[tokio::test]
async fn no_body_runs_for_an_answer_that_was_lost() {
    for fault in FAULTS {
        for when in TIMES {
            for spared in 0..3 {
                let case = format!("{fault:?} {when:?} after {spared}");
                let (served, faults) = start().await;
                let client = served.client().max_retries(0).build().unwrap();
                let ran = Ran::new();
                faults.plan(Call::Commit, fault, when, spared);
                let body = async |_| {
                    ran.hit();
                    Ok::<_, Error>(())
                };
                let action = || AnyAction::new("deploy").unwrap();
                let happened = client.with_permit(AGENT, action(), body).await;
                // Evaluate and verify are one change each.
                if spared < 2 {
                    assert_eq!(
                        happened.unwrap_err().code(),
                        Some(Code::ServerError),
                        "{case}"
                    );
                    assert_eq!(ran.count(), 0, "{case}");
                    client.with_permit(AGENT, action(), body).await.unwrap();
                } else {
                    happened.unwrap();
                }
                assert_eq!(ran.count(), 1, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_lost_answer_is_on_record_and_can_be_requested_again() {
    for fault in FAULTS {
        let (served, faults) = start().await;
        let body = with(deploy(), &json!({"request_id": "lost"}));
        faults.plan(Call::Commit, fault, When::After, 0);
        is_trouble(&served.evaluate(&body).await, fault, "evaluate");
        assert_eq!(served.count("evaluate.allow").await, 1);
        let token = token_of(&served.evaluate(&body).await);
        assert_eq!(served.count("evaluate.allow").await, 1);

        // A verification whose answer was lost has used the permit up. One that was never stored
        // has not.
        faults.plan(Call::Commit, fault, When::Before, 0);
        let question = json!({"permit_token": token, "actor_id": AGENT});
        is_trouble(&served.verify(&question).await, fault, "verify");
        faults.plan(Call::Commit, fault, When::After, 0);
        is_trouble(&served.verify(&question).await, fault, "verify");
        assert_eq!(
            served.verify(&question).await.json()["outcome"],
            "permit_consumed"
        );
        assert_eq!(served.count("permit.verified").await, 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_missing_names_the_operation_that_failed() {
    let (served, faults) = start().await;
    let body = with(deploy(), &json!({"decision_id": "x"}));
    for (method, target, call, message) in [
        (
            Method::POST,
            "/v1-evaluate",
            Call::Commit,
            "the decision could not be recorded",
        ),
        (
            Method::POST,
            "/v1-evaluate-stream",
            Call::Commit,
            "the decision could not be recorded",
        ),
        (
            Method::POST,
            "/v1-verify-permit",
            Call::Commit,
            "the verification could not be recorded",
        ),
        (
            Method::POST,
            "/v1-revoke-permit",
            Call::Commit,
            "the revocation could not be recorded",
        ),
        (
            Method::GET,
            "/v1-audit/events",
            Call::Events,
            "the events could not be read",
        ),
        (
            Method::GET,
            "/v1-audit/events",
            Call::Total,
            "the events could not be counted",
        ),
        (
            Method::POST,
            "/v1-audit/exports",
            Call::Events,
            "the events could not be exported",
        ),
        (
            Method::POST,
            "/v1-evaluate",
            Call::Count,
            "the call could not be counted",
        ),
    ] {
        faults.plan(call, Fault::Fails, When::Before, 0);
        let request = crate::support::keyed(served.bare(method, target));
        let answer = Answer::receive(request.body(body.to_string())).await;
        is_trouble(&answer, Fault::Fails, target);
        let said = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(said.starts_with(message), "{target}: {said}");
    }
}

#[tokio::test]
async fn a_refusal_has_an_id_that_opens_nothing() {
    let served = Served::start().await;
    let mut ids = Vec::new();
    for action in ["release", "migrate", "drop", "unheard-of"] {
        for _ in 0..2 {
            let refused = served.evaluate(&evaluate_body(action)).await.json();
            assert!(refused.get("permit_token").is_none(), "{refused}");
            ids.push(refused["decision_id"].as_str().unwrap().to_owned());
        }
        let stream = served
            .post("/v1-evaluate-stream", &evaluate_body(action))
            .await
            .text;
        let data = stream.lines().find_map(|line| line.strip_prefix("data: "));
        let refused: serde_json::Value = serde_json::from_str(data.unwrap()).unwrap();
        assert!(refused.get("permit_token").is_none(), "{refused}");
        ids.push(refused["decision_id"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        let verified = served.verify(&json!({"permit_token": id})).await.json();
        assert_eq!(verified["outcome"], "permit_not_found");
        let body = json!({"decision_id": id});
        let revoked = served.post("/v1-revoke-permit", &body).await.json();
        assert_eq!(revoked["revoked"], false);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 12, "each is fresh");
    // A request for the decision alone mints no permit, so it has no id that could pass for a
    // token.
    let shadow = with(deploy(), &json!({"shadow": true}));
    assert!(
        served
            .evaluate(&shadow)
            .await
            .json()
            .get("decision_id")
            .is_none()
    );
}
