//! Tests held calls of an authority whose store fails at any call of any step: the body runs
//! exactly if the approvers agreed and every answer was recorded.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use atlasent::authority::IssuerId;
use atlasent::error::Code;
use atlasent::wire::{EscalationStatus, EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, Error};
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::faulty::{Call, FAULTS, Fault, FaultyStore, StoreFaults, When};
use atlasent_tests::{Driven, Ran, drive, quiet_panics};
use jiff::Timestamp;

use super::{async_paths, sync_paths};

const POLICIES: &str = r#"
    permit (principal, action, resource);
    @decision("hold") @approvers("role:sre") @quorum("2") @approval_ttl("100s")
    forbid (principal, action == Action::"deploy.production", resource);
"#;

/// The steps of a held call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Evaluate,
    /// The wait, up to the time when the approvers decide.
    Wait,
    /// The wait, from that time on.
    Wake,
    EvaluateAgain,
    Verify,
}

const STEPS: [Step; 5] = [
    Step::Evaluate,
    Step::Wait,
    Step::Wake,
    Step::EvaluateAgain,
    Step::Verify,
];

/// What the approvers do while the call waits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Approvers {
    Approve,
    /// One of two approves.
    ApproveInPart,
    Reject,
    /// They let the time pass before the call waits.
    Expire,
    Nothing,
}

/// A fault of one step: at which call, and after how many calls that succeed.
#[derive(Clone, Copy, Debug)]
struct Planned {
    step: Step,
    call: Call,
    fault: Fault,
    when: When,
    spared: usize,
}

/// All faults. A store has nothing to keep after it was read.
fn planned() -> Vec<Planned> {
    let mut all = Vec::new();
    for step in STEPS {
        for (call, when) in [
            (Call::Commit, When::Before),
            (Call::Commit, When::After),
            (Call::Events, When::Before),
            (Call::Status, When::Before),
        ] {
            for fault in FAULTS {
                all.extend((0..3).map(|spared| Planned {
                    step,
                    call,
                    fault,
                    when,
                    spared,
                }));
            }
        }
    }
    all
}

/// An authority in whose waits the approvers decide, and whose store fails in one step.
struct Held {
    authority: LocalAuthority<FaultyStore>,
    faults: StoreFaults,
    seconds: Arc<AtomicI64>,
    approvers: Approvers,
    planned: Option<Planned>,
    evaluated: AtomicUsize,
}

impl Held {
    fn new(approvers: Approvers, planned: Planned) -> Self {
        let (faults, seconds) = (StoreFaults::default(), Arc::new(AtomicI64::new(0)));
        let time = Arc::clone(&seconds);
        let building = LocalAuthority::builder(Policies::parse(POLICIES).unwrap())
            .store(FaultyStore::new(faults.clone()))
            .clock(move || {
                let seconds = time.load(Ordering::SeqCst);
                Timestamp::from_second(1_800_000_000 + seconds).unwrap()
            })
            .build();
        Self {
            authority: now(building),
            faults,
            seconds,
            approvers,
            planned: Some(planned),
            evaluated: AtomicUsize::new(0),
        }
    }

    /// Plans the fault if this is its step.
    fn start(&self, step: Step) {
        if let Some(planned) = self.planned.filter(|planned| planned.step == step) {
            let Planned {
                call, fault, when, ..
            } = planned;
            self.faults.plan(call, fault, when, planned.spared);
        }
    }

    /// Takes the fault of the step back. Returns whether it was still to come.
    fn end(&self, step: Step) {
        if self.planned.is_some_and(|planned| planned.step == step) {
            self.faults.clear();
        }
    }

    async fn decide(&self, id: &str) {
        let id = id.parse().unwrap();
        let sre = |name| Approver::new(name, ["sre"]).unwrap();
        let ballots = match self.approvers {
            Approvers::Approve => vec![Ballot::approve(sre("alice")), Ballot::approve(sre("bob"))],
            Approvers::ApproveInPart => vec![Ballot::approve(sre("alice"))],
            Approvers::Reject => vec![Ballot::approve(sre("alice")), Ballot::reject(sre("bob"))],
            Approvers::Expire | Approvers::Nothing => Vec::new(),
        };
        for ballot in ballots {
            self.authority.vote(id, ballot).await.unwrap();
        }
    }

    /// Returns the kinds of the recorded events.
    fn kinds(&self) -> Vec<String> {
        let events = now(self.authority.events(0, 100, &EventFilter::default()));
        let kinds = events.into_iter().map(|event| event.envelope.kind.clone());
        kinds.collect()
    }
}

impl Authority for Held {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let step = match self.evaluated.fetch_add(1, Ordering::SeqCst) {
            0 => Step::Evaluate,
            _ => Step::EvaluateAgain,
        };
        self.start(step);
        let evaluation = self.authority.evaluate(request).await;
        self.end(step);
        evaluation
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.start(Step::Verify);
        let verification = self.authority.verify(request).await;
        self.end(Step::Verify);
        verification
    }

    async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        if self.approvers == Approvers::Expire {
            self.seconds.store(100, Ordering::SeqCst);
        }
        self.start(Step::Wait);
        let mut waiting = pin!(self.authority.wait(id, at_most));
        let first = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context)));
        let first = first.await;
        if let Some(planned) = self.planned
            && planned.step == Step::Wait
            && planned.fault == Fault::Hangs
            && self.faults.have_happened()
        {
            return std::future::pending().await;
        }
        self.end(Step::Wait);
        if let Poll::Ready(status) = first {
            return status;
        }
        self.decide(id).await;
        self.start(Step::Wake);
        let status = waiting.await;
        self.end(Step::Wake);
        status
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.authority.issuer()
    }
}

