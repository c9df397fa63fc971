//! Evaluation: may this agent take this action?
//!
//! The policies decide before the transaction. Inside it, an allow is issued only if nothing stands
//! against it: replaced policies, a stop, an earlier answer to the same request, or too many unused
//! permits of the agent.
//!
//! A worked example. `bot` sends `deploy` with the request id `r1`, and its answer gets lost:
//!
//! - The policies allow it. The transaction reads the stops, the count of `bot` and the replay cell
//!   of `r1`, which is empty. It records `evaluate.allow`, and keeps the permit, the count and the
//!   replay.
//! - `bot` sends the same request again. The replay cell now names permit P, which this transaction
//!   has not read, so [`Attempt::NeedsPermit`] makes the loop commit again with P among its reads.
//! - P is unused, so the transaction records `evaluate.replayed` and returns the first answer. The
//!   token is derived again, since the store holds none.
//! - Had the policies been replaced in between, the transaction would return
//!   [`Attempt::PoliciesChanged`], and the request would be decided again by the new ones.

use std::sync::Arc;

use atlasent::error::{Code, Failure};
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken};
use atlasent::{Decision, Error};
use jiff::{SignedDuration, Timestamp};

use crate::ledger::outstanding::AgentKey;
use crate::ledger::permit_key::PermitKey;
use crate::ledger::replay::{self, Nonce, Replay, ReplayKey};
use crate::ledger::standing;
use crate::ledger::stops::Stop;
use crate::ledger::{Grant, PermitEntry};
use crate::local::caller::Caller;
use crate::local::current::CurrentPolicies;
use crate::local::{LocalAuthority, failed};
use crate::policy::fields;
use crate::policy::{Policies, Verdict};
use crate::store::{CellKey, Changeset, Store};
use crate::trail::chain::{NewEvent, format_time};
use crate::trail::record;

/// How often one request is decided before the authority gives up, when the policies are replaced
/// each time.
const ATTEMPTS: usize = 8;

/// The code of a denial by a stop (contract, part D).
const STOPPED: &str = "STOPPED";

/// The code of a denial because the agent holds too many unused permits.
const LIMIT: &str = "AGENT_PERMIT_LIMIT";

/// The result of an evaluation for a caller.
#[derive(Clone, Debug, PartialEq)]
pub enum EvaluateOutcome {
    /// The request was decided now.
    First(Evaluation),
    /// The request is a repetition: its permit is still unused, and this is the answer that it got
    /// before.
    Repeated(Evaluation),
    /// A different request with the same `request_id` was allowed before, so this one is not
    /// decided.
    Conflict,
}

