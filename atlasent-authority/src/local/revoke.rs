//! Revoking permits: one, all of a scope, or all that were issued before an event.

use atlasent::Error;
use atlasent::permit::PermitRecord;
use atlasent::wire::{MAX_INTEGER, PermitStatus, PermitToken, Revocation, StopScope};
use jiff::Timestamp;
use uuid::Uuid;

use crate::ledger::permit_key::PermitKey;
use crate::ledger::stops::{MAX_STOPS, Stop};
use crate::ledger::{PermitEntry, PermitState};
use crate::local::caller::{Attribution, Caller};
use crate::local::permit_cells::PermitCells;
use crate::local::{LocalAuthority, failed};
use crate::store::{CellKey, Changeset, Store};
use crate::trail::chain::format_time;
use crate::trail::record;

/// The result of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevokeOutcome {
    /// Whether the permit was unused, so that the revocation prevents its use.
    pub(crate) revoked: bool,
    /// The permit after the revocation. Unset for an unknown permit.
    pub(crate) entry: Option<PermitEntry>,
    /// The hash of the event that records the call.
    pub(crate) audit_hash: String,
}

impl<S: Store> LocalAuthority<S> {
    /// Revokes a permit.
    ///
    /// A used permit stays used, and `revoked` is false.
    /// [`Permit::recheck`](atlasent::Permit::recheck) refuses it from then on, which stops a body
    /// that has not started. `revoked_at` is the time of the first revocation.
    ///
    /// ```
    /// # use atlasent::wire::EvaluateRequest;
    /// # use atlasent::{Agent, AnyAction, Authority};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let token = authority.evaluate(&request).await?.permit_token.unwrap();
    ///
    /// assert!(authority.revoke(&token, "the bot misbehaved").await?.revoked);
    /// assert!(!authority.revoke(&token, "again").await?.revoked);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the revocation cannot be recorded; the permit is not revoked then.
    pub async fn revoke(&self, token: &PermitToken, reason: &str) -> Result<Revocation, Error> {
        self.revoke_for(Caller::embedded(&self.secret), token, reason)
            .await
    }

    /// Revokes a permit for a caller. A call that is sent again, with the same `X-Request-ID`, gets
    /// the first answer.
    pub(crate) async fn revoke_for(
        &self,
        caller: Caller<'_>,
        token: &PermitToken,
        reason: &str,
    ) -> Result<Revocation, Error> {
        let revoked = self
            .revoke_key(&caller, PermitKey::from_token(token), reason)
            .await?;
        let mut revocation = Revocation::new(token.clone(), revoked.revoked);
        let first = revoked.entry.and_then(|entry| entry.revoked);
        revocation.revoked_at = first.map(|first| format_time(first.at));
        revocation.audit_hash = Some(revoked.audit_hash);
        Ok(revocation)
    }

