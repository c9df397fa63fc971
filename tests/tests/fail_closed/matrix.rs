//! Tests every evaluation with every verification, by every way to ask.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use atlasent::authority::{DynAuthority, WithIssuer};
use atlasent::permit::PermitRecord;
use atlasent::testing::{Call, MockAuthority, Reply};
use atlasent::wire::{
    EvaluateRequest, Evaluation, PermitStatus, PermitToken, Verification, VerifyRequest,
};
use atlasent::{AnyAction, Authority, AuthorityExt, Error, Guarded, protect};
use atlasent_tests::cases::{ACTION, AGENT, Case, Says, both, evaluations, verifications};
use atlasent_tests::{Driven, Ran, drive, quiet_panics};

use crate::guarded;
use crate::paths::{async_paths, sync_paths};

/// The most polls of a future that may never end. The other futures need one poll.
const POLLS: usize = 3;

type Pair<'a> = (&'a Case<Evaluation>, &'a Case<Verification>);

/// Calls `check` with each pair of answers, and an authority that gives them.
fn every_pair(mut check: impl FnMut(Pair<'_>, &Arc<MockAuthority>)) {
    quiet_panics();
    let (evaluations, verifications) = (evaluations(), verifications());
    for evaluation in &evaluations {
        for verification in &verifications {
            let authority = MockAuthority::new()
                .on_evaluate(ACTION, evaluation.reply.clone())
                .on_verify(ACTION, verification.reply.clone())
                .allow("other");
            check((evaluation, verification), &Arc::new(authority));
        }
    }
}

/// Compares the result with the meaning of the two answers.
fn agrees(happened: &Driven<Result<(), Error>>, ran: &Ran, says: &Says) -> Result<(), String> {
    let as_told = match (happened, says) {
        (Driven::Done(Ok(())), Says::Yes) => return expect_count(ran, 1),
        (Driven::Done(Err(Error::Denied(denied))), Says::No(refusal)) => {
            denied.decision() == refusal.decision
                && denied.reason().starts_with(&refusal.reason)
                && denied.code() == refusal.code.as_deref()
                && denied.permit_outcome() == refusal.outcome
                && denied.action() == ACTION
                && denied.agent().as_str() == AGENT
        }
        (Driven::Done(Err(Error::Failed(failure))), Says::Fails(code)) => failure.code() == *code,
        (Driven::Panicked, Says::Panics) | (Driven::Pending, Says::Never) => true,
        _ => false,
    };
    if !as_told {
        return Err(format!("expected {says:?}, got {happened:?}"));
    }
    expect_count(ran, 0)
}

fn expect_count(ran: &Ran, expected: usize) -> Result<(), String> {
    match ran.count() {
        count if count == expected => Ok(()),
        count => Err(format!("the body ran {count} times")),
    }
}

/// Asserts that the permit is verified exactly if the evaluation allowed, with the same agent and
/// action.
fn verifies_only_after_a_yes(authority: &MockAuthority, says: &Says, asked: usize, name: &str) {
    let calls = authority.calls();
    let verified = calls.iter().filter(|call| match call {
        Call::Verify(request) if request.action_type.as_deref() == Some(ACTION) => {
            assert_eq!(request.actor_id, atlasent::Agent::new(AGENT).ok());
            assert!(request.execution_hash.is_some());
            true
        }
        _ => false,
    });
    let expected = if matches!(says, Says::Yes) { asked } else { 0 };
    assert_eq!(verified.count(), expected, "{name}");
}

fn still_usable(authority: &impl Authority) -> bool {
    let other = authority.protect(AGENT, AnyAction::new("other").unwrap());
    matches!(drive(other, 1), Driven::Done(Ok(_)))
}

fn check_async<P: Authority>(pair: Pair<'_>, authority: &P) -> usize {
    let says = both(&pair.0.says, &pair.1.says);
    let mut paths = async_paths::<P>();
    paths.extend(guarded::async_paths::<P>());
    for (path, ask) in &paths {
        let ran = Ran::new();
        let happened = drive(ask(authority, &ran), POLLS);
        if let Err(why) = agrees(&happened, &ran, says) {
            panic!("{path}, {}, then {}: {why}", pair.0.name, pair.1.name);
        }
        assert!(still_usable(authority));
    }
    paths.len()
}

fn check_sync<P: Authority>(pair: Pair<'_>, authority: &P) -> usize {
    let says = both(&pair.0.says, &pair.1.says);
    if matches!(says, Says::Never) {
        // This would block the thread forever. `waiting.rs` tests these cases with an authority
        // that can be released.
        return 0;
    }
    let mut paths = sync_paths::<P>();
    paths.extend(guarded::sync_paths::<P>());
    for (path, ask) in &paths {
        let ran = Ran::new();
        let happened = match catch_unwind(AssertUnwindSafe(|| ask(authority, &ran))) {
            Ok(result) => Driven::Done(result),
            Err(_) => Driven::Panicked,
        };
        if let Err(why) = agrees(&happened, &ran, says) {
            panic!("{path}, {}, then {}: {why}", pair.0.name, pair.1.name);
        }
        assert!(still_usable(authority));
    }
    paths.len()
}

#[test]
fn an_async_body_runs_only_on_two_genuine_answers() {
    let mut driven = 0;
    every_pair(|pair, authority| {
        let asked = check_async::<MockAuthority>(pair, authority);
        driven += asked;
        verifies_only_after_a_yes(authority, &pair.0.says, asked, &pair.0.name);
    });
    println!("{driven} calls");
    assert!(driven > 20_000, "the matrix shrank to {driven} calls");
}

#[test]
fn a_sync_body_runs_only_on_two_genuine_answers() {
    let mut driven = 0;
    every_pair(|pair, authority| {
        let asked = check_sync::<MockAuthority>(pair, authority);
        driven += asked;
        verifies_only_after_a_yes(authority, &pair.0.says, asked, &pair.0.name);
    });
    println!("{driven} calls");
    assert!(driven > 15_000, "the matrix shrank to {driven} calls");
}

#[test]
fn behind_a_pointer_the_same_bodies_run() {
    let mut driven = 0;
    every_pair(|pair, authority| {
        let pointer: Arc<dyn DynAuthority> = Arc::<MockAuthority>::clone(authority);
        let asked = check_async(pair, &pointer) + check_sync(pair, &pointer);
        driven += asked;
        verifies_only_after_a_yes(authority, &pair.0.says, asked, &pair.0.name);
    });
    println!("{driven} calls");
    assert!(driven > 35_000, "the matrix shrank to {driven} calls");
}

/// Gives both answers in one step, as the embedded authority does.
struct OneStep(Arc<MockAuthority>);

impl Authority for OneStep {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.0.evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.0.verify(request).await
    }

    async fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> Result<(Evaluation, Option<Verification>), Error> {
        let evaluation = self.0.evaluate(request).await?;
        // It verifies what was not allowed, too, which must change nothing.
        let token = evaluation.permit_token.clone();
        let token = token.filter(|token| !token.is_empty());
        let is_granted = evaluation.decision.is_allow() && token.is_some();
        let mut restated = restated.clone();
        restated.permit_token = token.unwrap_or_else(|| PermitToken::new("invented").unwrap());
        match self.0.verify(&restated).await {
            Ok(verification) => Ok((evaluation, Some(verification))),
            Err(_) if !is_granted => Ok((evaluation, None)),
            Err(error) => Err(error),
        }
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.0.permit_status(permit).await
    }
}