impl<S: Store> LocalAuthority<S> {
    /// Evaluates a request for a caller, as [`evaluate`](atlasent::Authority::evaluate) does for
    /// code of this process.
    ///
    /// A caller that repeats a request with the same `request_id` gets the same allow, while its
    /// permit is unused and the policies that granted it are in force. Every other request is
    /// decided anew (contract, part B).
    ///
    /// `execution_hash` is the hash that the caller will restate at verification, where that is not
    /// the request's own: see [`execution_hash_of_text`](atlasent::wire::execution_hash_of_text).
    ///
    /// ```
    /// # use atlasent::wire::{EvaluateRequest, RequestOptions};
    /// # use atlasent::{Agent, AnyAction};
    /// # use atlasent_authority::{EvaluateOutcome, Caller, LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?
    ///     .with_options(RequestOptions::default().request_id("request-1"));
    ///
    /// let caller = Caller::new("key_7", b"the API key itself");
    /// let EvaluateOutcome::First(first) = authority.answer(caller, &request, None).await? else { panic!() };
    /// let EvaluateOutcome::Repeated(again) = authority.answer(caller, &request, None).await? else { panic!() };
    /// assert_eq!(first, again);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the `environment` or `amount` of the context contradicts the
    /// request's: nothing is decided or recorded then. [`Error::Failed`] when the decision cannot
    /// be recorded: no permit is issued then.
    pub async fn answer(
        &self,
        caller: Caller<'_>,
        request: &EvaluateRequest,
        execution_hash: Option<String>,
    ) -> Result<EvaluateOutcome, Error> {
        let repeat = match &request.options.request_id {
            Some(id) => Some(Repeat {
                key: ReplayKey::of(&caller, id),
                request_hash: replay::request_hash(request).map_err(unreadable)?,
                permit: None,
            }),
            None => None,
        };
        let mut earlier = None;
        for _ in 0..ATTEMPTS {
            let mut change = self.change(&caller, request, execution_hash.as_deref())?;
            change.repeat.clone_from(&repeat);
            if let Some(repeat) = &mut change.repeat {
                repeat.permit = earlier;
            }
            let reads = change.reads();
            match self
                .commit(failed::DECISION, reads, move |changeset| {
                    change.run(changeset)
                })
                .await?
            {
                Outcome::First(evaluation) => return Ok(EvaluateOutcome::First(*evaluation)),
                Outcome::Conflict => return Ok(EvaluateOutcome::Conflict),
                Outcome::Repeated(replay) => {
                    let request_id = request.options.request_id.clone();
                    return Ok(EvaluateOutcome::Repeated(
                        replay.answer(&caller, request_id)?,
                    ));
                }
                Outcome::Needs(permit) => earlier = Some(permit),
                Outcome::PoliciesChanged => {}
            }
        }
        let text = "the policies changed again and again while the request was decided: try again";
        Err(Failure::new(Code::ServerError, text).into())
    }

    /// Decides a request by the policies in force, and prepares the change for the transaction.
    fn change(
        &self,
        caller: &Caller<'_>,
        request: &EvaluateRequest,
        execution_hash: Option<&str>,
    ) -> Result<Change, Error> {
        let policies = self.policies();
        let verdict = decide(&policies, request)?;
        let attribution = caller.attribution();
        let mint = if verdict.decision.is_allow() && request.shadow != Some(true) {
            let digest = policies.action_digest(&request.action_type);
            let mut grant = Grant::of(request, execution_hash.map(str::to_owned), digest);
            grant.key_environment.clone_from(&attribution.environment);
            Some(Mint::new(caller, grant)?)
        } else {
            None
        };
        let permit = mint.as_ref().map(|mint| mint.key);
        let agent = AgentKey::new(
            request.actor_id.as_str(),
            attribution.environment.as_deref(),
        );
        let event = record::evaluation(request, &verdict, permit, self.record_context)
            .with("policy_version", policies.digest().to_owned());
        let environment = attribution.environment.clone();
        let event = attribution.sign(event);

        let mut evaluation = Evaluation::new(verdict.decision);
        evaluation.permit_token = mint.as_ref().map(|mint| mint.token.clone());
        evaluation.permit_id = permit.map(|key| key.id().to_string());
        evaluation.reason = Some(verdict.reason.as_ref().to_owned());
        if !verdict.decision.is_allow() {
            let explain = request.options.explain == Some(true);
            evaluation.explanation = policies.explanation(&verdict, explain);
            evaluation.code = verdict.code.map(|code| code.as_ref().to_owned());
            evaluation.retry_after = verdict.retry_after;
        }
        evaluation.policy_version = Some(policies.digest().to_owned());
        let request_id = request.options.request_id.clone();
        evaluation.request_id = request_id.or_else(|| Some(event.id.clone()));

        Ok(Change {
            current: Arc::clone(&self.policies),
            policies,
            life: self.permit_ttl,
            limit: self.permits_per_agent,
            agent,
            action: request.action_type.clone(),
            environment,
            repeat: None,
            event,
            evaluation,
            mint,
        })
    }
}

