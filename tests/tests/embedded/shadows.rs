//! Questions about what would be decided: many of them are one transaction.

use std::pin::pin;

use atlasent::error::Code;
use atlasent::wire::{EvaluateRequest, Evaluation, RequestOptions};
use atlasent::{Agent, AnyAction, Authority, Decision, Error};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::faulty::{Call, Fault, FaultyStore, StoreFaults, When};
use futures_util::FutureExt;

use crate::support::{AGENT, now, refusal};

const POLICIES: &str = r#"
permit (principal, action in [Action::"deploy", Action::"drop"], resource);

@id("freeze") @reason("no drops") @code("FREEZE")
forbid (principal, action == Action::"drop", resource);

@id("people") @decision("hold") @reason("ask a person")
forbid (principal, action == Action::"pay", resource);
"#;

fn shadow(action: &str) -> EvaluateRequest {
    let agent = Agent::new(AGENT).unwrap();
    EvaluateRequest::new(agent, &AnyAction::new(action.to_owned()).unwrap())
        .unwrap()
        .shadow(true)
}

fn faulty() -> (LocalAuthority<FaultyStore>, StoreFaults) {
    let faults = StoreFaults::default();
    let store = FaultyStore::new(faults.clone());
    let builder = LocalAuthority::builder(Policies::parse(POLICIES).unwrap());
    (now(builder.store(store).build()), faults)
}

/// What an answer says about the decision.
fn said(evaluation: &Evaluation) -> (Decision, Option<&str>, Option<&str>) {
    let reason = evaluation.reason.as_deref();
    (evaluation.decision, evaluation.code.as_deref(), reason)
}

fn kinds<S: atlasent_authority::store::Store>(authority: &LocalAuthority<S>) -> Vec<String> {
    let events = now(authority.store().events(1, 1_000, &EventFilter::default()));
    events.iter().map(|event| event.kind.to_string()).collect()
}

#[test]
fn each_gets_its_own_answer_from_one_transaction() {
    let (authority, faults) = faulty();
    let actions = ["deploy", "drop", "pay", "unknown", "deploy"];
    let requests: Vec<_> = (actions.iter().cycle().take(100))
        .map(|action| shadow(action))
        .collect();
    faults.plan(Call::Commit, Fault::Fails, When::Before, 1);
    let answers = now(authority.evaluate_all(&requests));
    assert!(!faults.have_happened(), "one commit");
    faults.clear();

    assert_eq!(answers.len(), requests.len());
    for (request, answer) in requests.iter().zip(&answers) {
        let answer = answer.as_ref().unwrap();
        assert_eq!(said(answer), said(&now(authority.evaluate(request))));
        assert_eq!(
            (&answer.permit_token, &answer.escalation_id),
            (&None, &None)
        );
    }
    let kinds = kinds(&authority);
    assert_eq!(kinds[..100], kinds[100..], "each is on record, in order");
    assert_eq!(
        kinds[..4],
        [
            "evaluate.allow",
            "evaluate.deny",
            "evaluate.hold",
            "evaluate.deny"
        ]
    );
    assert!(now(authority.trail()).verify().is_intact());
}

#[test]
fn one_that_cannot_be_decided_is_an_error_alone() {
    let (authority, _) = faulty();
    let contradicts = AnyAction::new("deploy")
        .unwrap()
        .with_field("environment", "staging")
        .unwrap();
    let wrong = EvaluateRequest::new(Agent::new(AGENT).unwrap(), &contradicts)
        .unwrap()
        .with_options(RequestOptions::default().environment("production"))
        .shadow(true);
    let answers = now(authority.evaluate_all(&[shadow("drop"), wrong, shadow("deploy")]));
    let [first, wrong, last] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(said(first.as_ref().unwrap()).1, Some("FREEZE"));
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
    assert!(last.as_ref().unwrap().decision.is_allow());
    assert_eq!(kinds(&authority), ["evaluate.deny", "evaluate.allow"]);
}

#[test]
fn what_cannot_be_recorded_is_no_answer() {
    for when in [When::Before, When::After] {
        let (authority, faults) = faulty();
        faults.plan(Call::Commit, Fault::Fails, when, 0);
        let error = refusal(authority.evaluate_all(&[shadow("deploy"), shadow("drop")]));
        assert_eq!(error.code(), Some(Code::ServerError), "{error}");
    }
}

#[test]
fn policies_that_change_meanwhile_decide() {
    let (authority, faults) = faulty();
    let requests = [shadow("deploy"), shadow("drop")];
    faults.pause(Call::Commit);
    let mut asking = pin!(authority.evaluate_all(&requests));
    assert!(asking.as_mut().now_or_never().is_none());
    let others = Policies::parse(r#"permit (principal, action == Action::"drop", resource);"#);
    now(authority.replace_policies(others.unwrap()));
    let decisions: Vec<_> = (now(asking).into_iter())
        .map(|answer| answer.unwrap().decision)
        .collect();
    assert_eq!(decisions, [Decision::Deny, Decision::Allow]);
    assert_eq!(
        kinds(&authority),
        ["policy.loaded", "evaluate.deny", "evaluate.allow"]
    );
}

#[test]
fn no_question_is_no_answer() {
    let (authority, _) = faulty();
    assert!(now(authority.evaluate_all(&[])).is_empty());
}
