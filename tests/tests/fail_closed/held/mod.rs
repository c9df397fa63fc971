//! Tests that a held call that waits for approvers runs its body exactly if the escalation was
//! approved and both answers after it are genuine, for every status, fault, order and way to wait.

mod cases;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atlasent::error::{Code, Failure};
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest,
};
use atlasent::{Authority, AuthorityExt, Decision, Error, blocking, boundary, protect};
use atlasent_tests::cases::{ACTION, AGENT, Case, Says, TOKEN, both, evaluations, verifications};
use atlasent_tests::{Driven, Ran, drive, quiet_panics};

use crate::paths::{AsyncPath, SyncPath, action};

const ID: &str = "esc_0123456789abcdef0123456789abcdef";
const WAIT: Duration = Duration::from_secs(600);

fn async_paths<P: Authority>() -> Vec<(&'static str, AsyncPath<P>)> {
    vec![
        ("async fn", |p, ran| Box::pin(annotated(p, ran))),
        ("async method of a boundary", |p, ran| {
            Box::pin(async move { Bounded(p).deploy(ran).await })
        }),
        ("protect", |p, ran| {
            Box::pin(async move {
                drop(p.ask(AGENT, action()).wait(WAIT).protect().await?);
                ran.hit();
                Ok(())
            })
        }),
        ("gate", |p, ran| {
            Box::pin(async move {
                let gate = p.ask(AGENT, action()).wait(WAIT).gate().await?;
                assert!(gate.evaluation.decision.is_allow());
                ran.hit();
                Ok(())
            })
        }),
        ("with_permit", |p, ran| {
            let ask = p.ask(AGENT, action()).wait(WAIT);
            Box::pin(ask.with_permit(async |_permit| {
                ran.hit();
                Ok(())
            }))
        }),
        ("authorize", |p, ran| {
            Box::pin(async move {
                let answer = p.ask(AGENT, action()).wait(WAIT).authorize().await?;
                match answer.denied() {
                    Some(denied) => return Err(denied.clone().into()),
                    None => ran.hit(),
                }
                Ok(())
            })
        }),
    ]
}

fn sync_paths<P: Authority>() -> Vec<(&'static str, SyncPath<P>)> {
    vec![
        ("fn", annotated_sync),
        ("blocking::wait", |p, ran| {
            drop(blocking::wait(p.ask(AGENT, action()).wait(WAIT).protect())?);
            ran.hit();
            Ok(())
        }),
    ]
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority, wait = "10m")]
async fn annotated<P: Authority>(authority: &P, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority, wait = WAIT)]
fn annotated_sync<P: Authority>(authority: &P, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

struct Bounded<'a, P>(&'a P);

#[boundary(authority = self.0, agent = "deploy-bot", wait = "10m")]
impl<P: Authority> Bounded<'_, P> {
    #[protect(action = "deploy.production")]
    pub(crate) async fn deploy(&self, ran: &Ran) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }
}

/// An authority whose answers are scripted by their order.
struct Scripted {
    first: MockAuthority,
    second: MockAuthority,
    wait: Reply<EscalationStatus>,
    evaluated: AtomicUsize,
    waited: AtomicUsize,
}

impl Scripted {
    fn new(
        first: &Reply<Evaluation>,
        wait: &Reply<EscalationStatus>,
        second: &Reply<Evaluation>,
        verify: &Reply<Verification>,
    ) -> Self {
        let mock = |evaluate: &Reply<Evaluation>| {
            MockAuthority::new()
                .on_evaluate(ACTION, evaluate.clone())
                .on_verify(ACTION, verify.clone())
        };
        Self {
            first: mock(first),
            second: mock(second),
            wait: wait.clone(),
            evaluated: AtomicUsize::new(0),
            waited: AtomicUsize::new(0),
        }
    }

    /// Returns how often the authority evaluated and waited.
    fn calls(&self) -> (usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (count(&self.evaluated), count(&self.waited))
    }
}

