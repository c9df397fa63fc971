//! Stops over HTTP: from the answer on, covered requests and permits are refused.

use atlasent::Error;
use atlasent::wire::StopScope;
use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, KEY, Served, deploy, memory, names, stored, with};

const LIVE: &str = "ask_live_0123456789";

async fn ask(served: &Served, key: &str, method: Method, target: &str, body: &Value) -> Answer {
    let request = served
        .bare(method, target)
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(body.to_string());
    Answer::receive(request).await
}

async fn lift(served: &Served, id: &str) -> Answer {
    let body = json!({"reason": "over"});
    ask(
        served,
        KEY,
        Method::DELETE,
        &format!("/v1/stops/{id}"),
        &body,
    )
    .await
}

#[tokio::test]
async fn a_stop_holds_from_its_answer_until_it_is_lifted() {
    for (scope, covers) in [
        (json!({"agent_id": "deploy-bot"}), true),
        (json!({"agent_id": "other-bot"}), false),
        (json!({"action_type": "deploy"}), true),
        (json!({"action_type": "drop"}), false),
        (json!({"all": true}), true),
    ] {
        let served = Served::start().await;
        let token = served.token().await;
        let body = with(scope, &json!({"reason": "an alarm"}));
        let set = served.post("/v1/stops", &body).await;
        assert_eq!(set.status, 200, "{}", set.text);
        let set = set.json();
        let id = set["id"].as_str().unwrap();
        let listed = served.get("/v1/stops").await.json();
        assert_eq!(listed["stops"], json!([set]));

        let answer = served.evaluate(&deploy()).await.json();
        let verified = served.verify(&json!({"permit_token": token})).await.json();
        if covers {
            assert_eq!(answer["decision"], "deny");
            assert_eq!(answer["deny_code"], "STOPPED");
            assert!(answer["reason"].as_str().unwrap().contains("an alarm"));
            assert!(answer.get("permit_token").is_none());
            assert_eq!(verified["verify_error_code"], "STOPPED");
            assert_eq!(
                (&verified["valid"], &verified["outcome"]),
                (&json!(false), &json!("deny"))
            );
        } else {
            assert_eq!(
                (&answer["decision"], &verified["valid"]),
                (&json!("allow"), &json!(true))
            );
        }
        let lifted = lift(&served, id).await;
        assert_eq!(lifted.json()["id"], id);
        for unknown in [id, "%FF", "x"] {
            lift(&served, unknown)
                .await
                .is_problem(404, "STOP_NOT_FOUND");
        }
        assert_eq!(served.get("/v1/stops").await.json()["stops"], json!([]));
        assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
        assert_eq!(served.count("stop.set").await, 1);
        assert_eq!(served.count("stop.lifted").await, 1);
    }
}

#[tokio::test]
async fn a_shadow_and_the_stream_are_stopped_too() {
    let served = Served::start().await;
    served
        .post("/v1/stops", &json!({"all": true, "reason": "an alarm"}))
        .await;
    let shadow = with(deploy(), &json!({"shadow": true}));
    assert_eq!(
        served.evaluate(&shadow).await.json()["deny_code"],
        "STOPPED"
    );
    let stream = served.post("/v1-evaluate-stream", &deploy()).await;
    assert!(stream.text.contains("STOPPED") && !stream.text.contains("permit_token"));
    let batch = served
        .post("/v1/evaluate/batch", &json!({"items": [deploy(), shadow]}))
        .await
        .json();
    for item in batch["items"].as_array().unwrap() {
        assert_eq!(item["deny_code"], "STOPPED");
    }
}

#[tokio::test]
async fn a_stop_has_exactly_its_fields_and_says_when_it_ends() {
    let served = Served::start().await;
    let body = json!({"agent_id": "a", "reason": "why", "expires_at": "2999-01-01T00:00:00Z"});
    let set = served.post("/v1/stops", &body).await.json();
    assert_eq!(
        names(&set),
        [
            "agent_id",
            "created_at",
            "created_by",
            "environment",
            "expires_at",
            "id",
            "reason"
        ]
    );
    assert_eq!(set["expires_at"], "2999-01-01T00:00:00.000000Z");
    assert_eq!(set["created_by"], stored(KEY).key_id);
}

#[tokio::test]
async fn a_stop_that_cannot_be_meant_is_refused_and_holds_nothing() {
    let served = Served::start().await;
    for body in [
        json!({}),
        json!({"reason": "why"}),
        json!({"all": false, "reason": "why"}),
        json!({"all": true}),
        json!({"all": true, "reason": "  "}),
        json!({"all": true, "reason": 7}),
        json!({"all": "yes", "reason": "why"}),
        json!({"agent_id": "a", "action_type": "b", "reason": "why"}),
        json!({"agent_id": "a", "all": true, "reason": "why"}),
        json!({"agent_id": "", "reason": "why"}),
        json!({"action_type": "x".repeat(257), "reason": "why"}),
        json!({"all": true, "reason": "x".repeat(4_097)}),
        json!({"all": true, "reason": "why", "expires_at": "2001-01-01T00:00:00Z"}),
    ] {
        let answer = served.post("/v1/stops", &body).await;
        answer.is_problem(422, "INVALID_FIELD");
    }
    let body = json!({"all": true, "reason": "why", "expires_at": "soon"});
    let answer = served.post("/v1/stops", &body).await;
    answer.is_problem(400, "INVALID_TIME");
    assert_eq!(served.get("/v1/stops").await.json()["stops"], json!([]));
    assert_eq!(served.count("stop.set").await, 0);
    assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
}

