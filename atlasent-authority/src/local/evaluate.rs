//! The answer to a question: may this agent take this action?
//!
//! The policies decide before the transaction. In it, what they decided counts only if nothing
//! stands against it: other policies by now, a stop, an earlier answer to the same request, too
//! many permits of the same agent that wait.

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

/// How often a question is decided again because the policies changed meanwhile.
const ATTEMPTS: usize = 8;

/// The code of a denial because a stop covers the question (contract, part D).
const STOPPED: &str = "STOPPED";

/// The code of a denial because too many permits of the agent wait to be used.
const LIMIT: &str = "AGENT_PERMIT_LIMIT";

/// The answer to a caller's evaluation.
#[derive(Clone, Debug, PartialEq)]
pub enum EvaluateOutcome {
    /// It was decided now.
    First(Evaluation),
    /// The same request was allowed before, its permit still waits, and this is that answer.
    Repeated(Evaluation),
    /// Another request with this id was allowed before, so this one has no answer.
    Conflict,
}

impl<S: Store> LocalAuthority<S> {
    /// Answers an evaluation for a caller.
    ///
    /// A caller that repeats a request with the same `request_id` gets the same allow, while its
    /// permit waits to be used and the policies that granted it stand. Everything else is decided
    /// anew (contract, part B).
    ///
    /// `execution_hash` is what the caller will restate at verification, if that is another one
    /// than the request's own: see [`execution_hash_of_text`](atlasent::wire::execution_hash_of_text).
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
    /// [`Error::Invalid`] when the context has another `environment` or `amount` than the request:
    /// then nothing is decided or recorded. [`Error::Failed`] when the answer cannot be recorded;
    /// then there is none.
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

    /// What the policies of this moment make of a request, ready for the transaction.
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

/// The policies' verdict on a request.
fn decide(policies: &Policies, request: &EvaluateRequest) -> Result<Verdict, Error> {
    let verdict = policies.decide(fields::question(request)?);
    // This authority cannot give approvals, so what must be approved has to wait.
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

/// A request that its caller may repeat.
#[derive(Clone)]
struct Repeat {
    key: ReplayKey,
    request_hash: String,
    /// The permit of the earlier answer, once it is known that one exists.
    permit: Option<PermitKey>,
}

/// A permit that is to be issued.
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

/// What was decided, on its way into the store.
struct Change {
    current: Arc<CurrentPolicies>,
    /// The policies that decided.
    policies: Arc<Policies>,
    /// How long a permit waits to be used.
    life: SignedDuration,
    /// How many permits of one agent may wait.
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
    /// Whether the earlier answer still stands depends on this permit.
    Needs(PermitKey),
    PoliciesChanged,
}

/// Whether an earlier answer can be given again.
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

    /// Looks for an allow that the same request got before, whose permit still waits.
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
        // Whole seconds, rounded up: asking again earlier would be refused again.
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

    /// Denies whatever the policies have decided.
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