#[test]
fn both_answers_in_one_step_run_the_same_bodies() {
    let mut driven = 0;
    every_pair(|pair, authority| {
        if matches!(pair.1.says, Says::Never | Says::Panics) && !matches!(pair.0.says, Says::Yes) {
            // The verification does not happen for these, or never ends.
            return;
        }
        let one_step = WithIssuer::new(OneStep(Arc::clone(authority)));
        let pointer: Arc<dyn DynAuthority> = Arc::new(one_step);
        driven += check_async(pair, &pointer) + check_sync(pair, &pointer);
    });
    println!("{driven} calls");
    assert!(driven > 25_000, "the matrix shrank to {driven} calls");
}

#[test]
fn no_pair_of_answers_opens_what_another_authority_guards() {
    let another = MockAuthority::new();
    let mut granted = 0;
    every_pair(|pair, authority| {
        let ran = Ran::new();
        let guarded = Guarded::granted_by(&another, &ran).unwrap();
        let happened = drive(
            async {
                let permit = authority.protect(AGENT, guarded::Deploy).await?;
                granted += 1;
                guarded.with(permit, |ran| ran.hit())
            },
            POLLS,
        );
        let opened = matches!(happened, Driven::Done(Ok(())));
        assert!(!opened && ran.count() == 0, "{}", pair.1.name);
    });
    assert!(granted > 0, "no pair granted a permit");
}