fn now<T>(call: impl Future<Output = Result<T, Error>>) -> T {
    match drive(call, 1) {
        Driven::Done(Ok(answer)) => answer,
        other => panic!("no answer: {:?}", matches!(other, Driven::Done(_))),
    }
}

/// Compares what happened with what has to happen without a fault, or with one.
fn agrees(happened: &Driven<Result<(), Error>>, held: &Held, fault: Option<Fault>) -> bool {
    let error = match happened {
        Driven::Done(Err(error)) => Some(error),
        _ => None,
    };
    match fault {
        Some(Fault::Fails) => error.is_some_and(|error| {
            error.code() == Some(Code::ServerError) && !format!("{error}").contains("hunter2")
        }),
        Some(Fault::Hangs) => matches!(happened, Driven::Pending),
        Some(Fault::Panics) => matches!(happened, Driven::Panicked),
        None => match held.approvers {
            Approvers::Approve => matches!(happened, Driven::Done(Ok(()))),
            Approvers::Reject | Approvers::Expire => {
                error.is_some_and(|error| error.denied().is_some())
            }
            Approvers::ApproveInPart | Approvers::Nothing => matches!(happened, Driven::Pending),
        },
    }
}

/// Asserts that the body ran if it had to, and that the approval is used up as often as recorded.
fn check(path: &str, held: &mut Held, ran: &Ran, happened: &Driven<Result<(), Error>>) -> bool {
    let planned = held.planned.take().unwrap();
    let about = format!("{path}, {:?}, {planned:?}", held.approvers);
    let has_happened = held.faults.count() == 1;
    held.faults.clear();
    let fault = has_happened.then_some(planned.fault);
    assert!(agrees(happened, held, fault), "{about}: {happened:?}");
    let runs = fault.is_none() && held.approvers == Approvers::Approve;
    assert_eq!(ran.count(), usize::from(runs), "{about}");

    let recorded = held.kinds();
    let count = |kinds: &[String], kind| kinds.iter().filter(|found| *found == kind).count();
    let granted = count(&recorded, "approval.granted");
    let allowed = count(&recorded, "evaluate.allow");
    assert!(allowed <= granted && granted <= 1, "{about}: {recorded:?}");
    if has_happened && planned.step < Step::EvaluateAgain {
        assert_eq!(allowed, 0, "{about}: {recorded:?}");
    }

    // The same call again runs if the approval was not used, and waits for another one otherwise.
    held.approvers = Approvers::Nothing;
    let again = drive(super::annotated(&*held, ran), 3);
    let is_left = granted == 1 && allowed == 0;
    let is_run = matches!(again, Driven::Done(Ok(())));
    assert_eq!(is_run, is_left, "{about}: {again:?} {recorded:?}");
    let all = held.kinds();
    assert_eq!(count(&all, "evaluate.allow"), granted, "{about}: {all:?}");
    assert!(ran.count() <= count(&all, "permit.verified"), "{about}");
    assert!(now(held.authority.trail()).verify().is_intact(), "{about}");
    has_happened
}

/// Makes one held call on each path, but on the first one alone if the fault does not happen there.
/// Returns whether it happens.
fn call_all(approvers: Approvers, planned: Planned) -> bool {
    for (at, (path, ask)) in async_paths::<Held>().into_iter().enumerate() {
        let (mut held, ran) = (Held::new(approvers, planned), Ran::new());
        let outcome = drive(ask(&held, &ran), 3);
        let has_happened = check(path, &mut held, &ran, &outcome);
        if at == 0 && !has_happened {
            return false;
        }
        assert!(has_happened, "{path}, {approvers:?}, {planned:?}");
    }
    // A call without an end would block this thread.
    if planned.fault != Fault::Hangs {
        for (path, ask) in sync_paths::<Held>() {
            let (mut held, ran) = (Held::new(approvers, planned), Ran::new());
            let outcome = match catch_unwind(AssertUnwindSafe(|| ask(&held, &ran))) {
                Ok(result) => Driven::Done(result),
                Err(_) => Driven::Panicked,
            };
            check(path, &mut held, &ran, &outcome);
        }
    }
    true
}

#[test]
fn a_held_body_runs_only_if_every_step_was_approved_and_recorded() {
    quiet_panics();
    let mut happened = BTreeSet::new();
    for approvers in [
        Approvers::Approve,
        Approvers::ApproveInPart,
        Approvers::Reject,
        Approvers::Expire,
        Approvers::Nothing,
    ] {
        for planned in planned() {
            if call_all(approvers, planned) {
                let call = format!("{:?} {}", planned.call, planned.spared);
                happened.insert((planned.step, call));
            }
        }
    }
    let steps = [
        (Step::Evaluate, "Commit 0"),
        (Step::Wait, "Commit 0"),
        (Step::Wait, "Events 0"),
        (Step::Wait, "Events 1"),
        (Step::Wait, "Status 0"),
        (Step::Wake, "Events 0"),
        (Step::EvaluateAgain, "Commit 0"),
        (Step::EvaluateAgain, "Commit 1"),
        (Step::Verify, "Commit 0"),
    ];
    assert_eq!(
        happened,
        steps.map(|(step, call)| (step, call.to_owned())).into()
    );
}
