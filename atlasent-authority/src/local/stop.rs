//! Setting, lifting and listing stops.

use atlasent::Error;
use atlasent::wire::StopScope;
use jiff::Timestamp;
use uuid::Uuid;

use crate::ledger::stops::{NotLifted, Stop};
use crate::local::caller::Caller;
use crate::local::revoke::full;
use crate::local::{LocalAuthority, failed};
use crate::store::{CellKey, Changeset, Store};
use crate::trail::record;

impl<S: Store> LocalAuthority<S> {
    /// Sets a stop: it denies every request that it covers, and kills every permit that it covers
    /// and that was issued before it, also after the stop has ended. It ends when it is
    /// [lifted](Self::lift_stop), or at `until`.
    ///
    /// ```
    /// # use atlasent::wire::StopScope;
    /// # use atlasent::{AnyAction, AuthorityExt};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let stop = authority.stop(StopScope::agent("bot")?, "it misbehaves", None).await?;
    ///
    /// let refused = authority.protect("bot", AnyAction::new("deploy")?).await.unwrap_err();
    /// assert_eq!(refused.denied().unwrap().code(), Some("STOPPED"));
    ///
    /// authority.lift_stop(&stop.id, "it was a false alarm").await?;
    /// authority.protect("bot", AnyAction::new("deploy")?).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `until` has passed, or when 1,000 stops are in effect already.
    /// [`Error::Failed`] when the stop cannot be recorded; it is not in effect then.
    pub async fn stop(
        &self,
        scope: StopScope,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<Stop, Error> {
        self.stop_for(&Caller::embedded(&self.secret), scope, reason, until)
            .await
    }

    /// Sets a stop for a caller.
    pub(crate) async fn stop_for(
        &self,
        caller: &Caller<'_>,
        scope: StopScope,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<Stop, Error> {
        let (attribution, life) = (caller.attribution(), self.permit_ttl);
        let mut stop = Stop {
            id: format!("stop_{}", Uuid::new_v4().simple()),
            scope,
            reason: reason.to_owned(),
            set_at: Timestamp::UNIX_EPOCH,
            set_by: attribution.key_id.as_deref().map(str::to_owned),
            expires_at: until,
            request_id: attribution.request_id.as_deref().map(str::to_owned),
            test_only: attribution.is_test(),
        };
        let change = move |changeset: &mut Changeset<'_>| {
            let now = changeset.time();
            if until.is_some_and(|until| until <= now) {
                return Err(Error::Invalid(
                    "a stop cannot end in the past: set `expires_at` to a time in the future"
                        .to_owned(),
                ));
            }
            let mut stops = changeset.stops();
            stops.tidy(now);
            if let Some(known) = stops.set_by_same_call(&stop, now) {
                return Ok(known.clone());
            }
            if !stops.has_room() {
                return Err(full());
            }
            stop.set_at = now;
            let event = changeset.record(attribution.sign(record::stop_set(&stop)));
            stops.learn_life(life);
            stops.set(stop.clone(), event.sequence);
            changeset.keep_stops(stops);
            Ok(stop)
        };
        let stop = self
            .commit(failed::STOP, vec![CellKey::Stops], change)
            .await??;
        self.end_killed_permits().await;
        Ok(stop)
    }

    /// Lifts a stop. Returns the lifted stop, or `None` when no stop with this id is in effect.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the lifting cannot be recorded; the stop stays in effect then.
    pub async fn lift_stop(&self, id: &str, reason: &str) -> Result<Option<Stop>, Error> {
        let caller = Caller::embedded(&self.secret);
        let lifted = self.lift_stop_for(&caller, id, reason).await?;
        Ok(lifted.ok())
    }

    /// Lifts a stop for a caller.
    pub(crate) async fn lift_stop_for(
        &self,
        caller: &Caller<'_>,
        id: &str,
        reason: &str,
    ) -> Result<Result<Stop, NotLifted>, Error> {
        let attribution = caller.attribution();
        let (id, reason) = (id.to_owned(), reason.to_owned());
        let change = move |changeset: &mut Changeset<'_>| {
            let now = changeset.time();
            let mut stops = changeset.stops();
            let lifted = stops.lift(&id, attribution.is_test(), now);
            if let Ok(lifted) = &lifted {
                changeset.record(attribution.sign(record::stop_lifted(lifted, reason)));
                stops.tidy(now);
                changeset.keep_stops(stops);
            }
            lifted
        };
        self.commit(failed::LIFTING, vec![CellKey::Stops], change)
            .await
    }

    /// Returns the stops in effect, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the stops cannot be read.
    pub async fn stops(&self) -> Result<Vec<Stop>, Error> {
        let look = |changeset: &mut Changeset<'_>| {
            let now = changeset.time();
            changeset.stops().active(now).cloned().collect()
        };
        self.commit(failed::STOPS, vec![CellKey::Stops], look).await
    }
}
