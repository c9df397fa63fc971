//! What the policies of a server see of a request: each number by its value, and the fields
//! beside the context.

use atlasent::{AnyAction, AuthorityExt, Context, Error};
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::{Value, json};

use crate::support::{AGENT, Answer, Served, server};

const POLICIES: &str = r#"
    @id("any") permit (principal, action, resource);
    @id("tier") @code("TIER") forbid (principal, action, resource) when { context has tier && context.tier == 3 };
    @id("tiers") @code("TIERS") forbid (principal, action, resource)
    when { context has tiers && context.tiers.contains(9223372036854775807) };
    @id("order") @code("ORDER") forbid (principal, action, resource) when { context has size && context.size > 100 };
    @id("live") @code("LIVE") forbid (principal, action, resource)
    when { context has environment && context.environment == "live" };
    @id("large") @code("LARGE") forbid (principal, action, resource) when { context has amount && context.amount == 1000 };
    @id("exact") @code("EXACT") forbid (principal, action, resource)
    when { context has price && context.price == decimal("922337203685477.5807") };
"#;

const SCHEMA: &str = r#"
    entity Agent; entity Resource;
    action pay appliesTo { principal: Agent, resource: Resource, context: { amount: decimal, client?: { ip: ipaddr } } };
    action read appliesTo { principal: Agent, resource: Resource };
"#;

async fn start() -> Served {
    let policies = Policies::parse(POLICIES).unwrap();
    Served::run(server(LocalAuthority::in_memory(policies).unwrap())).await
}

async fn with_schema(policy: &str) -> Served {
    let builder = Policies::builder().schema("s.cedarschema", SCHEMA);
    let policies = builder.source("p.cedar", policy).build().unwrap();
    Served::run(server(LocalAuthority::in_memory(policies).unwrap())).await
}

