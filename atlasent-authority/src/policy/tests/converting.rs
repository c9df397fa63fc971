//! Converting the values of a request by a schema's types, and the errors for values that do not
//! fit.

use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Context, Decision};

use crate::policy::{Explanation, Policies, code};

const SCHEMA: &str = r#"
    type Client = { ip: ipaddr, seen?: Set<datetime>, port?: Long };
    entity Agent, Team; entity Resource;
    entity Color enum ["red", "green"];
    action act appliesTo { principal: Agent, resource: Resource, context: {
        n?: Long, d?: decimal, s?: String, b?: Bool, ip?: ipaddr, at?: datetime, within?: duration,
        client?: Client, clients?: Set<Client>, ns?: Set<Long>, team?: Team, color?: Color, "odd key"?: Long,
    } };
    action pay appliesTo { principal: Agent, resource: Resource, context: { amount: decimal, environment?: String } };
    action ship appliesTo { principal: Agent, resource: Resource, context: { environment: String } };
    action read appliesTo { principal: Agent, resource: Resource };
"#;

/// Explains a request for `action` with the context and the fields in `json`.
fn explain(policies: &Policies, action: &str, context: &str, fields: &str) -> Explanation {
    let context = Context::parse(context).unwrap();
    let action = AnyAction::new(action.to_owned()).unwrap();
    let agent = Agent::new("bot").unwrap();
    let options: RequestOptions = serde_json::from_str(fields).unwrap();
    let request = EvaluateRequest::new(agent, &action.with_context(context)).unwrap();
    policies.explain(&request.with_options(options))
}

/// Builds policies with a schema and one `permit` with this condition.
fn with_schema(condition: &str) -> Policies {
    let text = format!("permit (principal, action, resource) when {{ {condition} }};");
    let builder = Policies::builder().schema("s.cedarschema", SCHEMA);
    builder.source("p.cedar", text).build().unwrap()
}

/// Builds policies without a schema.
fn without_schema(condition: &str) -> Policies {
    let text = format!("permit (principal, action, resource) when {{ {condition} }};");
    Policies::parse(&text).unwrap()
}

fn act(condition: &str) -> Policies {
    with_schema(&format!("action == Action::\"act\" && {condition}"))
}

