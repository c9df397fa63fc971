//! Tests that a guarded value accepts only the permits of its own authority.

use std::sync::{Arc, Mutex};

use atlasent::authority::{DynAuthority, IssuerId, WithIssuer};
use atlasent::blocking::wait;
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Action, AnyAction, Authority, AuthorityExt, Decision, Error, Guarded, Permit};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, AGENT};

#[derive(Action)]
#[action("deploy.production")]
struct Deploy;

fn allowing() -> LocalAuthority {
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    LocalAuthority::in_memory(policies).unwrap()
}

/// Tries the permit on each way to reach a guarded value, and returns whether they opened it.
/// Asserts that all ways agree.
fn opens(authority: &impl Authority, mut permit: impl FnMut() -> Permit<Deploy>) -> bool {
    let ran = Ran::new();
    let guarded = Guarded::granted_by(authority, &ran).unwrap();
    let results = [
        guarded.with(permit(), |ran| ran.hit()),
        wait(guarded.with_async(permit(), async |ran| ran.hit())),
        guarded.open(permit()).map(|ran| ran.hit()),
        permit().require_granted_by(authority),
    ];
    let opened = results.iter().all(Result::is_ok);
    assert!(opened || results.iter().all(Result::is_err), "{results:?}");
    assert_eq!(ran.count(), if opened { 3 } else { 0 });
    opened
}

fn permit_of(authority: &impl Authority) -> Permit<Deploy> {
    wait(authority.protect(AGENT, Deploy)).unwrap()
}

/// An authority that allows everything, in one of the ways that a malicious dependency could try.
struct Meddler<V> {
    verify: V,
    claims: Option<IssuerId>,
}

impl<V> Authority for Meddler<V>
where
    V: Fn(&VerifyRequest) -> Verification + Send + Sync,
{
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Ok(Evaluation::allow(PermitToken::new(
            "permit_of_the_meddler",
        )?))
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        Ok((self.verify)(request))
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.claims
    }
}

/// Returns a verification that the real authority gave to another request.
fn genuine(real: &LocalAuthority, agent: &str) -> (VerifyRequest, Verification) {
    let request = EvaluateRequest::new(atlasent::Agent::new(agent).unwrap(), &Deploy).unwrap();
    let token = wait(real.evaluate(&request)).unwrap().permit_token.unwrap();
    let question = VerifyRequest::restating(&request, token);
    let answer = wait(real.verify(&question)).unwrap();
    assert!(answer.is_good());
    (question, answer)
}

fn meddler<V>(claims: Option<IssuerId>, verify: V) -> Meddler<V>
where
    V: Fn(&VerifyRequest) -> Verification + Send + Sync,
{
    Meddler { verify, claims }
}

#[test]
fn the_permits_of_an_authority_open_what_it_guards() {
    let real = Arc::new(allowing());
    assert!(opens(&real, || permit_of(&real)));
    assert!(opens(&*real, || permit_of(&real)));
    let pointer: Arc<dyn DynAuthority> = Arc::<LocalAuthority>::clone(&real);
    assert!(opens(&real, || permit_of(&pointer)));
    assert!(opens(&pointer, || permit_of(&*real)));
    let shared = atlasent_axum::SharedAuthority::new(Arc::clone(&real));
    assert!(opens(&shared, || permit_of(&real)));
    assert!(opens(&real, || permit_of(&shared)));
}

#[test]
fn the_permits_of_another_authority_do_not() {
    let (real, other) = (allowing(), allowing());
    assert!(!opens(&real, || permit_of(&other)));
    let mock = MockAuthority::new().allow(ACTION);
    assert!(!opens(&real, || permit_of(&mock)));
    assert!(!opens(&mock, || permit_of(&real)));
    assert!(!opens(&real, || permit_of(&WithIssuer::new(&real))));
}

