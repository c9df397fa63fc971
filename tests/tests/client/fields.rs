//! The fields of each request: present exactly if set, with the contract's names (part A).

use atlasent::client::{DecisionCache, EventFilter};
use atlasent::protected_action::{ProtectedAction, require_permit};
use atlasent::wire::{EvaluateRequest, RequestOptions, VerifyRequest, execution_hash};
use atlasent::{Agent, AnyAction, AuthorityExt, Client, protect};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::cases::{ACTION, AGENT, TOKEN};
use crate::genuine;
use crate::support::{KEY, bodies, client, json_of, question, token};

#[tokio::test]
async fn each_optional_field_of_an_evaluation_is_sent_exactly_when_it_is_set() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let options = RequestOptions::default;
    let plain = json!({"action_type": ACTION, "actor_id": AGENT, "context": {}});
    let state = json!({"a": [1, 2.5, null, "ü"]});
    let one_each = [
        ("amount", json!(250), options().amount(250)),
        (
            "environment",
            json!("production"),
            options().environment("production"),
        ),
        (
            "state_snapshot",
            state.clone(),
            options().state_snapshot(state.clone()),
        ),
        ("request_id", json!("r-1"), options().request_id("r-1")),
        ("explain", json!(true), options().explain(true)),
        ("approval", state.clone(), options().approval(state.clone())),
        (
            "require_approval",
            json!(false),
            options().require_approval(false),
        ),
        ("resource", state.clone(), options().resource(state.clone())),
        (
            "current_state",
            state.clone(),
            options().current_state(state.clone()),
        ),
        (
            "proposed_state",
            state.clone(),
            options().proposed_state(state.clone()),
        ),
        (
            "execution_binding",
            state.clone(),
            options().execution_binding(state.clone()),
        ),
    ];
    let mut expected = Vec::new();
    for (name, value, options) in one_each {
        client
            .evaluate(&question().with_options(options.clone()))
            .await
            .unwrap();
        client
            .evaluate_preflight(&question().with_options(options.clone()))
            .await
            .unwrap();
        let asked = client.ask(AGENT, AnyAction::new(ACTION).unwrap());
        drop(asked.options(|_| options).protect().await.unwrap());
        let mut body = plain.clone();
        body[name] = value;
        expected.extend([body.clone(), body.clone(), body]);
    }
    for shadow in [true, false] {
        client.evaluate(&question().shadow(shadow)).await.unwrap();
        let mut body = plain.clone();
        body["shadow"] = json!(shadow);
        expected.push(body);
    }
    let action = AnyAction::new(ACTION)
        .unwrap()
        .with_resource("cluster-7")
        .with_field("ü", &1)
        .unwrap();
    let request = EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action).unwrap();
    client.evaluate(&request).await.unwrap();
    expected.push(json!({"action_type": ACTION, "actor_id": AGENT, "context": {"ü": 1}, "resource_id": "cluster-7"}));

    let sent = bodies(&server, "/v1-evaluate");
    assert_eq!(
        sent.iter().map(|text| json_of(text)).collect::<Vec<_>>(),
        expected
    );
    for text in sent {
        // Compact, with UTF-8 unescaped.
        assert!(
            !text.contains(' ') && !text.contains('\n') && !text.contains("\\u"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_low_level_verification_sends_what_it_is_given_and_nothing_more() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let with = |set: fn(&mut VerifyRequest)| {
        let mut request = VerifyRequest::new(token());
        set(&mut request);
        request
    };
    let plain = json!({"permit_token": TOKEN, "action_type": "", "actor_id": ""});
    let one_each: [(&str, Value, VerifyRequest); 5] = [
        (
            "action_type",
            json!("a"),
            with(|request| request.action_type = Some("a".into())),
        ),
        (
            "actor_id",
            json!("b"),
            with(|request| request.actor_id = Agent::new("b").ok()),
        ),
        (
            "environment",
            json!("c"),
            with(|request| request.environment = Some("c".to_owned())),
        ),
        (
            "execution_hash",
            json!("d"),
            with(|request| request.execution_hash = Some("d".into())),
        ),
        (
            "require_approval",
            json!(true),
            with(|request| request.require_approval = Some(true)),
        ),
    ];
    let mut expected = Vec::new();
    for (name, value, request) in one_each {
        client.verify(&request).await.unwrap();
        let mut body = plain.clone();
        body[name] = value;
        expected.push(body);
    }
    let sent = bodies(&server, "/v1-verify-permit");
    assert_eq!(
        sent.iter().map(|text| json_of(text)).collect::<Vec<_>>(),
        expected
    );
}

#[protect(action = "deploy.production", agent = "deploy-bot", context = { environment: "production", approved: true },
    authority = authority)]
async fn deploy(authority: &Client) -> Result<(), atlasent::Error> {
    Ok(())
}

