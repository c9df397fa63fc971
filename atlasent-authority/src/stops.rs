//! Stops: switches that deny what they cover, permits that are already out included.
//!
//! A stop names an agent, an action, or everything. From the commit that sets it on, every matching
//! evaluation is a denial, and every matching permit that was issued before is dead, also after the
//! stop has ended: whoever goes on has to ask again. A *recall* is a stop that is over at once: it
//! takes back what is out, and denies nothing new.
//!
//! All stops of an authority are one cell of its store, which each evaluation and each
//! verification reads in its own transaction. So every process on the store obeys from the commit
//! on.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use atlasent::{Action as _, Agent, AnyAction, Error, PermitOutcome};

use crate::ledger::{PermitEntry, Refusal};

/// How many stops and recalls count at a time. More are refused, since each decision reads all.
pub(crate) const MAX_STOPS: usize = 1_000;

/// What a stop covers.
///
/// ```
/// use atlasent_authority::StopScope;
///
/// let scope = StopScope::agent("deploy-bot")?;
/// assert!(scope.covers("deploy-bot", "deploy.production"));
/// assert!(!scope.covers("other-bot", "deploy.production"));
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopScope {
    /// Everything that this agent does.
    #[serde(rename = "agent_id")]
    Agent(String),
    /// This action, whoever takes it.
    #[serde(rename = "action_type")]
    Action(String),
    /// Every action of every agent.
    All,
}

impl StopScope {
    /// Everything that an agent does.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when this cannot be the name of an agent.
    pub fn agent(agent: impl Into<String>) -> Result<Self, Error> {
        Ok(Self::Agent(Agent::new(agent.into())?.as_str().to_owned()))
    }

    /// One action of all agents.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when this cannot be the name of an action.
    pub fn action(action: impl Into<String>) -> Result<Self, Error> {
        Ok(Self::Action(
            AnyAction::new(action.into())?.name().to_owned(),
        ))
    }

    /// Whether an action of an agent is covered.
    #[must_use]
    pub fn covers(&self, agent: &str, action: &str) -> bool {
        match self {
            Self::Agent(stopped) => stopped == agent,
            Self::Action(stopped) => stopped == action,
            Self::All => true,
        }
    }
}

/// A stop that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stop {
    /// Its id (`stop_…`).
    pub id: String,
    /// What it covers.
    pub scope: StopScope,
    /// Why it was set.
    pub reason: String,
    /// When it was set.
    pub set_at: Timestamp,
    /// The API key that set it. Code of the authority's process has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The id of the call that set it (`X-Request-ID`), so that a call that is sent again sets
    /// nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether a `test` key set it: then it covers only what `test` keys ask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test_only: bool,
}

impl Stop {
    /// Whether an action of an agent is covered, when a key of this environment asks.
    fn covers(&self, agent: &str, action: &str, key_environment: Option<&str>) -> bool {
        let reaches = !self.test_only || key_environment == Some("test");
        reaches && self.scope.covers(agent, action)
    }

    /// Whether it denies new questions at `now`, unless it was lifted.
    fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// All stops and recalls that still count. A copy costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Inner", into = "Inner")]
pub struct Stops(Arc<Inner>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Inner {
    kept: Vec<Kept>,
    /// The longest life of any permit that was issued on this store, in seconds. Processes that
    /// share a store may differ in it.
    #[serde(default)]
    longest_life: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    stop: Stop,
    kind: Kind,
    /// Permits whose evaluation has this sequence number or a lower one are dead.
    through: u64,
    /// When it was kept.
    at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// It denies until it ends.
    Stop,
    /// It was lifted; what it killed stays dead.
    Lifted,
    /// It only took back what was out.
    Recall,
}

impl From<Inner> for Stops {
    fn from(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl From<Stops> for Inner {
    fn from(stops: Stops) -> Self {
        Arc::unwrap_or_clone(stops.0)
    }
}

/// Why a permit that was issued is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Killed {
    /// Whether a stop did it, and not a recall.
    by_stop: bool,
    pub(crate) at: Timestamp,
    pub(crate) by: Option<String>,
    pub(crate) reason: String,
}

impl Killed {
    /// Why a permit that is dead is refused.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.by_stop {
            true => Refusal::Stopped,
            false => Refusal::Permit(PermitOutcome::Revoked),
        }
    }
}

impl Stops {
    /// The stops that deny at `now`, the oldest first.
    pub(crate) fn active(&self, now: Timestamp) -> impl Iterator<Item = &Stop> {
        let stops = self.0.kept.iter().filter(|kept| kept.kind == Kind::Stop);
        stops
            .map(|kept| &kept.stop)
            .filter(move |stop| stop.is_active(now))
    }