#[test]
fn an_authority_that_passes_answers_on_is_the_one_that_it_wraps() {
    struct Logged<P>(P, Mutex<Vec<String>>);

    impl<P: Authority> Authority for Logged<P> {
        async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
            self.0.evaluate(request).await
        }

        async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
            let answer = self.0.verify(request).await?;
            self.1.lock().unwrap().push(format!("{answer:?}"));
            Ok(answer)
        }
    }

    let real = allowing();
    let logged = Logged(&real, Mutex::default());
    assert!(opens(&real, || permit_of(&logged)));
    assert_eq!(logged.1.lock().unwrap().len(), 4);
    // The wrapper has no issuer, so it cannot guard a value.
    let error = Guarded::<_, Deploy>::granted_by(&logged, ()).unwrap_err();
    assert!(
        matches!(&error, Error::Config(why) if why.message().contains("WithIssuer")),
        "{error}"
    );
}

#[test]
fn an_authority_that_claims_to_be_another_opens_nothing() {
    let real = allowing();
    for claims in [None, real.issuer()] {
        let liar = meddler(claims, |_| Verification::valid());
        assert!(!opens(&real, || permit_of(&liar)));
    }
}

#[test]
fn a_genuine_answer_to_another_question_opens_nothing() {
    let real = allowing();
    // An answer that is kept from an earlier request and moved, so that it still carries its mark.
    let kept = Mutex::new(Vec::new());
    for _ in 0..4 {
        kept.lock().unwrap().push(genuine(&real, AGENT).1);
    }
    let replayer = meddler(real.issuer(), |_| kept.lock().unwrap().pop().unwrap());
    assert!(!opens(&real, || permit_of(&replayer)));
    // The meddler verifies its own request while ours waits.
    let asker = meddler(real.issuer(), |_| genuine(&real, "somebody-privileged").1);
    assert!(!opens(&real, || permit_of(&asker)));
    // The meddler verifies a copy of our request, with a token that the real authority knows.
    let copier = meddler(real.issuer(), |ours| {
        let (theirs, _) = genuine(&real, AGENT);
        let request = EvaluateRequest::new(atlasent::Agent::new(AGENT).unwrap(), &Deploy).unwrap();
        let token = wait(real.evaluate(&request)).unwrap().permit_token.unwrap();
        let mut copy = ours.clone();
        copy.permit_token = token;
        assert_ne!(copy.permit_token, theirs.permit_token);
        wait(real.verify(&copy)).unwrap()
    });
    assert!(!opens(&real, || permit_of(&copier)));
}

/// An authority that gives both answers in one step, in one of the ways that a malicious dependency
/// could try.
struct OneStep<F>(F, IssuerId);

impl<F> Authority for OneStep<F>
where
    F: Fn(&EvaluateRequest, &VerifyRequest) -> (Evaluation, Option<Verification>) + Send + Sync,
{
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Ok(Evaluation::refuse(
            Decision::Deny,
            "both answers come in one step",
        ))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Ok(Verification::valid())
    }

    async fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> Result<(Evaluation, Option<Verification>), Error> {
        Ok((self.0)(request, restated))
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.1)
    }
}

fn in_one_step<F>(real: &LocalAuthority, answers: F) -> OneStep<F>
where
    F: Fn(&EvaluateRequest, &VerifyRequest) -> (Evaluation, Option<Verification>) + Send + Sync,
{
    OneStep(answers, real.issuer().unwrap())
}

#[test]
fn answers_in_one_step_open_only_what_their_authority_gave_them_for() {
    let real = allowing();
    let genuine = |request: &EvaluateRequest, restated: &VerifyRequest| {
        let answers = wait(real.evaluate_and_verify(request, restated)).unwrap();
        assert!(answers.1.as_ref().unwrap().is_good());
        answers
    };
    let forwarding = in_one_step(&real, genuine);
    assert!(opens(&real, || permit_of(&forwarding)));

    let invented = || Evaluation::allow(PermitToken::new("permit_of_the_meddler").unwrap());
    let liar = in_one_step(&real, |_, _| (invented(), Some(Verification::valid())));
    assert!(!opens(&real, || permit_of(&liar)));
    let late = in_one_step(&real, |_, _| (invented(), None));
    assert!(!opens(&real, || permit_of(&late)));
    // The mark is that of another allow.
    let exchanging = in_one_step(&real, |request, restated| {
        (invented(), genuine(request, restated).1)
    });
    assert!(!opens(&real, || permit_of(&exchanging)));
    let mixing = in_one_step(&real, |request, restated| {
        (genuine(request, restated).0, genuine(request, restated).1)
    });
    assert!(!opens(&real, || permit_of(&mixing)));
    // The mark is for a request of the meddler's.
    let copying = in_one_step(&real, |request, restated| {
        genuine(request, &restated.clone())
    });
    assert!(!opens(&real, || permit_of(&copying)));
    // Answers that were kept from an earlier request.
    let kept = Mutex::new(Vec::new());
    let keeping = in_one_step(&real, |request, restated| {
        let mut kept = kept.lock().unwrap();
        kept.push(genuine(request, restated));
        match kept.len() {
            1 => (invented(), Some(Verification::valid())),
            _ => kept.remove(0),
        }
    });
    assert!(!opens(&real, || permit_of(&keeping)));
}