    /// Revokes the permit with this key.
    pub(crate) async fn revoke_key(
        &self,
        caller: &Caller<'_>,
        key: PermitKey,
        reason: &str,
    ) -> Result<RevokeOutcome, Error> {
        let mut cells = PermitCells::default();
        loop {
            let (attribution, reason) = (caller.attribution(), reason.to_owned());
            let mut reads = vec![CellKey::Permit(key)];
            reads.extend(cells.keys());
            let change = move |changeset: &mut Changeset<'_>| {
                revoke_one(changeset, key, &cells, attribution, reason)
            };
            match self.commit(failed::REVOCATION, reads, change).await? {
                Ok(revoked) => return Ok(revoked),
                Err(needed) => cells = needed,
            }
        }
    }

    /// Revokes every permit of a scope. New requests of the scope are decided as before. Returns
    /// the sequence number of the event that records it.
    ///
    /// ```
    /// # use atlasent::wire::{EvaluateRequest, StopScope, VerifyRequest};
    /// # use atlasent::{Agent, AnyAction, Authority};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let permit = authority.evaluate(&request).await?.permit_token.unwrap();
    ///
    /// authority.revoke_all(StopScope::agent("bot")?, "its token leaked").await?;
    /// let refused = authority.verify(&VerifyRequest::restating(&request, permit)).await?;
    /// assert_eq!(refused.verify_error_code.as_deref(), Some("PERMIT_REVOKED"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when 1,000 stops and revocations are in effect already. [`Error::Failed`]
    /// when the revocation cannot be recorded; no permit is revoked then.
    pub async fn revoke_all(&self, scope: StopScope, reason: &str) -> Result<u64, Error> {
        self.recall(&Caller::embedded(&self.secret), scope, None, reason)
            .await
    }

    /// Revokes every permit that was issued before the event with this sequence number. Returns the
    /// sequence number of the event that records it.
    ///
    /// # Errors
    ///
    /// The errors of [`revoke_all`](Self::revoke_all), and [`Error::Invalid`] for a number above
    /// [`MAX_INTEGER`].
    pub async fn revoke_issued_before(&self, sequence: u64, reason: &str) -> Result<u64, Error> {
        let caller = Caller::embedded(&self.secret);
        self.recall(&caller, StopScope::all(), Some(sequence), reason)
            .await
    }

    /// Revokes the permits of a scope that were issued before an event, or before now.
    pub(crate) async fn recall(
        &self,
        caller: &Caller<'_>,
        scope: StopScope,
        before: Option<u64>,
        reason: &str,
    ) -> Result<u64, Error> {
        if before.is_some_and(|before| before > MAX_INTEGER) {
            return Err(Error::Invalid(format!(
                "`issued_before` is more than {MAX_INTEGER}, and no event has such a number: leave \
                 it out to revoke all permits"
            )));
        }
        let (attribution, life) = (caller.attribution(), self.permit_ttl);
        let mut recall = Stop {
            id: format!("recall_{}", Uuid::new_v4().simple()),
            scope,
            reason: reason.to_owned(),
            set_at: Timestamp::UNIX_EPOCH,
            set_by: attribution.key_id.as_deref().map(str::to_owned),
            expires_at: None,
            request_id: attribution.request_id.as_deref().map(str::to_owned),
            test_only: attribution.is_test(),
        };
        let change = move |changeset: &mut Changeset<'_>| {
            let mut stops = changeset.stops();
            stops.tidy(changeset.time());
            if !stops.has_room() {
                return None;
            }
            recall.set_at = changeset.time();
            let event = record::recalled(&recall, before);
            let sequence = changeset.record(attribution.sign(event)).sequence;
            stops.learn_life(life);
            let through = before.map_or(sequence, |before| before.saturating_sub(1));
            stops.recall(recall, through.min(sequence));
            changeset.keep_stops(stops);
            Some(sequence)
        };
        let sequence = self
            .commit(failed::REVOCATION, vec![CellKey::Stops], change)
            .await?;
        let sequence = sequence.ok_or_else(full)?;
        self.end_killed_permits().await;
        Ok(sequence)
    }

    /// Returns the ledger's status of a verified permit, found by its hash.
    pub(crate) async fn status_of(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        let unknown = || PermitStatus::Unknown("unknown".to_owned());
        let Some(key) = permit.hash.as_deref().and_then(PermitKey::from_hex) else {
            return Ok(unknown());
        };
        let look = move |changeset: &mut Changeset<'_>| {
            let (now, stops) = (changeset.time(), changeset.stops());
            let entry = changeset.permit(key)?;
            // A body that has not started must not start on a permit that a stop has killed.
            Some(match stops.kill_cause(entry, now) {
                Some(_) => PermitStatus::Revoked,
                None => entry.status(now),
            })
        };
        let reads = vec![CellKey::Permit(key), CellKey::Stops];
        let status = self.commit(failed::PERMIT, reads, look).await?;
        Ok(status.unwrap_or_else(unknown))
    }
}

/// Revokes a permit, or returns the cells that the transaction has to read first.
fn revoke_one(
    changeset: &mut Changeset<'_>,
    key: PermitKey,
    read: &PermitCells,
    attribution: Attribution,
    reason: String,
) -> Result<RevokeOutcome, PermitCells> {
    let environment = attribution.environment.as_deref();
    let known = changeset.permit(key).cloned();
    let mut entry = known.filter(|entry| entry.grant.is_known_to(environment));
    if let Some(needed) = read.missing_from(entry.as_ref()) {
        return Err(needed);
    }
    let (by, request_id) = (
        attribution.key_id.as_deref(),
        attribution.request_id.as_deref(),
    );
    if let Some(entry) = &entry
        && let Some(first) = entry.revoked_by_same_call(by, request_id, &reason)
        && let Some(audit_hash) = first.audit_hash.clone()
    {
        return Ok(RevokeOutcome {
            revoked: entry.state == PermitState::Revoked,
            entry: Some(entry.clone()),
            audit_hash,
        });
    }
    let now = changeset.time();
    let state = entry.as_ref().map(|entry| entry.state);
    let revoked = entry
        .as_mut()
        .is_some_and(|entry| entry.revoke(now, by.map(str::to_owned), &reason));
    let event = record::revocation(key, entry.as_ref(), revoked, reason);
    let event = changeset.record(attribution.sign(event));
    let audit_hash = (*event.hash).to_owned();
    if let Some(entry) = &mut entry
        && Some(entry.state) != state
    {
        if let Some(first) = &mut entry.revoked {
            first.request_id = request_id.map(str::to_owned);
            first.audit_hash = Some(audit_hash.clone());
        }
        changeset.keep_ended(key, entry.clone(), state);
    }
    Ok(RevokeOutcome {
        revoked,
        entry,
        audit_hash,
    })
}

/// The error for a stop or revocation beyond the limit.
pub(crate) fn full() -> Error {
    Error::Invalid(format!(
        "{MAX_STOPS} stops and revocations are in effect already: lift some stops first"
    ))
}
