//! Provides an authority whose script can be replaced while the service runs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use atlasent::error::{Code, Failure};
use atlasent::testing::{Call, MockAuthority};
use atlasent::wire::{EscalationStatus, EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, Error};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// An authority that answers by its current script, and counts the calls in progress.
pub(crate) struct Scripted {
    script: Mutex<Arc<MockAuthority>>,
    failure: Mutex<Option<(Code, Option<Duration>)>>,
    open: watch::Sender<usize>,
}

impl Scripted {
    /// Creates an authority that denies everything.
    pub(crate) fn new() -> Self {
        Self {
            script: Mutex::default(),
            failure: Mutex::default(),
            open: watch::Sender::new(0),
        }
    }

    /// Replaces the script.
    pub(crate) fn follow(&self, script: MockAuthority) {
        *self.lock() = Arc::new(script);
    }

    /// Makes all further calls fail, with an optional time to retry after, which a script cannot
    /// set.
    pub(crate) fn fail(&self, code: Code, wait: Option<Duration>) {
        *self.failure.lock().unwrap() = Some((code, wait));
    }

    /// Returns the calls since the script was set.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script().calls()
    }

    /// Waits until this many calls are in progress.
    pub(crate) async fn until_open(&self, questions: usize) {
        let mut open = self.open.subscribe();
        let reached = open.wait_for(|open| *open == questions);
        let reached = timeout(Duration::from_secs(20), reached).await;
        assert!(
            reached.is_ok(),
            "there are never {questions} open questions"
        );
    }

    /// Waits until a call is in progress that the script never answers.
    pub(crate) async fn until_asked_for_good(&self) {
        self.until_open(1).await;
        // A call that is answered has ended by then.
        sleep(Duration::from_millis(5)).await;
        self.until_open(1).await;
    }

    fn script(&self) -> Arc<MockAuthority> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<MockAuthority>> {
        self.script.lock().unwrap()
    }

    fn opened(&self) -> Open<'_> {
        self.open.send_modify(|open| *open += 1);
        Open(&self.open)
    }
}

/// A call in progress, until it is answered or dropped with its request.
struct Open<'a>(&'a watch::Sender<usize>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Authority for Scripted {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let _open = self.opened();
        let failure = *self.failure.lock().unwrap();
        if let Some((code, wait)) = failure {
            let failure = Failure::new(code, "at https://key@authority.internal");
            return Err(match wait {
                Some(wait) => failure.with_retry_after(wait),
                None => failure,
            }
            .into());
        }
        self.script().evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let _open = self.opened();
        self.script().verify(request).await
    }

    async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        let _open = self.opened();
        self.script().wait(id, at_most).await
    }
}