/// Returns the policies' verdict on a request.
fn decide(policies: &Policies, request: &EvaluateRequest) -> Result<Verdict, Error> {
    let verdict = policies.decide(fields::question(request)?);
    // This authority has no approvals, so an action that requires one is held.
    if verdict.decision.is_allow() && request.options.require_approval == Some(true) {
        return Ok(Verdict {
            decision: Decision::Hold,
            reason: "the request asks for an approval, which this authority cannot give".into(),
            code: Some("APPROVAL_REQUIRED".into()),
            ..verdict
        });
    }
    Ok(verdict)
}

/// The replay of a request that has a `request_id`.
#[derive(Clone)]
struct Repeat {
    key: ReplayKey,
    request_hash: String,
    /// The permit of the earlier answer, which the transaction reads. Unset until an earlier answer
    /// is found.
    permit: Option<PermitKey>,
}

/// A permit to issue.
struct Mint {
    nonce: Nonce,
    token: PermitToken,
    key: PermitKey,
    grant: Grant,
}

impl Mint {
    fn new(caller: &Caller<'_>, grant: Grant) -> Result<Self, Error> {
        let nonce = Nonce::random()?;
        let token = nonce.token(caller)?;
        Ok(Self {
            nonce,
            key: PermitKey::of(&token),
            token,
            grant,
        })
    }
}

/// A decided request, to be recorded by one transaction.
struct Change {
    current: Arc<CurrentPolicies>,
    /// The policies that made the decision.
    policies: Arc<Policies>,
    /// How long an unused permit stays valid.
    life: SignedDuration,
    /// How many unused permits one agent may hold.
    limit: u64,
    agent: AgentKey,
    action: String,
    /// The environment of the caller's API key.
    environment: Option<String>,
    repeat: Option<Repeat>,
    event: NewEvent,
    evaluation: Evaluation,
    mint: Option<Mint>,
}

enum Outcome {
    First(Box<Evaluation>),
    Repeated(Box<Replay>),
    Conflict,
    /// An earlier answer names this permit, which the transaction has not read: try again with it.
    Needs(PermitKey),
    PoliciesChanged,
}

/// Whether the request got an answer before that can be given again.
enum Earlier {
    No,
    Yes(Box<Replay>, PermitKey),
    Conflict,
    Needs(PermitKey),
}

impl Change {
    fn reads(&self) -> Vec<CellKey> {
        let mut reads = vec![CellKey::Stops];
        reads.extend(self.mint.as_ref().map(|_| CellKey::Agent(self.agent)));
        if let Some(repeat) = &self.repeat {
            reads.push(CellKey::Replay(repeat.key));
            reads.extend(repeat.permit.map(CellKey::Permit));
        }
        reads
    }

    fn run(mut self, changeset: &mut Changeset<'_>) -> Outcome {
        if !self.current.are(&self.policies) {
            return Outcome::PoliciesChanged;
        }
        let (now, stops) = (changeset.time(), changeset.stops());
        let agent = self
            .event
            .actor_id
            .as_ref()
            .map_or("", |agent| agent.as_str());
        let asked = (agent, &*self.action);
        if let Some(stop) = stops.denying(asked, self.environment.as_deref(), now) {
            self.deny_by_stop(stop, now);
        } else {
            match self.earlier(changeset) {
                Earlier::No => {}
                Earlier::Conflict => return Outcome::Conflict,
                Earlier::Needs(permit) => return Outcome::Needs(permit),
                Earlier::Yes(replay, permit) => {
                    changeset.record(record::replayed(self.event, permit));
                    return Outcome::Repeated(replay);
                }
            }
            let waiting = changeset.outstanding(self.agent).count(now);
            if self.mint.is_some() && waiting >= self.limit {
                self.deny_by_limit(waiting);
            }
        }
        Outcome::First(Box::new(self.decide(changeset)))
    }