#[tokio::test]
async fn protect_binds_the_permit_to_what_was_asked() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let bare = AnyAction::new(ACTION).unwrap();
    let odd = bare.clone().with_field("environment", &7).unwrap();

    deploy(&client).await.unwrap();
    drop(client.protect(AGENT, bare).await.unwrap());
    drop(client.gate(AGENT, odd).await.unwrap());
    let guarded = ProtectedAction::new("db.drop", "cleaner", "users", "production").unwrap();
    require_permit(&client, guarded, async |_| Ok::<_, atlasent::Error>(()))
        .await
        .unwrap();

    let restated = |action: &str, agent: &str, hash: &str| json!({"permit_token": TOKEN, "action_type": action, "actor_id": agent, "execution_hash": hash});
    let named = |mut body: Value| {
        body["environment"] = json!("production");
        body
    };
    let hash = |action, agent, context: Value| {
        execution_hash(action, agent, &serde_json::from_value(context).unwrap())
    };
    let sent: Vec<Value> = bodies(&server, "/v1-verify-permit")
        .iter()
        .map(|text| json_of(text))
        .collect();
    assert_eq!(
        sent,
        [
            // The contract's own example.
            named(restated(
                ACTION,
                AGENT,
                "494db7d7ba0b473840927d1febf48edd770e831178d2bd1ff7a3b80afbeddd7a"
            )),
            restated(ACTION, AGENT, &hash(ACTION, AGENT, json!({}))),
            restated(
                ACTION,
                AGENT,
                &hash(ACTION, AGENT, json!({"environment": 7}))
            ),
            named(restated(
                "db.drop",
                "cleaner",
                &hash(
                    "db.drop",
                    "cleaner",
                    json!({"environment": "production", "resource_id": "users"})
                )
            )),
        ]
    );
}

#[tokio::test]
async fn a_snapshot_stands_in_exactly_where_a_request_has_none() {
    let server = genuine::server();
    let client = client(server.url())
        .snapshot_source("my-service")
        .cache(DecisionCache::default())
        .build()
        .unwrap();
    let own = json!({"source": "own"});
    let given = question().with_options(RequestOptions::default().state_snapshot(own.clone()));
    client.evaluate(&question()).await.unwrap();
    client.evaluate(&given).await.unwrap();
    client.evaluate_preflight(&question()).await.unwrap();
    client.evaluate_preflight(&given).await.unwrap();
    drop(
        client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap(),
    );
    let stand_in = json!({"source": "my-service", "complete": true});
    let sent: Vec<Value> = bodies(&server, "/v1-evaluate")
        .iter()
        .map(|text| json_of(text)["state_snapshot"].clone())
        .collect();
    assert_eq!(
        sent,
        [
            stand_in.clone(),
            own.clone(),
            stand_in.clone(),
            own,
            stand_in
        ]
    );
    assert!(
        bodies(&server, "/v1-verify-permit")
            .iter()
            .all(|text| !text.contains("snapshot"))
    );
}

#[tokio::test]
async fn a_filter_is_sent_as_the_server_reads_it() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let filter = EventFilter::default()
        .types(["evaluate.deny", "permit.revoked"])
        .actor_id("a b&c=ü")
        .since("2026-01-01T00:00:00Z")
        .until("2026-02-01T00:00:00+01:00")
        .limit(7)
        .cursor("c/1?=");
    client.audit_events(&filter).await.unwrap();
    client
        .audit_events(&EventFilter::default().limit(1))
        .await
        .unwrap();
    client.audit_export(&filter).await.unwrap();
    let requests = server.requests();
    let url = reqwest::Url::parse(&format!("http://x{}", requests[0].target)).unwrap();
    let said: Vec<_> = url
        .query_pairs()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let expected = [
        ("types", "evaluate.deny,permit.revoked"),
        ("actor_id", "a b&c=ü"),
        ("from", "2026-01-01T00:00:00Z"),
        ("to", "2026-02-01T00:00:00+01:00"),
        ("limit", "7"),
        ("cursor", "c/1?="),
    ];
    assert_eq!(
        said,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(requests[1].query(), Some("limit=1"));
    assert_eq!(
        json_of(requests[2].text()),
        json!({"types": "evaluate.deny,permit.revoked", "actor_id": "a b&c=ü", "from": "2026-01-01T00:00:00Z",
            "to": "2026-02-01T00:00:00+01:00"})
    );
}

#[tokio::test]
async fn a_stream_sends_action_agent_and_context() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let action = AnyAction::new(ACTION)
        .unwrap()
        .with_field("environment", "production")
        .unwrap();
    let request = EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action).unwrap();
    client
        .evaluate_stream(&request)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(
        json_of(server.requests()[0].text()),
        json!({"action": ACTION, "agent": AGENT, "context": {"environment": "production"}, "api_key": KEY})
    );
}
