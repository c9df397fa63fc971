//! Stops: switches that deny every request and kill every permit that they cover.
//!
//! A stop covers an agent, an action, or everything. From the commit that sets it, every matching
//! evaluation is a denial, and every matching permit that was issued before is dead, also after the
//! stop has ended. A *recall* is a stop that ends at once: it kills the permits that were issued
//! before it, and denies no new request.
//!
//! All stops of an authority are one cell of its store, which each evaluation and each verification
//! reads in its own transaction. So every process on the store obeys a stop from its commit on.

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use atlasent::Agent;
use atlasent::error::PermitOutcome;
use atlasent::wire::StopScope;

use crate::duration::whole_seconds;
use crate::ledger::{PermitEntry, VerifyRefusal};

/// How many stops and recalls are in effect at a time. More are rejected, since each decision reads
/// all.
pub(crate) const MAX_STOPS: usize = 1_000;

/// A stop that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stop {
    /// The id of the stop (`stop_…`).
    pub id: String,
    /// The agent or action that the stop covers, or everything.
    pub scope: StopScope,
    /// Why the stop was set.
    pub reason: String,
    /// When the stop was set.
    pub set_at: Timestamp,
    /// The API key that set the stop. Unset for code of the authority's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// When the stop ends by itself. Unset for a stop that has to be lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The id of the call that set the stop (`X-Request-ID`). A call that is sent again does not
    /// set a second stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether a `test` key set the stop. It then covers only requests of `test` keys.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test_only: bool,
}

impl Stop {
    /// Returns whether the stop covers an action of an agent, or of one of its actors, under an API
    /// key of this environment.
    fn covers(
        &self,
        (agent, actors): (&str, &[Agent]),
        action: &str,
        key_environment: Option<&str>,
    ) -> bool {
        let reaches = !self.test_only || key_environment == Some("test");
        let actors = actors.iter().map(Agent::as_str);
        let mut agents = iter::once(agent).chain(actors);
        reaches && agents.any(|agent| self.scope.covers(agent, action))
    }

    /// Returns whether the stop denies new requests at `now`. It does not tell whether the stop was
    /// lifted.
    fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// Why a stop is not lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLifted {
    /// No stop with the id is in effect.
    NotInEffect,
    /// A `test` key may not lift the stop, because a `live` key or the process itself set it.
    NotByTestKey,
}

