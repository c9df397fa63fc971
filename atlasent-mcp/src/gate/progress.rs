//! Reports that a held operation waits for people.
//!
//! The wait is part of the one path of `atlasent`, which calls [`Authority::wait`]. So the reports
//! come from a wrapper of the authority, which forwards every call and changes no answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use atlasent::authority::{DynAuthority, IssuerId};
use atlasent::permit::PermitRecord;
use atlasent::text::Escaped;
use atlasent::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, Receipt, Verification,
    VerifyRequest,
};
use atlasent::{Authority, Decision, Error};
use tokio::time::Instant;

/// Receives reports that an operation waits for people, to send notifications of progress.
pub trait Progress: Send + Sync {
    /// Reports once when the wait starts, and then in each interval until it ends.
    fn waiting(&self, report: &WaitingFor) -> impl Future<Output = ()> + Send;
}

/// Reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    async fn waiting(&self, _: &WaitingFor) {}
}

/// What a held operation waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingFor {
    /// The id of the escalation.
    pub escalation_id: String,
    /// The authority's reason.
    pub reason: Option<String>,
    /// The URL where a person can decide.
    pub approval_url: Option<String>,
    /// How long the operation has waited.
    pub waited: Duration,
    /// How long it waits at most.
    pub at_most: Duration,
}

impl WaitingFor {
    /// Returns one line for people.
    #[must_use]
    pub fn message(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("a person has to decide");
        let reason = Escaped::new(reason);
        let id = Escaped::new(&self.escalation_id);
        match &self.approval_url {
            Some(url) => format!(
                "waiting for approval `{id}` at {}: {reason}",
                Escaped::new(url)
            ),
            None => format!("waiting for approval `{id}`: {reason}"),
        }
    }
}

/// An authority whose waits report progress.
pub(super) struct ObservedAuthority<'a, P: ?Sized> {
    authority: &'a dyn DynAuthority,
    progress: &'a P,
    interval: Duration,
    held: Mutex<Option<Held>>,
}

/// What the last evaluation says about a hold.
struct Held {
    reason: Option<String>,
    approval_url: Option<String>,
}

impl<'a, P: ?Sized> ObservedAuthority<'a, P> {
    pub(super) fn new(
        authority: &'a dyn DynAuthority,
        progress: &'a P,
        interval: Duration,
    ) -> Self {
        Self {
            authority,
            progress,
            interval,
            held: Mutex::new(None),
        }
    }

    /// Keeps what a held answer says, for the progress of a wait.
    fn note_hold(&self, evaluation: &Evaluation) {
        if matches!(evaluation.decision, Decision::Hold | Decision::Escalate) {
            let held = Held {
                reason: evaluation.reason.clone(),
                approval_url: evaluation.approval_url.clone(),
            };
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        }
    }
}

impl<P: Progress + ?Sized> Authority for ObservedAuthority<'_, P> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let evaluation = self.authority.evaluate(request).await?;
        self.note_hold(&evaluation);
        Ok(evaluation)
    }

    async fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> Result<(Evaluation, Option<Verification>), Error> {
        let answers = self
            .authority
            .evaluate_and_verify(request, restated)
            .await?;
        self.note_hold(&answers.0);
        Ok(answers)
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.authority.verify(request).await
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.authority.permit_status(permit).await
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.authority.complete(receipt).await
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (reason, approval_url) = match held {
            Some(held) => (held.reason, held.approval_url),
            None => (None, None),
        };
        let started = Instant::now();
        let mut report = WaitingFor {
            escalation_id: escalation_id.to_owned(),
            reason,
            approval_url,
            waited: Duration::ZERO,
            at_most,
        };
        // A report that cannot be sent does not end the wait, and one that takes long delays only
        // the next report.
        let mut waiting = Box::pin(self.authority.wait(escalation_id, at_most));
        loop {
            let tick = async {
                self.progress.waiting(&report).await;
                tokio::time::sleep(self.interval).await;
            };
            match first(waiting.as_mut(), tick).await {
                Some(status) => return status,
                None => report.waited = started.elapsed(),
            }
        }
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.authority.issuer()
    }
}

/// Returns the output of `waiting`, or `None` if `tick` ends first.
async fn first<T>(
    mut waiting: Pin<&mut (impl Future<Output = T> + ?Sized)>,
    tick: impl Future<Output = ()>,
) -> Option<T> {
    let mut tick = pin!(tick);
    poll_fn(|context| match waiting.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => tick.as_mut().poll(context).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use atlasent::testing::{MockAuthority, ScriptedApproval};
    use atlasent::{AnyAction, AuthorityExt};

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize, Mutex<Option<WaitingFor>>);

    impl Progress for Counted {
        async fn waiting(&self, report: &WaitingFor) {
            self.0.fetch_add(1, Ordering::SeqCst);
            *self.1.lock().unwrap() = Some(report.clone());
        }
    }

    /// Holds everything, and waits as long as it may.
    struct NobodyDecides;

    impl Authority for NobodyDecides {
        async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
            let mut hold = Evaluation::refuse(Decision::Hold, "ask a person");
            hold.escalation_id = Some("esc_1".to_owned());
            Ok(hold)
        }

        async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
            Ok(Verification::refuse(None, "no"))
        }

        async fn wait(&self, _: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
            tokio::time::sleep(at_most).await;
            Ok(EscalationStatus::Pending)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_reports_at_once_and_in_each_interval_and_changes_no_answer() {
        let progress = Counted::default();
        let interval = Duration::from_secs(5);
        let authority = ObservedAuthority::new(&NobodyDecides, &progress, interval);
        let ask = authority.ask("bot", AnyAction::new("pay").unwrap());
        let error = ask
            .wait(Duration::from_secs(60))
            .protect()
            .await
            .unwrap_err();
        assert_eq!(error.denied().unwrap().decision(), Decision::Hold);
        let count = progress.0.load(Ordering::SeqCst);
        assert!((11..=13).contains(&count), "{count}");
        let last = progress.1.lock().unwrap().clone().unwrap();
        assert_eq!(last.reason.as_deref(), Some("ask a person"));
        assert!(last.waited >= Duration::from_secs(50), "{last:?}");
        assert_eq!(last.message(), "waiting for approval `esc_1`: ask a person");
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_never_ends_does_not_keep_an_approval_from_counting() {
        struct Stuck;
        impl Progress for Stuck {
            async fn waiting(&self, _: &WaitingFor) {
                std::future::pending::<()>().await;
            }
        }
        let mock = MockAuthority::new().hold_for_approval("pay", "", ScriptedApproval::approve());
        let authority = ObservedAuthority::new(&mock, &Stuck, Duration::from_secs(5));
        let ask = authority.ask("bot", AnyAction::new("pay").unwrap());
        let permit = ask.wait(Duration::from_secs(60)).protect().await.unwrap();
        assert_eq!(permit.granted_by(), Authority::issuer(&mock));
    }
}