    /// Looks up an allow that the same request got before and whose permit is unused.
    fn earlier(&self, changeset: &Changeset<'_>) -> Earlier {
        let now = changeset.time();
        let Some(repeat) = &self.repeat else {
            return Earlier::No;
        };
        let Some(replay) = changeset
            .replay(repeat.key)
            .filter(|known| known.expires_at > now)
        else {
            return Earlier::No;
        };
        if replay.request_hash != repeat.request_hash {
            return Earlier::Conflict;
        }
        let Some(permit) = replay.permit else {
            return Earlier::No;
        };
        if repeat.permit != Some(permit) {
            return Earlier::Needs(permit);
        }
        let standing = changeset.permit(permit).is_some_and(|entry| {
            standing::check(entry, &changeset.stops(), &self.policies, now).is_ok()
        });
        match standing && self.mint.is_some() {
            true => Earlier::Yes(Box::new(replay.clone()), permit),
            false => Earlier::No,
        }
    }

    fn deny_by_stop(&mut self, stop: &Stop, now: Timestamp) {
        let reason = format!("stopped: {}", stop.reason);
        let left = stop.expires_at.map(|end| now.duration_until(end));
        self.deny(STOPPED, reason);
        let id = stop.id.clone();
        self.event.payload.insert("stop_id", id.into());
        // In whole seconds, rounded up: an earlier request would be denied again.
        let left = left.and_then(|left| u64::try_from(left.as_secs().saturating_add(1)).ok());
        self.evaluation.retry_after = left.map(std::time::Duration::from_secs);
    }

    fn deny_by_limit(&mut self, waiting: u64) {
        let agent = self
            .event
            .actor_id
            .as_ref()
            .map_or("", |agent| agent.as_str());
        let reason = format!(
            "agent `{agent}` has {waiting} permits that wait to be used, and {} is the limit: \
             verify or revoke some first, or wait until they expire",
            self.limit
        );
        self.deny(LIMIT, reason);
    }

    /// Turns the decision into a denial, whatever the policies decided.
    fn deny(&mut self, code: &'static str, reason: String) {
        self.mint = None;
        let evaluation = &mut self.evaluation;
        evaluation.decision = Decision::Deny;
        evaluation.permit_token = None;
        evaluation.permit_id = None;
        evaluation.code = Some(code.to_owned());
        evaluation.retry_after = None;
        evaluation.reason = Some(reason.clone());
        evaluation.explanation.clear();
        record::deny_instead(&mut self.event, code, reason);
    }

    /// Records the decision, and issues the permit of an allow.
    fn decide(self, changeset: &mut Changeset<'_>) -> Evaluation {
        let Self {
            mut evaluation,
            event,
            mint,
            repeat,
            life,
            agent,
            ..
        } = self;
        let now = changeset.time();
        let expires_at = now.saturating_add(life).unwrap_or(Timestamp::MAX);
        evaluation.expires_at = mint.as_ref().map(|_| format_time(expires_at));
        let id = event.id.clone();
        let event = changeset.record(event.with_some("expires_at", evaluation.expires_at.clone()));
        evaluation.timestamp = Some(event.occurred_at.clone());
        evaluation.audit_hash = Some(event.hash.clone());
        let Some(mint) = mint else {
            return evaluation;
        };
        let entry = PermitEntry::issue(mint.grant, (id, event.sequence), now, expires_at);
        let mut outstanding = changeset.outstanding(agent);
        outstanding.add(&entry, now);
        changeset.keep_outstanding(agent, outstanding);
        changeset.keep_permit(mint.key, entry);
        if !changeset.stops().knows_life(life) {
            let mut stops = changeset.stops();
            stops.learn_life(life);
            changeset.keep_stops(stops);
        }
        if let Some(Repeat {
            key, request_hash, ..
        }) = repeat
        {
            let replay = Replay::of(
                &evaluation,
                (mint.key, mint.nonce),
                request_hash,
                expires_at,
            );
            changeset.keep_replay(key, replay);
        }
        evaluation
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Failure::new(Code::BadRequest, "the request has no JSON form")
        .with_source(error)
        .into()
}