impl Authority for Scripted {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        match self.evaluated.fetch_add(1, Ordering::SeqCst) {
            0 => self.first.evaluate(request).await,
            _ => self.second.evaluate(request).await,
        }
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.first.verify(request).await
    }

    async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        assert_eq!((id, at_most), (ID, WAIT));
        self.waited.fetch_add(1, Ordering::SeqCst);
        match &self.wait {
            Reply::Answer(status) => Ok(status.clone()),
            Reply::Fail(code) => Err(Failure::new(*code, "scripted").into()),
            Reply::Panic => panic!("scripted"),
            _ => std::future::pending().await,
        }
    }
}

fn held(decision: Decision, id: Option<&str>) -> Reply<Evaluation> {
    Reply::Answer(hold(decision, id))
}

fn hold(decision: Decision, id: Option<&str>) -> Evaluation {
    let mut held = Evaluation::refuse(decision, "two people");
    held.escalation_id = id.map(str::to_owned);
    held.retry_after = Some(Duration::from_secs(30));
    held.code = Some("HELD".to_owned());
    held
}

fn word(word: &str) -> Reply<EscalationStatus> {
    Reply::Answer(EscalationStatus::from(word.to_owned()))
}

fn waits() -> Vec<Reply<EscalationStatus>> {
    let words = [
        "approved",
        "pending",
        "escalated",
        "rejected",
        "timed_out",
        "auto_approved",
        "APPROVED",
        "approved ",
        "granted",
        "allow",
        "",
    ];
    let mut waits: Vec<_> = words.map(word).to_vec();
    let codes = [
        Code::InvalidApiKey,
        Code::Forbidden,
        Code::RateLimited,
        Code::BadRequest,
        Code::ServerError,
        Code::Timeout,
        Code::Network,
        Code::BadResponse,
    ];
    waits.extend(codes.map(Reply::Fail));
    waits.extend([Reply::Panic, Reply::Never]);
    waits
}

/// Compares what happened after the wait with what has to happen.
fn agrees(
    happened: &Driven<Result<(), Error>>,
    wait: &Reply<EscalationStatus>,
    says: &Says,
) -> bool {
    let denied = match happened {
        Driven::Done(Err(error)) => error.denied(),
        _ => None,
    };
    let status = match wait {
        Reply::Answer(status) => status,
        Reply::Fail(code) => {
            return matches!(happened, Driven::Done(Err(Error::Failed(f))) if f.code() == *code);
        }
        Reply::Panic => return matches!(happened, Driven::Panicked),
        _ => return matches!(happened, Driven::Pending),
    };
    if *status == EscalationStatus::Approved {
        return match (happened, says) {
            (Driven::Done(Ok(())), Says::Yes)
            | (Driven::Panicked, Says::Panics)
            | (Driven::Pending, Says::Never) => true,
            (Driven::Done(Err(Error::Failed(f))), Says::Fails(code)) => f.code() == *code,
            (_, Says::No(refusal)) => denied.is_some_and(|denied| {
                denied.decision() == refusal.decision && denied.code() == refusal.code.as_deref()
            }),
            _ => false,
        };
    }
    let Some(denied) = denied else {
        return false;
    };
    let is_hold = denied.decision() != Decision::Deny && denied.code() == Some("HELD");
    let is_ended = denied.decision() == Decision::Deny
        && denied.code() != Some("HELD")
        && denied.reason().contains(ID)
        && denied.retry_after().is_none();
    let as_told = match status {
        EscalationStatus::Pending | EscalationStatus::Escalated => is_hold,
        _ => is_ended,
    };
    as_told && denied.escalation_id() == Some(ID)
}