#[test]
fn no_pair_of_answers_makes_an_expired_permit_good() {
    quiet_panics();
    let mut granted = 0;
    for evaluation in evaluations() {
        let Reply::Answer(mut answer) = evaluation.reply else {
            continue;
        };
        answer.expires_at = Some("2001-01-01T00:00:00Z".to_owned());
        for verification in verifications() {
            let authority = MockAuthority::new()
                .on_evaluate(ACTION, Reply::Answer(answer.clone()))
                .on_verify(ACTION, verification.reply.clone());
            let ran = Ran::new();
            let guarded = Guarded::granted_by(&authority, &ran).unwrap();
            let happened = drive(
                async {
                    let permit = authority.protect(AGENT, guarded::Deploy).await?;
                    granted += 1;
                    assert!(permit.require_active().is_err());
                    assert!(permit.recheck(&authority).await.is_err());
                    guarded.with(permit, |ran| ran.hit())
                },
                POLLS,
            );
            let opened = matches!(happened, Driven::Done(Ok(())));
            assert!(!opened && ran.count() == 0, "{}", verification.name);
        }
    }
    assert!(granted > 0, "no pair granted a permit");
}

#[test]
fn every_path_refuses_an_answer_without_a_script() {
    let authority = MockAuthority::new();
    for (path, ask) in async_paths::<MockAuthority>() {
        let ran = Ran::new();
        let denied = matches!(
            drive(ask(&authority, &ran), 1),
            Driven::Done(Err(Error::Denied(_)))
        );
        assert!(denied && ran.count() == 0, "{path}");
    }
}

#[test]
fn a_program_without_an_authority_runs_nothing() {
    #[protect(action = "deploy.production", agent = "deploy-bot")]
    fn deploy(ran: &Ran) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }

    let ran = Ran::new();
    assert!(matches!(deploy(&ran), Err(Error::Config(_))));
    assert_eq!(ran.count(), 0);
}

#[test]
fn a_request_that_cannot_be_made_asks_nobody_and_runs_nothing() {
    #[protect(action = "deploy.production", agent = agent, context = { ratio }, authority = authority)]
    async fn deploy(
        authority: &MockAuthority,
        agent: &str,
        ratio: f64,
        ran: &Ran,
    ) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }

    let authority = MockAuthority::new().allow(ACTION);
    let ran = Ran::new();
    for (agent, ratio) in [("", 0.5), (&*"x".repeat(257), 0.5), (AGENT, f64::NAN)] {
        let happened = drive(deploy(&authority, agent, ratio, &ran), 1);
        assert!(matches!(happened, Driven::Done(Err(Error::Invalid(_)))));
    }
    assert_eq!((authority.calls().len(), ran.count()), (0, 0));
    drive(deploy(&authority, AGENT, 0.5, &ran), 1);
    assert_eq!(ran.count(), 1);
}