/// Sends a context and further fields, exactly as written.
async fn ask(served: &Served, action: &str, context: &str, fields: &str) -> Answer {
    let body =
        format!(r#"{{"action_type":"{action}","actor_id":"{AGENT}","context":{context}{fields}}}"#);
    served.post_text("/v1-evaluate", body).await
}

/// Returns the decision and its code.
async fn decided(served: &Served, action: &str, context: &str, fields: &str) -> (Value, Value) {
    let answer = ask(served, action, context, fields).await;
    assert_eq!(answer.status, 200, "{context} {fields}: {}", answer.text);
    let json = answer.json();
    (json["decision"].clone(), json["deny_code"].clone())
}

fn denied(code: &str) -> (Value, Value) {
    (json!("deny"), json!(code))
}

#[tokio::test]
async fn no_spelling_of_a_number_evades_a_policy() {
    let served = start().await;
    for three in [
        "3",
        "3.0",
        "3e0",
        "30e-1",
        "0.003E+3",
        "3.0000000000000000000",
    ] {
        let context = format!(r#"{{"tier":{three}}}"#);
        let found = decided(&served, "deploy", &context, "").await;
        assert_eq!(found, denied("TIER"), "{context}");
    }
    for most in [
        "9223372036854775807",
        "9223372036854775807.0",
        "9.223372036854775807e18",
    ] {
        let context = format!(r#"{{"tiers":[1,{most}]}}"#);
        let found = decided(&served, "deploy", &context, "").await;
        assert_eq!(found, denied("TIERS"), "{context}");
    }
    let near = r#"{"tiers":[9223372036854775806.0]}"#;
    assert_eq!(decided(&served, "deploy", near, "").await.0, "allow");
    let exact = r#"{"price":922337203685477.5807}"#;
    assert_eq!(decided(&served, "deploy", exact, "").await, denied("EXACT"));
    let near = r#"{"price":922337203685477.5806}"#;
    assert_eq!(decided(&served, "deploy", near, "").await.0, "allow");
}

#[tokio::test]
async fn a_number_that_cedar_cannot_hold_stays_present_and_its_order_denies() {
    let served = start().await;
    for size in [
        "1e400",
        "1e19",
        "0.00001",
        "18446744073709551616",
        "-1e-400",
        "1.5",
    ] {
        let found = decided(&served, "deploy", &format!(r#"{{"size":{size}}}"#), "").await;
        assert_eq!(found, denied("POLICY_EVALUATION_ERROR"), "{size}");
    }
    let context = r#"{"size":1e1000000000}"#;
    ask(&served, "deploy", context, "")
        .await
        .is_problem(422, "INVALID_FIELD");
}

#[tokio::test]
async fn a_request_id_does_not_join_numbers_that_differ_in_their_last_digit() {
    let served = start().await;
    let fields = r#","request_id":"r-1""#;
    let first = ask(&served, "deploy", r#"{"n":9007199254740993.0}"#, fields).await;
    assert_eq!(first.json()["decision"], "allow");
    let again = ask(&served, "deploy", r#"{"n":9007199254740993.0}"#, fields).await;
    assert_eq!(again.json()["permit_token"], first.json()["permit_token"]);
    let other = ask(&served, "deploy", r#"{"n":9007199254740992.0}"#, fields).await;
    other.is_problem(409, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn our_client_sends_and_binds_numbers_as_they_were_read() {
    let served = start().await;
    let client = served.client().build().unwrap();
    let ask = async |context: &str| {
        let action = AnyAction::new("deploy").unwrap();
        let action = action.with_context(Context::parse(context).unwrap());
        client
            .with_permit(AGENT, action, async |_| Ok::<_, Error>(7))
            .await
    };
    let context =
        r#"{"tiers": [9223372036854775806.0], "load": 1e16, "size_of": {"n": 1e400}, "d": 0.10}"#;
    assert_eq!(ask(context).await.unwrap(), 7);
    let error = ask(r#"{"tiers": [9223372036854775807.0]}"#)
        .await
        .unwrap_err();
    assert_eq!(error.denied().unwrap().code(), Some("TIERS"));
}

#[tokio::test]
async fn the_fields_beside_the_context_reach_the_policies() {
    let served = start().await;
    for (context, fields, code) in [
        ("{}", r#","environment":"live""#, "LIVE"),
        (
            r#"{"environment":null}"#,
            r#","environment":"live""#,
            "LIVE",
        ),
        (
            r#"{"environment":"live"}"#,
            r#","environment":"live""#,
            "LIVE",
        ),
        ("{}", r#","amount":1000"#, "LARGE"),
        ("{}", r#","amount":1e3"#, "LARGE"),
        (r#"{"amount":1000.0}"#, r#","amount":10000e-1"#, "LARGE"),
        (r#"{"amount":1000.0}"#, "", "LARGE"),
    ] {
        let found = decided(&served, "deploy", context, fields).await;
        assert_eq!(found, denied(code), "{context} {fields}");
    }
    let fields = r#","environment":"test","amount":999"#;
    assert_eq!(decided(&served, "deploy", "{}", fields).await.0, "allow");
}

#[tokio::test]
async fn a_field_that_contradicts_the_context_is_refused_and_not_recorded() {
    let served = start().await;
    for (context, fields) in [
        (r#"{"environment":"test"}"#, r#","environment":"live""#),
        (r#"{"environment":5}"#, r#","environment":"5""#),
        (r#"{"amount":1}"#, r#","amount":2"#),
        (r#"{"amount":"1"}"#, r#","amount":1"#),
        (
            r#"{"amount":9007199254740993.0}"#,
            r#","amount":9007199254740992.0"#,
        ),
    ] {
        let answer = ask(&served, "deploy", context, fields).await;
        assert!(
            answer.text.contains("two different values"),
            "{}",
            answer.text
        );
        answer.is_problem(422, "INVALID_FIELD");
    }
    let fields = r#","amount":0.30000000000000000001"#;
    ask(&served, "deploy", "{}", fields)
        .await
        .is_problem(422, "INVALID_FIELD");
    assert_eq!(served.events().await.len(), 1, "nothing is on record");
}

#[tokio::test]
async fn with_a_schema_values_have_their_declared_types() {
    let served = with_schema(
        r#"permit (principal, action == Action::"pay", resource)
           when { context.amount == decimal("5.0") && context has client && context.client.ip.isLoopback() };
           permit (principal, action == Action::"read", resource);"#,
    )
    .await;
    let client = r#""client":{"ip":"127.0.0.1"}"#;
    for amount in ["5", "5.0", "50e-1", r#""5""#] {
        let context = format!(r#"{{"amount":{amount},{client}}}"#);
        let found = decided(&served, "pay", &context, "").await;
        assert_eq!(found.0, "allow", "{amount}");
    }
    let context = format!("{{{client}}}");
    assert_eq!(
        decided(&served, "pay", &context, r#","amount":5"#).await.0,
        "allow"
    );

    let answer = ask(
        &served,
        "pay",
        r#"{"amount":5,"client":{"ip":"hunter2"}}"#,
        "",
    )
    .await
    .json();
    assert_eq!(answer["deny_code"], "REQUEST_NOT_IN_SCHEMA");
    let reason = answer["deny_reason"].as_str().unwrap();
    assert!(
        reason.contains("`context.client.ip`") && reason.contains("`ipaddr`"),
        "{reason}"
    );
    assert!(!reason.contains("hunter2"), "{reason}");

    for fields in [r#","environment":"live""#, r#","amount":5"#] {
        let found = decided(&served, "read", "{}", fields).await;
        assert_eq!(found, denied("FIELD_NOT_IN_SCHEMA"), "{fields}");
    }
    assert_eq!(decided(&served, "read", "{}", "").await.0, "allow");
}

#[tokio::test]
async fn a_member_of_the_context_that_stands_twice_is_refused_at_every_depth() {
    let served = start().await;
    let mut context = r#"{"n":1,"n":2}"#.to_owned();
    for depth in 0..60 {
        let answer = ask(&served, "deploy", &context, "").await;
        assert!(
            answer.text.contains("the key `n` is repeated"),
            "{}",
            answer.text
        );
        answer.is_problem(422, "INVALID_FIELD");
        context = match depth % 3 {
            0 => format!(r#"{{"a":{context}}}"#),
            1 => format!(r#"{{"a":[0,{context}]}}"#),
            _ => format!(r#"{{"before":1e400,"a":{context}}}"#),
        };
    }
    assert_eq!(served.events().await.len(), 1, "nothing is on record");
}