/// All stops and recalls in effect. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Inner", into = "Inner")]
pub struct Stops(Arc<Inner>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Inner {
    kept: Vec<Kept>,
    /// The longest life of any permit that was issued on this store, in seconds. Processes that
    /// share a store may have different settings.
    #[serde(default)]
    longest_life: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    stop: Stop,
    kind: StopKind,
    /// The stop kills permits whose evaluation has this sequence number or a lower one.
    through: u64,
    /// When the stop was kept.
    at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StopKind {
    /// The stop denies until it ends.
    Stop,
    /// The stop was lifted; the permits that it killed stay dead.
    Lifted,
    /// A recall: it kills earlier permits, and denies nothing.
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

/// The stop or recall that killed a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KillCause {
    /// Whether a stop killed the permit, rather than a recall.
    by_stop: bool,
    pub(crate) at: Timestamp,
    pub(crate) by: Option<String>,
    pub(crate) reason: String,
}

impl KillCause {
    /// Returns the refusal of the killed permit.
    pub(crate) fn refusal(&self) -> VerifyRefusal {
        match self.by_stop {
            true => VerifyRefusal::Stopped,
            false => VerifyRefusal::Permit(PermitOutcome::Revoked),
        }
    }
}

impl Stops {
    /// Returns the stops that deny at `now`, the oldest first.
    pub(crate) fn active(&self, now: Timestamp) -> impl Iterator<Item = &Stop> {
        let stops = self
            .0
            .kept
            .iter()
            .filter(|kept| kept.kind == StopKind::Stop);
        stops
            .map(|kept| &kept.stop)
            .filter(move |stop| stop.is_active(now))
    }

    /// Returns the stop that denies an action of an agent, with the actors that act for it.
    pub(crate) fn denying(
        &self,
        (agent, actors, action): (&str, &[Agent], &str),
        key_environment: Option<&str>,
        now: Timestamp,
    ) -> Option<&Stop> {
        self.active(now)
            .find(|stop| stop.covers((agent, actors), action, key_environment))
    }

    /// Returns what kills a permit: a stop or recall that was set after it was issued, or a stop
    /// that denies now.
    pub(crate) fn kill_cause(&self, entry: &PermitEntry, now: Timestamp) -> Option<KillCause> {
        let grant = &entry.grant;
        let agents = (grant.agent.as_str(), &*grant.actors);
        let key_environment = grant.key_environment.as_deref();
        let kept = self.0.kept.iter().find(|kept| {
            let denies = kept.kind == StopKind::Stop && kept.stop.is_active(now);
            (denies || entry.sequence <= kept.through)
                && kept.stop.covers(agents, &grant.action, key_environment)
        })?;
        Some(KillCause {
            by_stop: kept.kind != StopKind::Recall,
            at: kept.stop.set_at,
            by: kept.stop.set_by.clone(),
            reason: kept.stop.reason.clone(),
        })
    }

    /// Returns the stop that the same call has set before.
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

    /// Returns whether another stop or recall fits the limit.
    pub(crate) fn has_room(&self) -> bool {
        self.0.kept.len() < MAX_STOPS
    }

    /// Sets a stop. `through` is the sequence number of the event that records it.
    pub(crate) fn set(&mut self, stop: Stop, through: u64) {
        self.keep(stop, StopKind::Stop, through);
    }

    /// Kills the permits whose evaluation has the sequence number `through` or a lower one.
    pub(crate) fn recall(&mut self, recall: Stop, through: u64) {
        self.keep(recall, StopKind::Recall, through);
    }

    fn keep(&mut self, stop: Stop, kind: StopKind, through: u64) {
        let at = stop.set_at;
        Arc::make_mut(&mut self.0).kept.push(Kept {
            stop,
            kind,
            through,
            at,
        });
    }

    /// Returns whether permits of this life are known.
    pub(crate) fn knows_life(&self, life: SignedDuration) -> bool {
        seconds_of(life) <= self.0.longest_life
    }

    /// Remembers that permits of this life are issued, so that stops are kept as long as the
    /// permits that they kill.
    pub(crate) fn learn_life(&mut self, life: SignedDuration) {
        let inner = Arc::make_mut(&mut self.0);
        inner.longest_life = inner.longest_life.max(seconds_of(life));
    }

    /// Lifts a stop that denies at `now`, and returns it. A `test` key lifts only stops that a
    /// `test` key has set.
    pub(crate) fn lift(
        &mut self,
        id: &str,
        by_test: bool,
        now: Timestamp,
    ) -> Result<Stop, NotLifted> {
        let mut kept = Arc::make_mut(&mut self.0).kept.iter_mut();
        let in_effect = |kept: &&mut Kept| {
            kept.kind == StopKind::Stop && kept.stop.id == id && kept.stop.is_active(now)
        };
        let kept = kept.find(in_effect).ok_or(NotLifted::NotInEffect)?;
        if by_test && !kept.stop.test_only {
            return Err(NotLifted::NotByTestKey);
        }
        kept.kind = StopKind::Lifted;
        Ok(kept.stop.clone())
    }

    /// Forgets stops and recalls that deny nothing and have outlived every permit that they killed.
    pub(crate) fn tidy(&mut self, now: Timestamp) {
        let inner = Arc::make_mut(&mut self.0);
        let life = i64::try_from(inner.longest_life).unwrap_or(i64::MAX);
        let life = SignedDuration::from_secs(life);
        inner.kept.retain(|kept| {
            let denies = kept.kind == StopKind::Stop && kept.stop.is_active(now);
            denies || now <= kept.at.saturating_add(life).unwrap_or(Timestamp::MAX)
        });
        // An ended entry is redundant where a later one of the same scope kills the same permits.
        let mut covered: HashMap<(StopScope, bool), u64> = HashMap::new();
        for at in (0..inner.kept.len()).rev() {
            let Some(kept) = inner.kept.get(at) else {
                continue;
            };
            let scope = (kept.stop.scope.clone(), kept.stop.test_only);
            let through = covered.entry(scope).or_default();
            let denies = kept.kind == StopKind::Stop && kept.stop.is_active(now);
            if kept.through <= *through && !denies {
                inner.kept.remove(at);
            } else {
                *through = kept.through.max(*through);
            }
        }
    }
}

/// Returns the life of a permit in whole seconds, rounded up.
fn seconds_of(life: SignedDuration) -> u64 {
    whole_seconds(life.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(id: u64, scope: StopScope) -> Stop {
        Stop {
            id: format!("stop_{id}"),
            scope,
            reason: "why".to_owned(),
            set_at: Timestamp::UNIX_EPOCH,
            set_by: None,
            expires_at: None,
            request_id: None,
            test_only: false,
        }
    }

    #[test]
    fn stops_that_are_set_and_lifted_again_and_again_take_no_more_room() {
        let now = Timestamp::UNIX_EPOCH;
        let agent = || StopScope::agent("bot").unwrap();
        let mut stops = Stops::default();
        stops.learn_life(SignedDuration::from_hours(1));
        stops.set(stop(0, StopScope::all()), 1);
        for id in 1..5_000 {
            assert!(stops.has_room());
            stops.set(stop(id, agent()), id + 1);
            stops.lift(&format!("stop_{id}"), false, now).unwrap();
            stops.tidy(now);
        }
        // The last recall covers what the earlier ones did; the active stop stays.
        assert_eq!(stops.0.kept.len(), 2);
        assert_eq!(stops.0.kept.last().unwrap().through, 5_000);
        assert_eq!(stops.active(now).count(), 1);
    }

    #[test]
    fn a_test_key_is_told_that_a_stop_is_not_its_own_while_the_stop_is_in_effect() {
        let now = Timestamp::UNIX_EPOCH;
        let mut stops = Stops::default();
        stops.set(stop(1, StopScope::all()), 1);
        let before = stops.clone();
        assert_eq!(
            stops.lift("stop_1", true, now),
            Err(NotLifted::NotByTestKey)
        );
        assert_eq!(stops.lift("stop_2", true, now), Err(NotLifted::NotInEffect));
        assert_eq!(stops, before);
        assert!(stops.lift("stop_1", false, now).is_ok());
        for by_test in [true, false] {
            let again = stops.lift("stop_1", by_test, now);
            assert_eq!(again, Err(NotLifted::NotInEffect));
        }
    }

    #[test]
    fn what_a_stop_killed_is_remembered_as_long_as_the_longest_permit_lives() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut stops = Stops::default();
        stops.learn_life(SignedDuration::from_secs(60));
        stops.learn_life(SignedDuration::from_millis(600_500));
        assert!(stops.knows_life(SignedDuration::from_millis(600_500)));
        stops.recall(stop(1, StopScope::all()), 1);
        stops.tidy(at(600));
        assert_eq!(stops.0.kept.len(), 1);
        stops.tidy(at(602));
        assert_eq!(stops.0.kept.len(), 0);
    }

    #[test]
    fn stops_are_written_and_read_again() {
        let mut stops = Stops::default();
        stops.set(stop(1, StopScope::agent("bot").unwrap()), 1);
        stops.set(stop(2, StopScope::all()), 2);
        let json = serde_json::to_string(&stops).unwrap();
        assert_eq!(serde_json::from_str::<Stops>(&json).unwrap(), stops);
    }
}