fn check(
    first: &Reply<Evaluation>,
    wait: &Reply<EscalationStatus>,
    second: &Case<Evaluation>,
    verify: &Case<Verification>,
) -> usize {
    let says = both(&second.says, &verify.says);
    let about = format!("{wait:?}, then {}, then {}", second.name, verify.name);
    let runs = *wait == word("approved") && *says == Says::Yes;
    let never = *wait == Reply::Never || (*wait == word("approved") && *says == Says::Never);
    let mut driven = 0;
    let mut judge = |path: &str, scripted: &Scripted, ran: &Ran, happened: Driven<_>| {
        assert!(
            agrees(&happened, wait, says),
            "{path}, {about}: {happened:?}"
        );
        assert_eq!(ran.count(), usize::from(runs), "{path}, {about}");
        let evaluated = if *wait == word("approved") { 2 } else { 1 };
        assert_eq!(scripted.calls(), (evaluated, 1), "{path}, {about}");
        driven += 1;
    };
    let new = || Scripted::new(first, wait, &second.reply, &verify.reply);
    for (path, ask) in async_paths::<Scripted>() {
        let (scripted, ran) = (new(), Ran::new());
        let happened = drive(ask(&scripted, &ran), 3);
        judge(path, &scripted, &ran, happened);
    }
    // A call without an end would block this thread.
    let sync = if never {
        Vec::new()
    } else {
        sync_paths::<Scripted>()
    };
    for (path, ask) in sync {
        let (scripted, ran) = (new(), Ran::new());
        let happened = match catch_unwind(AssertUnwindSafe(|| ask(&scripted, &ran))) {
            Ok(result) => Driven::Done(result),
            Err(_) => Driven::Panicked,
        };
        judge(path, &scripted, &ran, happened);
    }
    driven
}

#[test]
fn a_held_body_runs_only_after_an_approval_and_two_genuine_answers() {
    quiet_panics();
    let (evaluations, verifications) = (evaluations(), verifications());
    let good = verifications
        .iter()
        .find(|case| case.says == Says::Yes)
        .unwrap();
    let allow = evaluations
        .iter()
        .find(|case| case.says == Says::Yes)
        .unwrap();
    let mut driven = 0;
    for decision in [Decision::Hold, Decision::Escalate] {
        let first = held(decision, Some(ID));
        for wait in waits() {
            for second in &evaluations {
                driven += check(&first, &wait, second, good);
            }
            for verify in &verifications {
                driven += check(&first, &wait, allow, verify);
            }
        }
    }
    println!("{driven} calls");
    assert!(driven > 20_000, "the matrix shrank to {driven} calls");
}

#[test]
fn nothing_is_waited_for_without_an_open_escalation() {
    quiet_panics();
    let (allows, good) = (evaluations(), verifications());
    let good = good.iter().find(|case| case.says == Says::Yes).unwrap();
    let mut firsts: Vec<_> = allows
        .into_iter()
        .map(|case| (case.reply, case.says))
        .collect();
    let mut allowed = Evaluation::allow(PermitToken::new(TOKEN).unwrap());
    allowed.escalation_id = Some(ID.to_owned());
    firsts.push((Reply::Answer(allowed), Says::Yes));
    for reply in [
        held(Decision::Hold, None),
        held(Decision::Hold, Some("")),
        held(Decision::Escalate, None),
        held(Decision::Deny, Some(ID)),
    ] {
        let no = Says::Fails(Code::Network);
        firsts.push((reply, no));
    }
    for (first, says) in firsts {
        for (path, ask) in async_paths::<Scripted>() {
            let allow = Reply::Answer(Evaluation::allow(PermitToken::new(TOKEN).unwrap()));
            let scripted = Scripted::new(&first, &word("approved"), &allow, &good.reply);
            let ran = Ran::new();
            drop(drive(ask(&scripted, &ran), 3));
            assert_eq!(
                ran.count(),
                usize::from(says == Says::Yes),
                "{path} {first:?}"
            );
            assert_eq!(scripted.calls(), (1, 0), "{path} {first:?}");
        }
    }
}

#[test]
fn a_second_hold_is_a_refusal_and_not_waited_for() {
    for second in [Some(ID), Some("esc_other"), None] {
        let good = Reply::Answer(Verification::valid());
        let second_reply = held(Decision::Hold, second);
        let first = held(Decision::Hold, Some(ID));
        let scripted = Scripted::new(&first, &word("approved"), &second_reply, &good);
        let ran = Ran::new();
        let Driven::Done(Err(error)) = drive(annotated(&scripted, &ran), 3) else {
            panic!("{second:?}");
        };
        let denied = error.denied().unwrap();
        assert_eq!(denied.decision(), Decision::Hold);
        assert_eq!(denied.escalation_id(), second);
        assert_eq!((ran.count(), scripted.calls()), (0, (2, 1)));
    }
}
