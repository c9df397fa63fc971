//! The task of one endpoint: it follows the chain, and delivers one notification after the other.
//!
//! Nothing is written while there is nothing to deliver. Otherwise the task takes the lease of the
//! endpoint, attempts the next notification, and keeps what came of it:
//!
//! ```text
//! cell                                   event 7: the receiver fails, then takes it
//! delivered 4                            events 5 and 6 are of other types
//! delivered 4, lease A                   A attempts 7: status 503
//! delivered 4, attempts 1, not before t  the lease is free, so another server may go on at t
//! delivered 4, attempts 1, lease B       B attempts 7: status 200
//! delivered 7                            B has the lease until no event is left
//! ```
//!
//! A server that is killed with the lease leaves it until it ends, and the receiver may get the
//! notification again. Its `webhook-id` is the same then.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use base16ct::lower;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::sleep;
use uuid::Uuid;

use super::WebhookEndpoint;
use super::client::{Outcome, Receiver};
use super::message::Payload;
use crate::server::app::App;
use crate::server::backoff::{Backoff, jitter};
use crate::store::{
    CellKey, Changeset, SealedEvent, Store, StoreError, WebhookKey, WebhookLease, WebhookState,
};
use crate::trail::EventFilter;

/// The period in which the store is read for new events.
const PERIOD: Duration = Duration::from_millis(500);

/// How many events are read at a time.
const PAGE: usize = 50;

/// The pauses between attempts that fail.
const PAUSES: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(300),
};

/// How often a notification that the receiver refuses is attempted at most.
const REFUSALS: u32 = 8;

/// How long a lease is, beyond the time of one attempt.
const LEASE: SignedDuration = SignedDuration::from_secs(10);

/// How often an endpoint that is gone is looked at, for one that another server was given another
/// address.
const GONE: Duration = Duration::from_secs(60);

/// The task of one endpoint.
pub(super) struct Worker<S> {
    app: Arc<App<S>>,
    endpoint: Arc<WebhookEndpoint>,
    receiver: Receiver,
    approval_url: Option<Arc<str>>,
    /// The store of another organization than `local`, once it was opened.
    store: OnceCell<S>,
    key: WebhookKey,
    /// This server, in leases.
    holder: Arc<str>,
    /// The digest of the endpoint's address.
    address: Arc<str>,
    /// The last event that was delivered, as far as this server knows.
    position: Option<u64>,
    /// Whether this server may have the lease.
    may_hold: bool,
    /// Whether the log has a line about the present outage.
    has_failed: bool,
}

/// Whether this server may attempt a delivery now.
enum Turn {
    Mine(WebhookState),
    After(Duration),
}

/// What is left to do for an event.
enum Step {
    /// It was delivered.
    Delivered,
    /// It is not attempted again.
    Dropped,
    /// It is attempted again.
    Again(Option<Duration>),
    /// The endpoint wants no more.
    Gone,
}

impl<S: Store> Worker<S> {
    pub(super) fn new(
        app: Arc<App<S>>,
        endpoint: WebhookEndpoint,
        receiver: Receiver,
        approval_url: Option<Arc<str>>,
    ) -> Self {
        let address = lower::encode_string(&Sha256::digest(endpoint.url.as_str()));
        app.metrics.webhooks.begin(&endpoint.name);
        Self {
            app,
            key: WebhookKey::new(&endpoint.name),
            endpoint: Arc::new(endpoint),
            receiver,
            approval_url,
            store: OnceCell::new(),
            holder: Uuid::new_v4().simple().to_string().into(),
            address: address.into(),
            position: None,
            may_hold: false,
            has_failed: false,
        }
    }

    /// Looks up how far the endpoint is. If the store fails, the task does it later.
    pub(super) async fn open(&mut self) {
        if let Err(error) = self.position().await {
            self.fail(&format!("the store cannot be used: {error}"));
        }
    }