    /// The stop that denies an action of an agent, if one does.
    pub(crate) fn denying(
        &self,
        (agent, action): (&str, &str),
        key_environment: Option<&str>,
        now: Timestamp,
    ) -> Option<&Stop> {
        self.active(now)
            .find(|stop| stop.covers(agent, action, key_environment))
    }

    /// Why a permit is dead, if it is: what covers it was set after it was issued, or denies now.
    pub(crate) fn killing(&self, entry: &PermitEntry, now: Timestamp) -> Option<Killed> {
        let (agent, action) = (entry.grant.agent.as_str(), &*entry.grant.action);
        let key_environment = entry.grant.key_environment.as_deref();
        let kept = self.0.kept.iter().find(|kept| {
            let denies = kept.kind == Kind::Stop && kept.stop.is_active(now);
            (denies || entry.sequence <= kept.through)
                && kept.stop.covers(agent, action, key_environment)
        })?;
        Some(Killed {
            by_stop: kept.kind != Kind::Recall,
            at: kept.stop.set_at,
            by: kept.stop.set_by.clone(),
            reason: kept.stop.reason.clone(),
        })
    }

    /// The stop that the same call has set before.
    pub(crate) fn set_by_same_call(&self, stop: &Stop, now: Timestamp) -> Option<&Stop> {
        let same = |known: &&Stop| {
            known.request_id == stop.request_id
                && known.set_by == stop.set_by
                && known.scope == stop.scope
                && known.reason == stop.reason
                && known.expires_at == stop.expires_at
        };
        stop.request_id.as_ref()?;
        self.active(now).find(same)
    }

    /// Whether another stop or recall has room.
    pub(crate) fn has_room(&self) -> bool {
        self.0.kept.len() < MAX_STOPS
    }

    /// Sets a stop. `through` is the sequence number of the event that says so.
    pub(crate) fn set(&mut self, stop: Stop, through: u64) {
        self.keep(stop, Kind::Stop, through);
    }

    /// Takes back the permits whose evaluation has the sequence number `through` or a lower one.
    pub(crate) fn recall(&mut self, recall: Stop, through: u64) {
        self.keep(recall, Kind::Recall, through);
    }

    fn keep(&mut self, stop: Stop, kind: Kind, through: u64) {
        let at = stop.set_at;
        Arc::make_mut(&mut self.0).kept.push(Kept {
            stop,
            kind,
            through,
            at,
        });
    }

    /// Whether permits of this life are known of.
    pub(crate) fn knows_life(&self, life: SignedDuration) -> bool {
        whole_seconds(life) <= self.0.longest_life
    }

    /// Remembers that permits of this life are issued, so that what kills them is kept as long.
    pub(crate) fn learn_life(&mut self, life: SignedDuration) {
        let inner = Arc::make_mut(&mut self.0);
        inner.longest_life = inner.longest_life.max(whole_seconds(life));
    }

    /// Lifts a stop. Returns it, if it denies at `now`. A `test` key lifts only what a `test` key
    /// has set.
    pub(crate) fn lift(&mut self, id: &str, by_test: bool, now: Timestamp) -> Option<Stop> {
        let kept = Arc::make_mut(&mut self.0).kept.iter_mut().find(|kept| {
            let may = kept.stop.test_only || !by_test;
            may && kept.kind == Kind::Stop && kept.stop.id == id && kept.stop.is_active(now)
        })?;
        kept.kind = Kind::Lifted;
        Some(kept.stop.clone())
    }

    /// Forgets what denies nothing any more and has outlived every permit that it killed.
    pub(crate) fn tidy(&mut self, now: Timestamp) {
        let inner = Arc::make_mut(&mut self.0);
        let life = i64::try_from(inner.longest_life).unwrap_or(i64::MAX);
        let life = SignedDuration::from_secs(life);
        inner.kept.retain(|kept| {
            let denies = kept.kind == Kind::Stop && kept.stop.is_active(now);
            denies || now <= kept.at.saturating_add(life).unwrap_or(Timestamp::MAX)
        });
    }
}

/// The duration in whole seconds, rounded up.
fn whole_seconds(life: SignedDuration) -> u64 {
    let seconds = life
        .as_secs()
        .saturating_add(i64::from(life.subsec_nanos() > 0));
    u64::try_from(seconds).unwrap_or(0)
}