#[tokio::test]
async fn only_a_key_with_the_scope_sets_and_lifts_stops() {
    let mut key = stored(KEY);
    key.scopes = vec![ApiScope::Evaluate, ApiScope::Verify, ApiScope::Revoke];
    let server = Server::new(memory(), ApiKeys::new([key]), KeyRing::in_memory().unwrap());
    let served = Served::run(server).await;
    let body = json!({"all": true, "reason": "why"});
    let answer = served.post("/v1/stops", &body).await;
    answer.is_problem(403, "INSUFFICIENT_SCOPE");
    let answer = served.get("/v1/stops").await;
    answer.is_problem(403, "INSUFFICIENT_SCOPE");
    lift(&served, "stop_1")
        .await
        .is_problem(403, "INSUFFICIENT_SCOPE");
    assert_eq!(served.evaluate(&deploy()).await.json()["decision"], "allow");
}

#[tokio::test]
async fn a_stop_by_a_test_key_spares_live_keys_and_not_the_reverse() {
    let keys = ApiKeys::new([stored(KEY), stored(LIVE)]);
    let served = Served::run(Server::new(memory(), keys, KeyRing::in_memory().unwrap())).await;
    let evaluate = async |key: &str| {
        let answer = ask(&served, key, Method::POST, "/v1-evaluate", &deploy()).await;
        answer.json()["decision"].clone()
    };
    let stop = async |key: &str| {
        let body = json!({"all": true, "reason": "why"});
        let answer = ask(&served, key, Method::POST, "/v1/stops", &body).await;
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let test = stop(KEY).await;
    assert_eq!(
        (evaluate(KEY).await, evaluate(LIVE).await),
        (json!("deny"), json!("allow"))
    );
    assert_eq!(lift(&served, &test).await.status, 200);
    let live = stop(LIVE).await;
    assert_eq!(
        (evaluate(KEY).await, evaluate(LIVE).await),
        (json!("deny"), json!("deny"))
    );
    let events = served.events().await;
    let refused = lift(&served, &live).await;
    refused.is_problem(403, "LIVE_STOP");
    assert!(refused.text.contains("with a `live` key"));
    assert_eq!(served.events().await, events);
    assert_eq!(evaluate(KEY).await, json!("deny"));
    assert_eq!(evaluate(LIVE).await, "deny");
}

#[tokio::test]
async fn our_client_sets_lists_and_lifts_stops() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    for scope in [
        StopScope::agent("deploy-bot").unwrap(),
        StopScope::action("deploy").unwrap(),
        StopScope::all(),
    ] {
        let stop = client.set_stop(&scope, "an alarm", None).await.unwrap();
        assert_eq!(stop.scope, scope);
        assert_eq!(client.stops().await.unwrap(), std::slice::from_ref(&stop));
        assert_eq!(
            served.evaluate(&deploy()).await.json()["deny_code"],
            "STOPPED"
        );
        let lifted = client.lift_stop(&stop.id, "over").await.unwrap();
        assert_eq!(lifted.id, stop.id);
        let again = client.lift_stop(&stop.id, "over").await;
        assert!(matches!(again, Err(Error::Failed(failure)) if failure.status() == Some(404)));
    }
    for id in ["", "../all", "a b", "stop_1?x=1"] {
        let lifted = client.lift_stop(id, "over").await;
        assert!(matches!(lifted, Err(Error::Invalid(_))), "{id}");
    }
}

#[tokio::test]
async fn our_client_lifts_one_of_many_stops_with_long_reasons() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    // JSON writes a control character as six bytes.
    let reason = "\u{1}".repeat(4_096);
    for number in 0..60 {
        let scope = StopScope::agent(format!("bot-{number}")).unwrap();
        client.set_stop(&scope, &reason, None).await.unwrap();
    }
    let list = served.get("/v1/stops").await.text;
    assert!(list.len() > 1_400_000, "{} bytes", list.len());
    let stops = client.stops().await.unwrap();
    assert_eq!(stops.len(), 60);
    assert_eq!(stops[30].reason, reason);
    let lifted = client.lift_stop(&stops[30].id, "over").await.unwrap();
    assert_eq!(lifted.scope, StopScope::agent("bot-30").unwrap());
    assert_eq!(client.stops().await.unwrap().len(), 59);
}

#[tokio::test]
async fn a_call_that_is_sent_again_sets_no_second_stop() {
    let served = Served::start().await;
    let set = async |id: &str, reason: &str| {
        let request = served
            .bare(Method::POST, "/v1/stops")
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .header("x-request-id", id)
            .body(json!({"all": true, "reason": reason}).to_string());
        Answer::receive(request).await.json()["id"].clone()
    };
    let first = set("0123456789abcdef", "an alarm").await;
    assert_eq!(set("0123456789abcdef", "an alarm").await, first);
    assert_eq!(served.count("stop.set").await, 1);
    assert_ne!(set("0123456789abcdef", "another").await, first);
    assert_ne!(set("fedcba9876543210", "an alarm").await, first);
    assert_eq!(served.count("stop.set").await, 3);
}
