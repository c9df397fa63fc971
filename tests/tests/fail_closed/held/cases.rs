//! Tests held calls one by one: values that change, calls that are dropped, and many that wait for
//! one escalation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atlasent::authority::DynAuthority;
use atlasent::testing::{Call, MockAuthority, ScriptedApproval};
use atlasent::wire::{EscalationStatus, EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, AuthorityExt, Decision, Error, blocking};
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tests::{Driven, Ran, drive, yields};

use super::{ID, WAIT, annotated, annotated_sync, async_paths, hold};
use crate::paths::action;

#[test]
fn a_held_call_that_does_not_wait_is_refused_at_once() {
    let authority =
        MockAuthority::new().hold_for_approval(ACTION, "r", ScriptedApproval::approve());
    let error = blocking::protect(&authority, AGENT, action()).unwrap_err();
    assert_eq!(
        error.denied().unwrap().escalation_id(),
        Some("esc_mock_00000000")
    );
    assert_eq!(authority.calls().len(), 1);
}

#[test]
fn an_authority_without_approvals_says_so_when_a_call_waits() {
    struct Holds;
    impl Authority for Holds {
        async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
            Ok(hold(Decision::Hold, Some(ID)))
        }

        async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
            Ok(Verification::valid())
        }
    }
    let ran = Ran::new();
    let error = annotated_sync(&Holds, &ran).unwrap_err();
    assert!(matches!(&error, Error::Config(why) if why.message().contains("Authority::wait")));
    assert_eq!(ran.count(), 0);
}

#[test]
fn an_authority_behind_a_pointer_waits_as_it_does_itself() {
    let mock = || {
        let approval = ScriptedApproval::approve();
        MockAuthority::new().hold_for_approval(ACTION, "r", approval)
    };
    let ran = Ran::new();
    annotated_sync(&Arc::new(mock()), &ran).unwrap();
    annotated_sync(&Box::new(mock()), &ran).unwrap();
    annotated_sync(&atlasent::authority::WithIssuer::new(mock()), &ran).unwrap();
    let pointer: Arc<dyn DynAuthority> = Arc::new(mock());
    annotated_sync(&pointer, &ran).unwrap();
    assert_eq!(ran.count(), 4);
}

#[test]
fn an_approval_is_for_the_values_that_were_evaluated() {
    use std::sync::Mutex;

    #[derive(Clone)]
    struct Shared(Arc<Mutex<String>>);

    impl atlasent::Action for Shared {
        fn name(&self) -> &str {
            ACTION
        }

        fn context(&self) -> Result<atlasent::Context, Error> {
            let mut context = atlasent::Context::new();
            context.insert("commit", &*self.0.lock().unwrap())?;
            Ok(context)
        }
    }

    /// Changes the action while it waits.
    struct Changes(MockAuthority, Shared);

    impl Authority for Changes {
        async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
            self.0.evaluate(request).await
        }

        async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
            self.0.verify(request).await
        }

        async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
            *self.1.0.lock().unwrap() = "changed".to_owned();
            self.0.wait(id, at_most).await
        }
    }

    let shared = Shared(Arc::new(Mutex::new("reviewed".to_owned())));
    let mock = MockAuthority::new().hold_for_approval(ACTION, "r", ScriptedApproval::approve());
    let authority = Changes(mock, shared.clone());
    let ask = authority.ask(AGENT, shared).wait(WAIT);
    let error = blocking::wait(ask.protect()).unwrap_err();
    assert_eq!(error.denied().unwrap().code(), Some("ACTION_CHANGED"));
    let contexts: Vec<_> = (authority.0.calls().into_iter())
        .filter_map(|call| match call {
            Call::Evaluate(request) => Some(request.context.canonical_json()),
            _ => None,
        })
        .collect();
    assert_eq!(contexts, [r#"{"commit":"reviewed"}"#; 2]);
}

/// Waits for `yields` polls, and counts the waits that are under way.
struct Slow {
    mock: MockAuthority,
    yields: usize,
    waiting: AtomicUsize,
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Authority for Slow {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.mock.evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.mock.verify(request).await
    }

    async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _leaves = Leaves(&self.waiting);
        yields(self.yields).await;
        self.mock.wait(id, at_most).await
    }
}

#[test]
fn a_held_call_that_is_dropped_runs_nothing_and_leaves_the_escalation_open() {
    const YIELDS: usize = 4;
    for (path, ask) in async_paths::<Slow>() {
        let authority = Slow {
            mock: MockAuthority::new().hold_for_approval(ACTION, "r", ScriptedApproval::approve()),
            yields: YIELDS,
            waiting: AtomicUsize::new(0),
        };
        let ran = Ran::new();
        for polls in 0..=YIELDS {
            let happened = drive(ask(&authority, &ran), polls);
            assert!(matches!(happened, Driven::Pending), "{path} after {polls}");
            assert_eq!(ran.count(), 0, "{path} after {polls}");
            assert_eq!(
                authority.waiting.load(Ordering::SeqCst),
                0,
                "{path} after {polls}"
            );
        }
        let waits = authority
            .mock
            .calls()
            .into_iter()
            .filter(|call| matches!(call, Call::Wait { .. }));
        assert_eq!(waits.count(), 0, "{path}");
        // The next call joins the escalation that is still open.
        let Driven::Done(Ok(())) = drive(ask(&authority, &ran), YIELDS + 1) else {
            panic!("{path}");
        };
        let last = authority
            .mock
            .calls()
            .into_iter()
            .rev()
            .find_map(|call| match call {
                Call::Wait { escalation_id, .. } => Some(escalation_id),
                _ => None,
            });
        assert_eq!(last.as_deref(), Some("esc_mock_00000000"), "{path}");
        assert_eq!(ran.count(), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_calls_that_wait_for_one_escalation_one_runs() {
    for _ in 0..20 {
        let authority = Arc::new(Slow {
            mock: MockAuthority::new().hold_for_approval(ACTION, "r", ScriptedApproval::approve()),
            yields: 50,
            waiting: AtomicUsize::new(0),
        });
        let (ran, held) = (
            Arc::new(Ran::new()),
            Arc::new(tokio::sync::Barrier::new(64)),
        );
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let (authority, ran) = (Arc::clone(&authority), Arc::clone(&ran));
                let held = Arc::clone(&held);
                let gated = Gated { authority, held };
                tokio::spawn(async move { annotated(&gated, &ran).await })
            })
            .collect();
        let mut refused = 0;
        for call in calls {
            if let Err(error) = call.await.unwrap() {
                let id = error.denied().unwrap().escalation_id().map(str::to_owned);
                assert_eq!(id.as_deref(), Some("esc_mock_00000001"), "{error}");
                refused += 1;
            }
        }
        assert_eq!((ran.count(), refused), (1, 63));
    }
}

/// Lets all calls be held before the first one waits.
struct Gated {
    authority: Arc<Slow>,
    held: Arc<tokio::sync::Barrier>,
}

impl Authority for Gated {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.authority.evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.authority.verify(request).await
    }

    async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        self.held.wait().await;
        self.authority.wait(id, at_most).await
    }
}