#[test]
fn another_request_is_refused_in_one_step_as_in_two() {
    let real = allowing();
    let other = |action: &'static str, agent: &'static str| {
        let action = AnyAction::new(action).unwrap();
        EvaluateRequest::new(atlasent::Agent::new(agent).unwrap(), &action).unwrap()
    };
    for theirs in [other("read", AGENT), other(ACTION, "somebody-privileged")] {
        let asking = in_one_step(&real, |_, restated| {
            wait(real.evaluate_and_verify(&theirs, restated)).unwrap()
        });
        let ran = Ran::new();
        let body = async |_| {
            ran.hit();
            Ok::<_, Error>(())
        };
        let error = wait(asking.with_permit(AGENT, Deploy, body)).unwrap_err();
        let code = error.denied().unwrap().code().map(str::to_owned);
        assert!(
            code.is_some_and(|code| code.contains("MISMATCH")),
            "{error:?}"
        );
        assert_eq!(ran.count(), 0);
    }
}

#[test]
fn a_genuine_refusal_turned_into_a_yes_opens_nothing() {
    let real = allowing();
    let flipper = meddler(real.issuer(), |ours| {
        let mut answer = wait(real.verify(ours)).unwrap();
        assert!(!answer.is_good());
        let good = Verification::valid();
        answer.valid = true;
        answer.outcome = good.outcome;
        answer.consumed = good.consumed;
        answer.verify_error_code = None;
        answer.decision = None;
        answer
    });
    assert!(!opens(&real, || permit_of(&flipper)));
}

#[test]
fn a_copied_answer_opens_nothing() {
    let real = allowing();
    struct Copier<'a>(&'a LocalAuthority);
    impl Authority for Copier<'_> {
        async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
            self.0.evaluate(request).await
        }

        async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
            let answer = self.0.verify(request).await?;
            Ok(Verification::clone(&answer))
        }
    }
    assert!(!opens(&real, || permit_of(&Copier(&real))));
}

#[test]
fn an_authority_without_an_issuer_gets_one_by_its_wrapper() {
    let bare = || meddler(None, |_| Verification::valid());
    let (ours, other) = (WithIssuer::new(bare()), WithIssuer::new(bare()));
    assert!(opens(&ours, || permit_of(&ours)));
    assert!(!opens(&ours, || permit_of(&other)));
    assert!(!opens(&ours, || permit_of(ours.get_ref())));
}

#[test]
fn without_a_default_authority_nothing_opens_by_default() {
    let ran = Ran::new();
    let guarded = Guarded::new(&ran);
    for permit in [
        permit_of(&allowing()),
        permit_of(&MockAuthority::new().allow(ACTION)),
    ] {
        let error = guarded.with(permit, |ran| ran.hit()).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
    assert_eq!(ran.count(), 0);
}

#[test]
fn a_permit_is_not_marked_by_an_answer_that_is_no_yes() {
    let mut said = Verification::valid();
    said.consumed = Some(false);
    let mock = MockAuthority::new().on_verify(ACTION, Reply::Answer(said));
    let error = wait(mock.protect(AGENT, Deploy)).unwrap_err();
    let reason = error.denied().unwrap().reason();
    assert!(reason.contains("contradicts itself"), "{reason}");
}
