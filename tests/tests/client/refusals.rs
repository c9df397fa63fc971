//! A refusal as an error, the ids of its request, and which fields must not be repeated.

use atlasent::client::DecisionCache;
use atlasent::error::Code;
use atlasent::wire::{RequestOptions, execution_hash_of_text};
use atlasent::{AnyAction, AuthorityExt, Context, Decision, Error, blocking, protect};
use atlasent_tests::server::Reply;
use serde_json::{Value, json};

use crate::cases::{ACTION, AGENT, TOKEN};
use crate::genuine;
use crate::support::{bodies, client, json_of, question, saying};

#[tokio::test]
async fn require_allow_asks_as_evaluate_does_and_a_refusal_is_an_error() {
    let server = genuine::server();
    let client = client(server.url()).snapshot_source("s").build().unwrap();
    let request = question().with_options(RequestOptions::default().amount(5));
    let evaluation = client.evaluate(&request).await.unwrap();
    assert_eq!(client.require_allow(&request).await.unwrap(), evaluation);
    assert_eq!(
        AuthorityExt::require_allow(&client, &request)
            .await
            .unwrap(),
        evaluation
    );
    let sent = bodies(&server, "/v1-evaluate");
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|body| *body == sent[0]));

    for (word, decision) in [
        ("deny", Decision::Deny),
        ("hold", Decision::Hold),
        ("escalate", Decision::Escalate),
    ] {
        let refusal = json!({"decision": word, "deny_reason": "r", "deny_code": "C", "escalation_id": "e-1",
            "approval_url": "https://console.example/e-1"});
        let (client, _server) = saying([Reply::json(200, &refusal), Reply::json(200, &refusal)]);
        assert_eq!(
            client.evaluate(&question()).await.unwrap().decision,
            decision
        );
        let error = client.require_allow(&question()).await.unwrap_err();
        let denied = error.denied().unwrap();
        assert_eq!(
            (denied.decision(), denied.reason(), denied.code()),
            (decision, "r", Some("C"))
        );
        assert_eq!((denied.action(), denied.agent().as_str()), (ACTION, AGENT));
        assert_eq!(
            (denied.escalation_id(), denied.approval_url()),
            (Some("e-1"), Some("https://console.example/e-1"))
        );
    }
}

#[tokio::test]
async fn require_allow_takes_nothing_but_an_allow_with_a_token_and_no_remembered_one() {
    for body in [
        json!({"decision": "allow"}),
        json!({"decision": "allow", "permit_token": ""}),
        json!({"decision": "allow", "permitted": false, "permit_token": TOKEN}),
        json!({"decision": "maybe", "permit_token": TOKEN}),
        json!({}),
    ] {
        let (client, _server) = saying([Reply::json(200, &body)]);
        let error = client.require_allow(&question()).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{body}");
    }
    let (client, _server) = saying([Reply::json(200, json!({"decision": "allow"}))]);
    let shadow = client
        .require_allow(&question().shadow(true))
        .await
        .unwrap_err();
    assert_eq!(
        shadow.code(),
        Some(Code::BadResponse),
        "a shadow allow brings no permit"
    );

    let server = genuine::server();
    let client = crate::support::client(server.url())
        .cache(DecisionCache::default())
        .build()
        .unwrap();
    for asked in 1..4 {
        client.evaluate(&question()).await.unwrap();
        client.require_allow(&question()).await.unwrap();
        assert_eq!(bodies(&server, "/v1-evaluate").len(), 1 + asked);
    }
}

#[test]
fn require_allow_works_without_async() {
    let refusal = || Reply::json(200, json!({"decision": "hold"}));
    let (client, _server) = saying([refusal(), refusal()]);
    let error = blocking::require_allow(&client, &question()).unwrap_err();
    assert_eq!(error.denied().unwrap().decision(), Decision::Hold);
    let error = blocking::Client::from(client)
        .require_allow(&question())
        .unwrap_err();
    assert_eq!(error.denied().unwrap().decision(), Decision::Hold);
}

