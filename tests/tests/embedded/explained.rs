//! Tests the explanation of a policy that fails to evaluate.

use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Authority, AuthorityExt, blocking};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::capture;

const POLICIES: &str = r#"
    @id("deployers") permit (principal, action == Action::"deploy", resource);
    @id("limit") forbid (principal, action == Action::"deploy", resource) when { context.replicas > 50 };
    @id("never") @decision("hold") forbid (principal, action == Action::"drop", resource);
"#;

const LINE: &str =
    "<policies>:3:82: policy `limit`: `context.replicas`: type error: expected long, got string";

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse(POLICIES).unwrap()).unwrap()
}

fn deploy() -> AnyAction {
    AnyAction::new("deploy")
        .unwrap()
        .with_field("replicas", "SECRET")
        .unwrap()
}

#[test]
fn a_refusal_in_process_carries_place_attribute_and_types() {
    let error = blocking::protect(&authority(), "bot", deploy()).unwrap_err();
    let denied = error.denied().unwrap();
    assert_eq!(denied.code(), Some("POLICY_EVALUATION_ERROR"));
    assert_eq!(denied.reason(), "policy `limit` could not be evaluated");
    assert_eq!(denied.explanation(), [LINE]);
    assert!(!format!("{denied:?}").contains("SECRET"));
}

#[test]
fn the_log_warns_of_it_on_one_line_and_quotes_no_value() {
    let authority = authority();
    let agent = "bot\n2026 INFO allowed";
    let (_, seen) = capture(|| blocking::protect(&authority, agent, deploy()).unwrap_err());
    let warned: Vec<_> = seen
        .iter()
        .filter(|seen| {
            seen.level == tracing::Level::WARN && seen.name.contains("could not be evaluated")
        })
        .collect();
    assert_eq!(warned.len(), 1, "{seen:?}");
    assert_eq!(warned[0].target, "atlasent");
    assert_eq!(warned[0].fields["error"], LINE);
    assert_eq!(warned[0].fields["action"], "deploy");
    assert!(!warned[0].fields["agent"].contains('\n'), "{warned:?}");
    assert!(!format!("{seen:?}").contains("SECRET"), "{seen:?}");
}

#[test]
fn a_request_for_an_explanation_is_told_which_policies_decided() {
    let authority = authority();
    let explained = |explain: bool| {
        let drop = AnyAction::new("drop").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &drop)
            .unwrap()
            .with_options(RequestOptions::default().explain(explain));
        blocking::wait(authority.evaluate(&request))
            .unwrap()
            .explanation
    };
    assert_eq!(explained(true), ["<policies>:4:5: policy `never`: hold"]);
    assert!(explained(false).is_empty());
}

#[test]
fn an_allow_has_no_explanation() {
    let authority = authority();
    let action = AnyAction::new("deploy")
        .unwrap()
        .with_field("replicas", &3)
        .unwrap();
    let ask = authority
        .ask("bot", action)
        .options(|options| options.explain(true));
    drop(blocking::wait(ask.protect()).unwrap());
}