    /// Delivers until `stopped` resolves. An attempt in progress is given up: the notification is
    /// sent again after the next start.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let wait = tokio::select! {
                biased;
                _ = &mut stopped => break,
                wait = self.round() => wait,
            };
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = sleep(wait) => {}
            }
        }
        if self.may_hold {
            // The next server need not wait for the end of the lease.
            let holder = Arc::clone(&self.holder);
            let release = move |state: &mut WebhookState, now| {
                if state.leased_until(&holder, now).is_none() {
                    state.lease = None;
                }
            };
            let _ = self.change(release).await;
        }
    }

    /// Delivers all new events. Returns how long to wait for the next round.
    async fn round(&mut self) -> Duration {
        match self.deliver_new().await {
            Ok(wait) => wait,
            Err(error) => {
                self.fail(&format!("the store cannot be used: {error}"));
                PERIOD * 4
            }
        }
    }

    async fn deliver_new(&mut self) -> Result<Duration, StoreError> {
        loop {
            let position = self.position().await?;
            let events = self.events(position).await?;
            if events.is_empty() {
                return Ok(PERIOD);
            }
            let mut state = match self.take_turn().await? {
                Turn::Mine(state) => state,
                Turn::After(wait) => return Ok(wait),
            };
            let is_last_page = events.len() < PAGE;
            let last = events.last().map(|event| event.sequence);
            for event in events {
                // Another server may have delivered it meanwhile.
                if event.sequence <= state.delivered {
                    self.position = Some(state.delivered);
                    continue;
                }
                let is_last = is_last_page && Some(event.sequence) == last;
                let step = self.attempt(&event, &state).await?;
                let waits = match &step {
                    Step::Delivered => None,
                    _ => Some(PAUSES.pause(state.failures.saturating_add(1), jitter())),
                };
                state = self.keep(event.sequence, step, waits, is_last).await?;
                self.reached(state.delivered);
                if let Some(next) = state.next_attempt {
                    return Ok(until(next, self.app.clock.now()));
                }
                if state.gone.is_some() {
                    return Ok(GONE);
                }
            }
        }
    }

    /// Returns the last delivered event. A new endpoint begins at the end of the chain.
    async fn position(&mut self) -> Result<u64, StoreError> {
        if let Some(position) = self.position {
            return Ok(position);
        }
        let state = self.change(|_, _| ()).await?;
        self.reached(state.delivered);
        Ok(state.delivered)
    }

    async fn events(&self, after: u64) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let filter = EventFilter::default().types(self.endpoint.events.iter().copied());
        self.store().await?.events(after, PAGE, &filter).await
    }

    /// Takes or renews the lease.
    async fn take_turn(&mut self) -> Result<Turn, StoreError> {
        let (holder, address) = (Arc::clone(&self.holder), Arc::clone(&self.address));
        let length = self.lease();
        self.may_hold = true;
        let now = self.app.clock.now();
        let state = self
            .change(move |state, now| {
                let is_gone = state.gone.as_deref() == Some(&*address);
                let waits = state.waits_until(now).is_some();
                if !is_gone && !waits && state.leased_until(&holder, now).is_none() {
                    state.lease = Some(WebhookLease {
                        holder: holder.to_string(),
                        until: later(now, length),
                    });
                    state.gone = None;
                    state.next_attempt = None;
                }
            })
            .await?;
        self.position = Some(state.delivered);
        if state.gone.is_some() {
            return Ok(Turn::After(GONE));
        }
        if let Some(next) = state.waits_until(now) {
            return Ok(Turn::After(until(next, now)));
        }
        // The other server may give the lease back long before its end.
        match state.leased_until(&self.holder, now) {
            Some(end) => Ok(Turn::After(until(end, now).min(2 * PERIOD))),
            None => Ok(Turn::Mine(state)),
        }
    }

    fn lease(&self) -> SignedDuration {
        SignedDuration::try_from(self.endpoint.timeout)
            .unwrap_or(SignedDuration::MAX)
            .saturating_add(LEASE)
    }

    /// Attempts to deliver an event.
    async fn attempt(
        &mut self,
        event: &SealedEvent,
        state: &WebhookState,
    ) -> Result<Step, StoreError> {
        let (name, sequence) = (Arc::clone(&self.endpoint), event.sequence);
        let metrics = &self.app.metrics.webhooks;
        let Ok(payload) = Payload::read(event) else {
            metrics.count(&name.name, "dropped");
            tracing::error!(
                target: "atlasent", endpoint = %name.name, sequence,
                "an event cannot be read, and is not notified"
            );
            return Ok(Step::Dropped);
        };
        let row = match payload.approval() {
            Some(key) => self.store().await?.approval(key).await?,
            None => None,
        };
        let url = self.approval_url.as_deref();
        let message = payload.message(event, row.as_ref(), self.endpoint.format, url);
        let message = message.map_err(StoreError::failed)?;
        let now = self.app.clock.now();
        let (why, retry_after, is_over) = match self.receiver.send(&name, &message, now).await {
            Outcome::Delivered => {
                metrics.count(&name.name, "delivered");
                if mem::take(&mut self.has_failed) {
                    tracing::info!(target: "atlasent", endpoint = %name.name, "notifications are delivered again");
                }
                return Ok(Step::Delivered);
            }
            Outcome::Gone => {
                metrics.count(&name.name, "gone");
                tracing::error!(
                    target: "atlasent", endpoint = %name.name, sequence,
                    "the receiver answers 410 (Gone): it is not notified any more, until it has another URL"
                );
                return Ok(Step::Gone);
            }
            Outcome::Refused(why) => (why, None, state.attempts.saturating_add(1) >= REFUSALS),
            Outcome::Failed { why, retry_after } => (why, retry_after, false),
        };
        let occurred: Option<Timestamp> = event.occurred_at.parse().ok();
        let age = occurred.map(|occurred| now.duration_since(occurred));
        let is_old = age
            .is_none_or(|age| age.unsigned_abs() >= self.endpoint.retry_for && age.is_positive());
        if is_over || is_old {
            metrics.count(&name.name, "dropped");
            tracing::error!(
                target: "atlasent", endpoint = %name.name, sequence, id = message.id, why,
                "a notification could not be delivered, and is not tried again; the audit trail has its event"
            );
            return Ok(Step::Dropped);
        }
        metrics.count(&name.name, "failed");
        self.fail(&why);
        Ok(Step::Again(retry_after))
    }

    /// Keeps what came of an attempt. `waits` is the pause before the next one.
    async fn keep(
        &mut self,
        sequence: u64,
        step: Step,
        waits: Option<Duration>,
        is_last: bool,
    ) -> Result<WebhookState, StoreError> {
        let (holder, address) = (Arc::clone(&self.holder), Arc::clone(&self.address));
        let length = self.lease();
        let waits = match step {
            Step::Again(Some(asked)) => waits.map(|waits| waits.max(asked)),
            _ => waits,
        };
        let waits =
            waits.map(|waits| SignedDuration::try_from(waits).unwrap_or(SignedDuration::MAX));
        let is_kept = waits.is_none() && !is_last;
        let is_over = matches!(step, Step::Delivered | Step::Dropped);
        let is_gone = matches!(step, Step::Gone);
        let state = self
            .change(move |state, now| {
                if is_over {
                    state.delivered = state.delivered.max(sequence);
                    state.attempts = 0;
                } else {
                    state.attempts = state.attempts.saturating_add(1);
                }
                state.failures = match waits {
                    Some(_) => state.failures.saturating_add(1),
                    None => 0,
                };
                let waits = waits.filter(|_| !is_gone);
                state.next_attempt = waits.map(|waits| later(now, waits));
                state.gone = is_gone.then(|| address.to_string());
                // The lease may have gone to another server meanwhile.
                if state.leased_until(&holder, now).is_none() {
                    state.lease = is_kept.then(|| WebhookLease {
                        holder: holder.to_string(),
                        until: later(now, length),
                    });
                }
            })
            .await?;
        self.may_hold = is_kept;
        Ok(state)
    }

    /// Changes the cell of the endpoint, if that leaves anything else in it. Returns what it holds
    /// then.
    async fn change(
        &self,
        change: impl FnOnce(&mut WebhookState, Timestamp) + Clone + Send + 'static,
    ) -> Result<WebhookState, StoreError> {
        let (key, now) = (self.key, self.app.clock.now());
        let write = move |changeset: &mut Changeset<'_>| {
            let known = changeset.webhook(key).cloned();
            let mut state = known.clone().unwrap_or_else(|| WebhookState {
                delivered: changeset.head().sequence,
                ..WebhookState::default()
            });
            // Not the chain's time, which stands still while a clock that was ahead comes back.
            change(&mut state, now);
            if known.as_ref() != Some(&state) {
                changeset.keep_webhook(key, state.clone());
            }
            state
        };
        let store = self.store().await?;
        store.commit(now, vec![CellKey::Webhook(key)], write).await
    }

    /// Returns the store of the endpoint's organization.
    async fn store(&self) -> Result<&S, StoreError> {
        let id = &self.endpoint.organization;
        if id.is_local() {
            return Ok(self.app.local().authority.store());
        }
        let open = || async {
            let store = self.app.organizations.store(id).await;
            store.unwrap_or_else(|| {
                Err(StoreError::failed(format!(
                    "this server has no organization `{id}`: create it with `atlasent org create`"
                )))
            })
        };
        self.store.get_or_try_init(open).await
    }

    fn reached(&mut self, sequence: u64) {
        self.app
            .metrics
            .webhooks
            .reached(&self.endpoint.name, sequence);
        self.position = Some(sequence);
    }

    /// Logs the first failure of an outage.
    fn fail(&mut self, why: &str) {
        if !mem::replace(&mut self.has_failed, true) {
            tracing::error!(
                target: "atlasent", endpoint = %self.endpoint.name, why,
                "notifications cannot be delivered; decisions go on, and they are tried again"
            );
        }
    }
}

fn later(now: Timestamp, length: SignedDuration) -> Timestamp {
    now.saturating_add(length).unwrap_or(Timestamp::MAX)
}

/// Returns the time from now to a time, and at least a moment.
fn until(time: Timestamp, now: Timestamp) -> Duration {
    let left = time.duration_since(now);
    Duration::try_from(left)
        .unwrap_or_default()
        .max(Duration::from_millis(20))
}