#[tokio::test]
async fn a_refusal_names_the_request_that_was_refused() {
    let allow = |id: Value| {
        Reply::json(
            200,
            json!({"decision": "allow", "permit_token": TOKEN, "request_id": id}),
        )
    };
    let deny = |id: Value| Reply::json(200, json!({"decision": "deny", "request_id": id}));
    let burnt = |id: Value| {
        Reply::json(
            200,
            json!({"valid": false, "outcome": "permit_consumed", "request_id": id}),
        )
    };
    // The responses, with the expected id: the answer's own, else the number of the request whose
    // X-Request-ID is expected.
    for (replies, own, sent) in [
        (vec![deny(json!("r-1"))], Some("r-1"), 0),
        (vec![deny(Value::Null)], None, 0),
        (
            vec![allow(json!("r-1")), burnt(json!("r-2"))],
            Some("r-2"),
            1,
        ),
        (vec![allow(json!("r-1")), burnt(Value::Null)], None, 1),
    ] {
        let (client, server) = saying(replies);
        let error = client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap_err();
        let denied = error.denied().unwrap();
        let requests = server.requests();
        let expected = own.or(requests[sent].header("x-request-id"));
        assert!(expected.is_some());
        assert_eq!(denied.request_id(), expected);
    }
    // An id that the client generated is no id of the authority.
    let (client, _server) = saying([deny(Value::Null), deny(Value::Null)]);
    let error = client.require_allow(&question()).await.unwrap_err();
    assert_eq!(error.denied().unwrap().evaluation_id(), None);
    assert!(
        client
            .evaluate(&question())
            .await
            .unwrap()
            .x_request_id()
            .is_some()
    );
}

#[tokio::test]
async fn a_shadow_evaluation_may_be_allowed_without_a_token() {
    let allow = || Reply::json(200, json!({"decision": "allow", "permitted": true}));
    let (client, _server) = saying([allow(), allow()]);
    let shadow = client.evaluate(&question().shadow(true)).await.unwrap();
    assert_eq!(
        (shadow.decision, shadow.permit_token),
        (Decision::Allow, None)
    );
    assert!(client.evaluate(&question()).await.is_err());
}