#[test]
fn a_value_is_converted_by_its_declared_type() {
    for (context, condition) in [
        (r#"{"n": 3}"#, "context has n && context.n == 3"),
        (r#"{"n": 300e-2}"#, "context has n && context.n == 3"),
        (
            r#"{"n": 9223372036854775807.0}"#,
            "context has n && context.n == 9223372036854775807",
        ),
        (
            r#"{"d": 5}"#,
            r#"context has d && context.d == decimal("5.0")"#,
        ),
        (
            r#"{"d": 19.99}"#,
            r#"context has d && context.d == decimal("19.99")"#,
        ),
        (
            r#"{"d": 922337203685477.5807}"#,
            r#"context has d && context.d == decimal("922337203685477.5807")"#,
        ),
        (
            r#"{"d": "1.5"}"#,
            r#"context has d && context.d == decimal("1.5")"#,
        ),
        (
            r#"{"d": "20"}"#,
            r#"context has d && context.d.lessThan(decimal("20.1"))"#,
        ),
        (
            r#"{"ip": "10.1.2.3"}"#,
            r#"context has ip && context.ip.isInRange(ip("10.0.0.0/8"))"#,
        ),
        (
            r#"{"ip": "::1"}"#,
            "context has ip && context.ip.isLoopback()",
        ),
        (
            r#"{"at": "2026-11-28T23:00:00Z"}"#,
            r#"context has at && context.at < datetime("2026-11-29")"#,
        ),
        (
            r#"{"within": "1h30m"}"#,
            "context has within && context.within.toMinutes() == 90",
        ),
        (
            r#"{"team": "ops"}"#,
            r#"context has team && context.team == Team::"ops""#,
        ),
        (
            r#"{"color": "red"}"#,
            r#"context has color && context.color == Color::"red""#,
        ),
        (
            r#"{"client": {"ip": "10.1.2.3", "port": 8e1, "seen": ["2026-11-28", null]}}"#,
            r#"context has client.seen && context.client.ip.isIpv4()
               && context.client.seen.contains(datetime("2026-11-28T00:00:00Z"))
               && context has client.port && context.client.port == 80"#,
        ),
        (
            r#"{"clients": [{"ip": "::1"}, {"ip": "::1", "port": null}], "client": {"ip": "::1"}}"#,
            r#"context has clients && context has client && context.clients == [context.client]"#,
        ),
        (
            r#"{"ns": [1.0, 1, 10e-1]}"#,
            "context has ns && context.ns == [1]",
        ),
        (
            r#"{"n": null, "odd key": 1}"#,
            r#"!(context has n) && context has "odd key""#,
        ),
        (
            r#"{"s": "{\"__entity\": 1}"}"#,
            r#"context has s && context.s != """#,
        ),
    ] {
        let explained = explain(&act(condition), "act", context, "{}");
        assert_eq!(
            explained.decision,
            Decision::Allow,
            "{context}: {explained:?}"
        );
    }
}

#[test]
fn a_value_that_its_type_does_not_take_is_named_by_its_path_and_its_types() {
    for (context, why) in [
        (
            r#"{"n": 3.5}"#,
            "`context.n` has to be of type `Long`, and is a fraction",
        ),
        (
            r#"{"n": "3"}"#,
            "`context.n` has to be of type `Long`, and is a string",
        ),
        (
            r#"{"n": 1e9999}"#,
            "`Long`, and is a number that neither `Long` nor `decimal`",
        ),
        (
            r#"{"n": 9223372036854775808}"#,
            "`Long`, and is a number that neither",
        ),
        (
            r#"{"d": 0.00001}"#,
            "`context.d` has to be of type `decimal`, and is a number that",
        ),
        (r#"{"d": 1e15}"#, "`decimal`, and is an integer"),
        (r#"{"d": " 1.5"}"#, "`decimal`, and is a string"),
        (r#"{"d": "0x1"}"#, "`decimal`, and is a string"),
        (r#"{"d": "15e-1"}"#, "`decimal`, and is a string"),
        (
            r#"{"s": 5}"#,
            "`context.s` has to be of type `String`, and is an integer",
        ),
        (r#"{"s": 1e9999}"#, "`String`, and is a number"),
        (
            r#"{"b": "true"}"#,
            "`context.b` has to be of type `Bool`, and is a string",
        ),
        (r#"{"b": 1}"#, "`Bool`, and is an integer"),
        (
            r#"{"ip": "10.1.2.300"}"#,
            "`ipaddr`, and is a string that is not an IP address",
        ),
        (
            r#"{"ip": 10}"#,
            "`context.ip` has to be of type `ipaddr`, and is an integer",
        ),
        (
            r#"{"at": "tomorrow"}"#,
            "`datetime`, and is a string that is not a datetime",
        ),
        (r#"{"at": 1764000000}"#, "`datetime`, and is an integer"),
        (
            r#"{"within": "1 hour"}"#,
            "`duration`, and is a string that is not a duration",
        ),
        (
            r#"{"team": {"__entity": {"type": "Team", "id": "a"}}}"#,
            "`Team`, and is an object",
        ),
        (
            r#"{"client": {"port": 1}}"#,
            "`context.client.ip` is missing, and has to be of type `ipaddr`",
        ),
        (
            r#"{"client": {"ip": null}}"#,
            "`context.client.ip` is missing",
        ),
        (
            r#"{"client": {"ip": "::1", "user": []}}"#,
            "`context.client.user`, an array, is not declared",
        ),
        (
            r#"{"client": []}"#,
            "`context.client` has to be of type `a record`, and is an array",
        ),
        (
            r#"{"ns": [1, 1.5]}"#,
            "`context.ns[1]` has to be of type `Long`, and is a fraction",
        ),
        (
            r#"{"ns": 1}"#,
            "`context.ns` has to be of type `Set<Long>`, and is an integer",
        ),
        (
            r#"{"clients": [{"ip": "::1"}, {"ip": "::1", "seen": ["2026-11-28", "s3cret"]}]}"#,
            "`context.clients[1].seen[1]` has to be of type `datetime`",
        ),
        (
            r#"{"odd key": true}"#,
            r#"`context["odd key"]` has to be of type `Long`"#,
        ),
        (
            r#"{"a\nb\"": true}"#,
            r#"`context["a\nb\""]`, a boolean, is not declared"#,
        ),
        (
            r#"{"__entity": {"type": "Team", "id": "a"}}"#,
            "`context.__entity`, an object, is not",
        ),
        (
            r#"{"color": "s3cret"}"#,
            "`context.color` has to be of type `Color`, and is a string that is not one",
        ),
    ] {
        let explained = explain(&act("true"), "act", context, "{}");
        assert_eq!(
            explained.code.as_deref(),
            Some(code::REQUEST_NOT_IN_SCHEMA),
            "{context}"
        );
        let reason = explained.reason;
        assert!(reason.contains(why), "{context}: {reason}");
        for value in ["s3cret", "3.5", "300", "tomorrow"] {
            assert!(!reason.contains(value), "{reason}");
        }
    }
    let long = format!("{{\"{}\": 1}}", "k".repeat(10_000));
    let reason = explain(&act("true"), "act", &long, "{}").reason;
    assert!(reason.len() < 200 && reason.contains("k…"), "{reason}");
}

#[test]
fn all_mismatches_are_listed_up_to_eight_and_the_rest_is_counted() {
    let policies = with_schema("true");
    let context =
        r#"{"b": "yes", "client": {"user": []}, "extra": 1, "ip": "x", "ns": [1.5, 2, "3"]}"#;
    let explained = explain(&policies, "act", context, "{}");
    assert_eq!(
        explained.reason,
        "the request is not in the schema: \
         `context.b` has to be of type `Bool`, and is a string; \
         `context.client.user`, an array, is not declared for this action; \
         `context.client.ip` is missing, and has to be of type `ipaddr`; \
         `context.extra`, an integer, is not declared for this action; \
         `context.ip` has to be of type `ipaddr`, and is a string that is not an IP address; \
         `context.ns[0]` has to be of type `Long`, and is a fraction; \
         `context.ns[2]` has to be of type `Long`, and is a string"
    );
    let extras: Vec<String> = (0..10_000).map(|n| format!("\"x{n:05}\": 1")).collect();
    let context = format!("{{{}}}", extras.join(", "));
    let reason = explain(&policies, "act", &context, "{}").reason;
    assert_eq!(reason.matches("is not declared").count(), 8, "{reason}");
    assert!(
        reason.contains(
            "`context.x00007`, an integer, is not declared for this action; and 9992 more"
        ),
        "{reason}"
    );
    let fields = r#"{"environment": "live", "amount": 5}"#;
    let reason = explain(&policies, "act", "{}", fields).reason;
    for name in ["environment", "amount"] {
        let why = format!("the schema declares no attribute `context.{name}`");
        assert!(reason.contains(&why), "{reason}");
    }
}

#[test]
fn an_action_that_the_schema_lacks_is_refused() {
    let explained = explain(&act("true"), "unknown", "{}", r#"{"environment": "live"}"#);
    assert_eq!(explained.code.as_deref(), Some(code::REQUEST_NOT_IN_SCHEMA));
    assert!(
        explained
            .reason
            .contains("action `unknown` is not declared")
    );
}

#[test]
fn the_fields_of_a_request_are_attributes_of_its_context() {
    let condition = r#"context.environment == "live" && context.amount == 5"#;
    for (context, fields) in [
        ("{}", r#"{"environment": "live", "amount": 5}"#),
        (
            r#"{"environment": null}"#,
            r#"{"environment": "live", "amount": 50e-1}"#,
        ),
        (r#"{"environment": "live", "amount": 5.0}"#, "{}"),
        (
            r#"{"amount": 5e0}"#,
            r#"{"environment": "live", "amount": 5.0}"#,
        ),
    ] {
        let explained = explain(&without_schema(condition), "pay", context, fields);
        assert_eq!(
            explained.decision,
            Decision::Allow,
            "{context}: {explained:?}"
        );
    }
    let fields = r#"{"environment": "live", "amount": 6}"#;
    let denied = explain(&without_schema(condition), "pay", "{}", fields);
    assert_eq!(denied.code.as_deref(), Some(code::NO_MATCHING_POLICY));
    let denied = explain(
        &without_schema(condition),
        "pay",
        r#"{"amount": 5}"#,
        fields,
    );
    assert_eq!(denied.code.as_deref(), Some(code::INVALID_FIELD));
    assert!(denied.reason.contains("`amount` and `context.amount`"));
}

#[test]
fn with_a_schema_the_fields_have_their_declared_types() {
    let policies = with_schema(
        r#"action == Action::"pay" && context.amount == decimal("5.0") || action == Action::"ship""#,
    );
    let ask = |action, context, fields| {
        let explained = explain(&policies, action, context, fields);
        (explained.decision, explained.code)
    };
    let allow = (Decision::Allow, None);
    assert_eq!(ask("pay", "{}", r#"{"amount": 5}"#), allow);
    assert_eq!(ask("pay", r#"{"amount": 5.0}"#, r#"{"amount": 5}"#), allow);
    assert_eq!(
        ask("pay", "{}", r#"{"amount": 5, "environment": "live"}"#),
        allow
    );
    assert_eq!(ask("ship", "{}", r#"{"environment": "live"}"#), allow);
    let refused = |code: &str| (Decision::Deny, Some(code.to_owned()));
    for (action, context, fields, code) in [
        (
            "ship",
            "{}",
            r#"{"environment": "live", "amount": 5}"#,
            code::FIELD_NOT_IN_SCHEMA,
        ),
        (
            "ship",
            r#"{"environment": "live"}"#,
            r#"{"amount": 5}"#,
            code::FIELD_NOT_IN_SCHEMA,
        ),
        (
            "read",
            "{}",
            r#"{"environment": "live"}"#,
            code::FIELD_NOT_IN_SCHEMA,
        ),
        (
            "pay",
            "{}",
            r#"{"amount": 0.00001}"#,
            code::REQUEST_NOT_IN_SCHEMA,
        ),
        (
            "pay",
            "{}",
            r#"{"environment": "live"}"#,
            code::REQUEST_NOT_IN_SCHEMA,
        ),
    ] {
        assert_eq!(
            ask(action, context, fields),
            refused(code),
            "{action} {fields}"
        );
    }
    let reason = explain(&policies, "read", "{}", r#"{"environment": "live"}"#).reason;
    assert!(
        reason.contains("`environment`") && !reason.contains("live"),
        "{reason}"
    );
}

#[test]
fn no_spelling_of_a_number_evades_a_policy() {
    let policies = Policies::parse(
        r#"permit (principal, action, resource);
           @id("tier") forbid (principal, action, resource) when { context.tier == 3 };
           @id("list") forbid (principal, action, resource) when { context.tiers.contains(3) };
           @id("deep") forbid (principal, action, resource) when { context.deep == [{ t: 3 }] };"#,
    )
    .unwrap();
    for three in [
        "3",
        "3.0",
        "3e0",
        "30e-1",
        "0.3E1",
        "3.000e+0",
        "3000000000000000000000e-21",
    ] {
        for (tier, tiers, deep, id) in [
            (three, "1", "1", "tier"),
            ("1", three, "1", "list"),
            ("1", "1", three, "deep"),
        ] {
            let context = format!(
                r#"{{"tier": {tier}, "tiers": [{tiers}, "3"], "deep": [{{"t": {deep}}}]}}"#
            );
            let explained = explain(&policies, "act", &context, "{}");
            assert_eq!(explained.determining, [id], "{context}");
        }
    }
    for other in ["1e9999", "9223372036854775808", "0.00001", "1e-9999"] {
        let context = format!(r#"{{"tier": {other}}}"#);
        let order = without_schema("context has tier && context.tier < 5");
        let explained = explain(&order, "act", &context, "{}");
        assert_eq!(
            explained.code.as_deref(),
            Some(code::POLICY_EVALUATION_ERROR),
            "{other}"
        );
        let text = without_schema(&format!("context.tier == \"{other}\""));
        assert_eq!(
            explain(&text, "act", &context, "{}").decision,
            Decision::Allow,
            "{other}"
        );
    }
}
