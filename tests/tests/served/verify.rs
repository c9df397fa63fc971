//! The answers of `POST /v1-verify-permit` and `POST /v1-revoke-permit`: a permit is valid once,
//! for one action, until it expires.

use std::time::Duration;

use atlasent_authority::LocalAuthority;
use atlasent_authority::store::{RateCounter, Store};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    AGENT, Answer, Served, Time, deploy, keyed, names, on_disk, policies, server, token_of, with,
};

async fn is_good(served: &Served, token: &str) -> bool {
    let answer = served.verify(&json!({"permit_token": token})).await;
    answer.json()["valid"].as_bool().unwrap()
}

#[tokio::test]
async fn a_good_permit_is_good_once() {
    let served = Served::start().await;
    let token = served.token().await;
    let question = json!({"permit_token": token, "action_type": "deploy", "actor_id": AGENT});
    let answer = served.verify(&question).await;
    let json = answer.json();
    assert_eq!(
        names(&json),
        [
            "consumed",
            "decision",
            "outcome",
            "permit_hash",
            "reason",
            "timestamp",
            "valid",
            "verified"
        ]
    );
    assert_eq!(json["decision"], "allow");
    assert_eq!(
        (&json["valid"], &json["outcome"], &json["consumed"]),
        (&json!(true), &json!("allow"), &json!(true))
    );
    let hash: String = Sha256::digest(&token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(json["permit_hash"], hash);

    let answer = served.verify(&question).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(
        names(&json),
        [
            "consumed",
            "outcome",
            "permit_hash",
            "reason",
            "timestamp",
            "valid",
            "verified",
            "verify_error_code"
        ]
    );
    assert_eq!(json["outcome"], "permit_consumed");
    assert_eq!(json["verify_error_code"], "PERMIT_ALREADY_USED");
    let types: Vec<_> = served
        .events()
        .await
        .into_iter()
        .map(|event| event["type"].clone())
        .collect();
    assert_eq!(
        types,
        [
            "policy.loaded",
            "evaluate.allow",
            "permit.verified",
            "permit.verify_failed"
        ]
    );
}

async fn race<S: Store + RateCounter>(authority: LocalAuthority<S>) {
    let served = Served::run(server(authority)).await;
    let token = served.token().await;
    let question = json!({"permit_token": token, "action_type": "deploy", "actor_id": AGENT});
    let answers = join_all((0..64).map(|_| served.verify(&question))).await;
    let valid = answers
        .iter()
        .filter(|answer| answer.json()["valid"] == true)
        .count();
    assert_eq!(valid, 1);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(served.count("permit.verified").await, 1);
    assert_eq!(served.count("permit.verify_failed").await, 63);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_use_a_permit_at_once_one_may() {
    race(crate::support::memory()).await;
    let folder = tempfile::tempdir().unwrap();
    race(on_disk(folder.path()).await).await;
}

#[tokio::test]
async fn what_is_not_restated_is_not_compared() {
    let served = Served::start().await;
    for more in [
        json!({}),
        json!({"action_type": "", "actor_id": ""}),
        json!({"action": "", "agent": ""}),
        json!({"action_type": null, "actor_id": null, "environment": null, "execution_hash": null, "require_approval": null, "approval": null}),
        json!({"require_approval": false, "unknown": [1]}),
    ] {
        let token = served.token().await;
        let answer = served
            .verify(&with(json!({"permit_token": token}), &more))
            .await
            .json();
        assert_eq!(answer["valid"], true, "{more}");
    }
}

#[tokio::test]
async fn a_permit_presented_for_something_else_is_refused_and_burnt() {
    let served = Served::start().await;
    for (wrong, code) in [
        (json!({"actor_id": "another-bot"}), "ACTOR_MISMATCH"),
        (json!({"agent": "another-bot"}), "ACTOR_MISMATCH"),
        (json!({"action_type": "drop"}), "ACTION_TYPE_MISMATCH"),
        (json!({"action": "drop"}), "ACTION_TYPE_MISMATCH"),
        (
            json!({"execution_hash": "0".repeat(64)}),
            "EXECUTION_HASH_MISMATCH",
        ),
        (json!({"execution_hash": ""}), "EXECUTION_HASH_MISMATCH"),
        (json!({"environment": "staging"}), "ENVIRONMENT_MISMATCH"),
        (
            json!({"require_approval": true}),
            "APPROVAL_LINKAGE_MISSING",
        ),
    ] {
        let token = served.token().await;
        let json = served
            .verify(&with(json!({"permit_token": token}), &wrong))
            .await
            .json();
        assert_eq!(
            (&json["valid"], &json["outcome"]),
            (&json!(false), &json!("deny")),
            "{wrong}"
        );
        assert_eq!(
            (&json["verify_error_code"], &json["consumed"]),
            (&json!(code), &json!(true)),
            "{wrong}"
        );
        let again = served.verify(&json!({"permit_token": token})).await.json();
        assert_eq!(again["outcome"], "permit_consumed", "{wrong}");
    }
}

#[tokio::test]
async fn no_permit_is_no() {
    let served = Served::start().await;
    for missing in [
        json!({}),
        json!({"permit_token": ""}),
        json!({"permit_token": null}),
        json!({"action_type": "deploy"}),
    ] {
        let answer = served.verify(&missing).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let json = answer.json();
        assert_eq!(
            (&json["valid"], &json["verify_error_code"]),
            (&json!(false), &json!("MISSING_PERMIT"))
        );
        assert_eq!(
            (&json["outcome"], &json["consumed"]),
            (&json!("deny"), &json!(false))
        );
    }
    let token = served.token().await;
    let longer = format!("{token}0");
    for unknown in [
        "x",
        "permit_",
        &token[..token.len() - 1],
        &longer,
        &token.to_uppercase(),
        &format!(" {token}"),
    ] {
        let json = served
            .verify(&json!({"permit_token": unknown}))
            .await
            .json();
        assert_eq!(
            (&json["valid"], &json["verify_error_code"]),
            (&json!(false), &json!("PERMIT_NOT_FOUND"))
        );
        assert_eq!(
            (&json["outcome"], &json["consumed"]),
            (&json!("permit_not_found"), &json!(false))
        );
    }
    assert!(is_good(&served, &token).await);
}

#[tokio::test]
async fn a_permit_that_waited_too_long_is_over() {
    let time = Time::new();
    let build = || {
        let authority = LocalAuthority::builder(policies()).clock(time.clock());
        authority.permit_ttl(Duration::from_secs(60)).build()
    };
    for (wait, valid) in [(59, true), (60, false), (1_000_000, false)] {
        time.set(0);
        let served = Served::run(server(build().await.unwrap())).await;
        let token = served.token().await;
        time.set(wait);
        let json = served.verify(&json!({"permit_token": token})).await.json();
        assert_eq!(json["valid"], valid, "{wait}");
        if !valid {
            assert_eq!(
                (&json["outcome"], &json["verify_error_code"]),
                (&json!("permit_expired"), &json!("PERMIT_EXPIRED"))
            );
            assert_eq!(json["consumed"], false);
        }
    }
}

#[tokio::test]
async fn a_permit_that_was_taken_back_is_not_good() {
    let served = Served::start().await;
    for name in ["decision_id", "permit_token"] {
        let token = served.token().await;
        let answer = served
            .post(
                "/v1-revoke-permit",
                &json!({name: token, "reason": "it misbehaved"}),
            )
            .await;
        let json = answer.json();
        assert_eq!(
            names(&json),
            ["audit_hash", "decision_id", "revoked", "revoked_at"]
        );
        assert_eq!(
            (&json["revoked"], &json["decision_id"]),
            (&json!(true), &json!(token))
        );
        let last = served.events().await.pop().unwrap();
        assert_eq!(
            (&last["type"], &last["hash"]),
            (&json!("permit.revoked"), &json["audit_hash"])
        );
        assert_eq!(last["payload"]["reason"], "it misbehaved");
        let json = served.verify(&json!({"permit_token": token})).await.json();
        assert_eq!(
            (&json["outcome"], &json["verify_error_code"]),
            (&json!("permit_revoked"), &json!("PERMIT_REVOKED"))
        );
    }
    // A used permit and an unknown permit cannot be revoked.
    let token = served.token().await;
    assert!(is_good(&served, &token).await);
    for (gone, fields) in [
        (
            &*token,
            &["audit_hash", "decision_id", "revoked", "revoked_at"][..],
        ),
        ("x", &["audit_hash", "decision_id", "revoked"][..]),
    ] {
        let json = served
            .post("/v1-revoke-permit", &json!({"decision_id": gone}))
            .await
            .json();
        assert_eq!(names(&json), fields);
        assert_eq!(json["revoked"], false);
    }
    for missing in [
        json!({}),
        json!({"decision_id": ""}),
        json!({"decision_id": null}),
    ] {
        served
            .post("/v1-revoke-permit", &missing)
            .await
            .is_problem(422, "INVALID_FIELD");
    }
}

#[tokio::test]
async fn a_revocation_that_is_sent_again_gets_its_first_answer() {
    let served = Served::start().await;
    let revoke = async |id: &str, token: &str, reason: &str| {
        let request = keyed(served.bare(Method::POST, "/v1-revoke-permit"));
        let request = request.header("x-request-id", id);
        let body = json!({"decision_id": token, "reason": reason});
        Answer::receive(request.body(body.to_string())).await.json()
    };
    let (unused, used) = (served.token().await, served.token().await);
    assert!(is_good(&served, &used).await);
    for (token, revoked) in [(&unused, true), (&used, false)] {
        let events = served.count("permit.revoked").await;
        let first = revoke("0123456789abcdef", token, "it leaked").await;
        assert_eq!(first["revoked"], revoked, "{first}");
        let again = revoke("0123456789abcdef", token, "it leaked").await;
        assert_eq!(again, first);
        assert_eq!(served.count("permit.revoked").await, events + 1);
        // Other calls get answers of their own, with the time of the revocation.
        for (id, reason) in [
            ("fedcba9876543210", "it leaked"),
            ("0123456789abcdef", "why"),
        ] {
            let other = revoke(id, token, reason).await;
            assert_eq!(
                (&other["revoked"], &other["revoked_at"]),
                (&json!(false), &first["revoked_at"])
            );
            assert_ne!(other["audit_hash"], first["audit_hash"]);
        }
        assert_eq!(served.count("permit.revoked").await, events + 3);
    }
}

#[tokio::test]
async fn permits_and_answers_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || Served::run(server(on_disk(folder.path()).await)).await;
    let served = start().await;
    let body = with(deploy(), &json!({"request_id": "before"}));
    let first = served.evaluate(&body).await.json();
    let used = served.token().await;
    assert!(is_good(&served, &used).await);
    served.stop().await.unwrap().unwrap();

    let served = start().await;
    assert_eq!(served.evaluate(&body).await.json(), first);
    assert!(!is_good(&served, &used).await);
    let token = first["permit_token"].as_str().unwrap();
    assert!(is_good(&served, token).await);
    assert!(!is_good(&served, token).await);
    let sequences: Vec<Value> = served
        .events()
        .await
        .into_iter()
        .map(|event| event["sequence"].clone())
        .collect();
    assert_eq!(sequences, (1..=9).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_context_is_hashed_as_it_was_written() {
    let served = Served::start().await;
    let cases = [
        (r#"{}"#, r#"{}"#),
        (
            r#"{"environment":"production","approved":true}"#,
            r#"{"approved":true,"environment":"production"}"#,
        ),
        (
            r#"{ "b": 1e+16, "a": [1.0, -0.0, 0.1, 1E5] }"#,
            r#"{"a":[1.0,-0.0,0.1,1E5],"b":1e+16}"#,
        ),
        (
            r#"{"n": 9007199254740993, "m": -9223372036854775808}"#,
            r#"{"m":-9223372036854775808,"n":9007199254740993}"#,
        ),
        (
            r#"{"n": 123456789012345678901234567890}"#,
            r#"{"n":123456789012345678901234567890}"#,
        ),
        (
            r#"{"z": {"y": [{"b": null, "a": {}}], "x": true}, "a": " "}"#,
            r#"{"a":" ","z":{"x":true,"y":[{"a":{},"b":null}]}}"#,
        ),
        (
            r#"{"ü": "\u00e9\ud83d\ude00", "z": "\u007f\/", "é": "\n\u001f"}"#,
            "{\"z\":\"\u{7f}/\",\"é\":\"\\n\\u001f\",\"ü\":\"é😀\"}",
        ),
        // Sorted by code point, not by UTF-16 unit.
        (
            "{\"\u{1f600}\": 1, \"\u{ffff}\": 2}",
            "{\"\u{ffff}\":2,\"\u{1f600}\":1}",
        ),
    ];
    for (written, canonical) in cases {
        let text =
            format!(r#"{{"action_type":"deploy","actor_id":"{AGENT}","context":{canonical}}}"#);
        let hash: String = Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let body =
            format!(r#"{{"context":{written},"actor_id":"{AGENT}","action_type":"deploy"}}"#);
        let answer = served.post_text("/v1-evaluate", body).await;
        assert_eq!(
            answer.json()["decision"],
            "allow",
            "{written}: {}",
            answer.text
        );
        let question = json!({"permit_token": token_of(&answer), "execution_hash": hash});
        let answer = served.verify(&question).await.json();
        assert_eq!(answer["valid"], true, "{written}: {answer}");
    }
}