#[tokio::test]
async fn an_answer_that_says_something_twice_is_none() {
    let yes = r#"{"decision":"allow","permit_token":"p""#;
    for twice in [
        format!(r#"{yes},"decision":"allow"}}"#),
        format!(r#"{yes},"permit_token":"p"}}"#),
        format!(r#"{yes},"denial":{{"code":"A","code":"B"}}}}"#),
    ] {
        let (client, _server) = saying([Reply::json(200, &twice)]);
        let error = client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{twice}");
    }
    for twice in [
        r#"{"valid":true,"valid":true}"#,
        r#"{"valid":true,"consumed":true,"consumed":false}"#,
        r#"{"valid":true,"approval":{"by":"a","by":"b"}}"#,
    ] {
        let (client, _server) = saying([
            Reply::json(200, json!({"decision": "allow", "permit_token": TOKEN})),
            Reply::json(200, twice),
        ]);
        let error = client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{twice}");
    }
}

#[tokio::test]
async fn a_field_that_nothing_is_decided_on_is_left_out_when_it_is_ambiguous() {
    let twice = r#"{"decision":"deny","new":1,"new":2,"nested":[{"a":1,"a":2}],"permit_id":"x","permit_id":"y","good":3}"#;
    let (client, _server) = saying([Reply::json(200, twice)]);
    let evaluation = client.evaluate(&question()).await.unwrap();
    assert_eq!(evaluation.permit_id, None);
    let other = Value::Object(evaluation.other.as_object().clone());
    assert_eq!(other, json!({"good": 3}));
}

#[derive(serde::Serialize)]
struct Transfer {
    amount: u64,
    #[serde(flatten)]
    details: serde_json::Map<String, Value>,
}

#[protect(action = "deploy.production", agent = "deploy-bot", context = transfer, authority = authority)]
async fn transfer_whole(authority: &atlasent::Client, transfer: &Transfer) -> Result<(), Error> {
    panic!("{} was not decided on", transfer.amount);
}

#[protect(action = "deploy.production", agent = "deploy-bot", context = { transfer }, authority = authority)]
async fn transfer_field(authority: &atlasent::Client, transfer: &Transfer) -> Result<(), Error> {
    panic!("{} was not decided on", transfer.amount);
}

#[derive(atlasent::Action)]
#[action("deploy.production")]
struct Wire {
    transfer: Transfer,
}

#[tokio::test]
async fn a_context_with_a_repeated_key_is_not_sent() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let transfer = || Transfer {
        amount: 5,
        details: serde_json::Map::from_iter([("amount".to_owned(), json!(1_000_000))]),
    };
    let errors = [
        transfer_whole(&client, &transfer()).await.unwrap_err(),
        transfer_field(&client, &transfer()).await.unwrap_err(),
        client
            .protect(
                AGENT,
                Wire {
                    transfer: transfer(),
                },
            )
            .await
            .unwrap_err(),
        Context::from_serialize(&transfer()).unwrap_err(),
        AnyAction::new(ACTION)
            .unwrap()
            .with_field("t", &[transfer()])
            .unwrap_err(),
        atlasent::protected_action::ProtectedAction::new(ACTION, AGENT, "r", "e")
            .unwrap()
            .with_field("t", &transfer())
            .unwrap_err(),
        execution_hash_of_text(ACTION, AGENT, r#"{"t":{"amount":5,"amount":6}}"#).unwrap_err(),
        client
            .ask(AGENT, AnyAction::new(ACTION).unwrap())
            .options(|options| options.field("t", &transfer()))
            .protect()
            .await
            .unwrap_err(),
        client
            .evaluate(&question().with_options(RequestOptions::default().field("t", &transfer())))
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
        assert!(
            error.to_string().contains("the key `amount` is repeated"),
            "{error}"
        );
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_field_to_come_is_sent_and_cannot_be_one_that_is_known() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let ask = || client.ask(AGENT, AnyAction::new(ACTION).unwrap());
    let options = |options: RequestOptions| options.field("ring", &["blue"]).environment("e");
    drop(ask().options(options).protect().await.unwrap());
    for name in [
        "actor_id",
        "action_type",
        "context",
        "agent",
        "Action",
        "resource_id",
        "amount",
        "override",
    ] {
        let error = ask()
            .options(|options| options.field(name, "x"))
            .protect()
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(why) if why.contains(name)),
            "{error}"
        );
        let request = question().with_options(RequestOptions::default().field(name, "x"));
        assert!(
            matches!(client.evaluate(&request).await, Err(Error::Invalid(_))),
            "{name}"
        );
        assert!(
            matches!(client.require_allow(&request).await, Err(Error::Invalid(_))),
            "{name}"
        );
    }
    let sent = bodies(&server, "/v1-evaluate");
    assert_eq!(
        sent.iter().map(|text| json_of(text)).collect::<Vec<_>>(),
        [
            json!({"action_type": ACTION, "actor_id": AGENT, "context": {}, "environment": "e", "ring": ["blue"]})
        ]
    );
}

#[tokio::test]
async fn the_hash_that_is_sent_is_that_of_the_text_that_was_sent() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    for number in [
        1e-5,
        1.5e-7,
        0.0001,
        1e16,
        1e15,
        -0.0,
        5e-324,
        f64::MAX,
        0.1,
        1.0,
    ] {
        let action = AnyAction::new(ACTION)
            .unwrap()
            .with_field("load", &[number])
            .unwrap();
        drop(client.protect(AGENT, action).await.unwrap());
    }
    let asked = bodies(&server, "/v1-evaluate");
    let verified = bodies(&server, "/v1-verify-permit");
    assert_eq!(asked.len(), 10);
    for (asked, verified) in asked.iter().zip(&verified) {
        let context = asked
            .split_once(r#""context":"#)
            .unwrap()
            .1
            .split_once('}')
            .unwrap()
            .0;
        let hash = execution_hash_of_text(ACTION, AGENT, &format!("{context}}}")).unwrap();
        assert_eq!(json_of(verified)["execution_hash"], json!(hash), "{asked}");
    }
    assert!(
        asked[0].contains("[1e-05]") && asked[3].contains("[1e+16]"),
        "{asked:?}"
    );
}
