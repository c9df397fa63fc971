//! Tests every evaluation with every verification, on every way to an inner service.

use std::sync::Arc;

use atlasent::error::Code;
use atlasent::permit::PermitRecord;
use atlasent::testing::{Call, MockAuthority};
use atlasent::wire::{Evaluation, Verification};
use atlasent_tests::cases::{ACTION, AGENT, Case, Says, both, evaluations, verifications};
use atlasent_tests::{Driven, drive, quiet_panics};

use crate::answer::{Answer, ask};
use crate::inner::{Broken, Inner};
use crate::ways::ways;

/// The most polls of a future that may never end. The other futures need at most two polls.
const POLLS: usize = 3;

type Happened = Driven<Result<Answer, Broken>>;

/// Compares the result with the meaning of the two answers.
fn agrees(happened: &Happened, says: &Says) -> Result<(), String> {
    let agrees = match (happened, says) {
        (Driven::Done(Ok(answer)), Says::Yes) => answer.status == 200 && answer.body == "ran",
        (Driven::Done(Ok(answer)), Says::No(refusal)) => {
            let problem = answer.problem();
            let reason = problem["reason"].as_str().unwrap_or_default();
            answer.status == 403
                && problem["decision"] == refusal.decision.as_str()
                && reason.starts_with(&refusal.reason)
                && problem["code"].as_str() == refusal.code.as_deref()
        }
        (Driven::Done(Ok(answer)), Says::Fails(code)) => {
            answer.problem();
            answer.status == status_of(*code)
        }
        (Driven::Panicked, Says::Panics) | (Driven::Pending, Says::Never) => true,
        _ => false,
    };
    match agrees {
        true => Ok(()),
        false => Err(format!("expected {says:?}, got {happened:?}")),
    }
}

/// Returns the status for a failure: 503 if a retry may help, otherwise 500.
fn status_of(code: Code) -> u16 {
    match code {
        Code::InvalidApiKey | Code::Forbidden | Code::BadRequest => 500,
        _ => 503,
    }
}

/// Whether the response has a permit record.
fn has_record(happened: &Happened) -> bool {
    match happened {
        Driven::Done(Ok(answer)) => answer.extensions.get::<PermitRecord>().is_some(),
        _ => false,
    }
}

fn check(evaluation: &Case<Evaluation>, verification: &Case<Verification>) -> usize {
    let says = both(&evaluation.says, &verification.says);
    let expected = usize::from(matches!(says, Says::Yes));
    let ways = ways::<MockAuthority>();
    for way in &ways {
        let case = format!(
            "{}, {}, then {}",
            way.name, evaluation.name, verification.name
        );
        let authority = Arc::new(
            MockAuthority::new()
                .on_evaluate(ACTION, evaluation.reply.clone())
                .on_verify(ACTION, verification.reply.clone()),
        );
        let inner = Inner::new();
        let service = (way.around)(Arc::clone(&authority), inner.clone());
        let happened = drive(ask(service, (way.request)()), POLLS);
        if let Err(why) = agrees(&happened, says) {
            panic!("{case}: {why}");
        }
        assert_eq!(inner.count(), expected, "{case}");
        assert_eq!(has_record(&happened), expected == 1, "{case}");
        check_calls(&authority.calls(), &evaluation.says, &case);
    }
    ways.len()
}

/// Asserts one evaluation, and one verification exactly if the evaluation allowed.
fn check_calls(calls: &[Call], evaluated: &Says, case: &str) {
    match (calls, evaluated) {
        ([Call::Evaluate(first), Call::Verify(second)], Says::Yes) => {
            assert_eq!(
                (&*first.action_type, first.actor_id.as_str()),
                (ACTION, AGENT),
                "{case}"
            );
            assert_eq!(
                (
                    second.action_type.as_deref(),
                    second.actor_id.as_ref().map(atlasent::Agent::as_str)
                ),
                (Some(ACTION), Some(AGENT)),
                "{case}"
            );
            assert_eq!(
                second.execution_hash,
                Some(first.execution_hash()),
                "{case}"
            );
        }
        ([Call::Evaluate(_)], says) if !matches!(says, Says::Yes) => {}
        _ => panic!("{case}: {calls:?}"),
    }
}

#[test]
fn the_inner_service_is_called_only_on_two_genuine_answers() {
    quiet_panics();
    let verifications = verifications();
    let driven: usize = evaluations()
        .iter()
        .flat_map(|evaluation| {
            verifications
                .iter()
                .map(move |verification| (evaluation, verification))
        })
        .map(|(evaluation, verification)| check(evaluation, verification))
        .sum();
    println!("{driven} requests");
    assert!(driven > 30_000, "the matrix shrank to {driven} requests");
}

#[test]
fn every_way_refuses_an_answer_without_a_script() {
    for way in ways::<MockAuthority>() {
        let inner = Inner::new();
        let service = (way.around)(Arc::default(), inner.clone());
        let answer = futures_executor::block_on(ask(service, (way.request)())).unwrap();
        assert_eq!(
            (answer.status.as_u16(), inner.count()),
            (403, 0),
            "{}",
            way.name
        );
    }
}
