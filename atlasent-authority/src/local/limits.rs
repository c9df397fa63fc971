//! The limits of what requests may use up, which can change while an authority runs.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use atlasent::Error;
use atlasent::error::{Code, Failure};

use crate::ledger::AgentKey;
use crate::store::Changeset;

/// How many decided questions of one agent are kept for each one that may wait for approvers. They
/// share a cell with the open ones, and each held request of the agent reads and writes this cell.
const DECIDED_PER_OPEN: u64 = 20;

/// The limits that a request is decided under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many unused permits one agent may hold.
    pub(crate) permits_per_agent: u64,
    /// How many decisions of one agent may wait for approvers.
    pub(crate) approvals_per_agent: u64,
    /// How many decisions of all agents may wait for approvers.
    pub(crate) max_approvals: u64,
    /// How many unused permits all agents may hold together.
    pub(crate) max_permits: Option<NonZeroU64>,
    /// How many events the store may hold when a request is evaluated.
    pub(crate) max_events: Option<NonZeroU64>,
}

impl Limits {
    /// Checks that one more decision of an agent may wait for approvers. The change must name the
    /// agent's questions and the count of open decisions among its reads.
    ///
    /// # Errors
    ///
    /// The reason why not, for people.
    pub(crate) fn check_approvals(
        &self,
        agent: &str,
        key: AgentKey,
        changeset: &Changeset<'_>,
    ) -> Result<(), String> {
        let (asked, now) = (changeset.questions(key), changeset.time());
        let open = asked.open(now);
        let most = self.approvals_per_agent;
        if u64::try_from(open).unwrap_or(u64::MAX) >= most {
            return Err(format!(
                "agent `{agent}` waits for {open} approvals, and the limit is {most}: wait until \
                 some are decided"
            ));
        }
        let decided = asked.decided(now);
        let most = most.saturating_mul(DECIDED_PER_OPEN);
        if u64::try_from(decided).unwrap_or(u64::MAX) >= most {
            return Err(format!(
                "{decided} decisions on requests of agent `{agent}` still apply, and the limit is \
                 {most}: wait until rejections expire and approvals are used"
            ));
        }
        let (open, most) = (changeset.open_approvals(), self.max_approvals);
        if open >= most {
            return Err(format!(
                "{open} approvals are pending, and the limit is {most}: decide some first"
            ));
        }
        Ok(())
    }
}

/// The limits of all agents together, which can be replaced. `None` sets no limit. The authority's
/// own limit of waiting decisions stays in force beside `max_approvals`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TotalLimits {
    /// How many unused permits all agents may hold together.
    pub(crate) max_permits: Option<NonZeroU64>,
    /// How many decisions of all agents may wait for approvers.
    pub(crate) max_approvals: Option<NonZeroU64>,
    /// How many events the store may hold when a request is evaluated.
    pub(crate) max_events: Option<NonZeroU64>,
}

/// The limits in force.
#[derive(Debug)]
pub(crate) struct CurrentLimits {
    permits_per_agent: u64,
    approvals_per_agent: u64,
    /// The authority's own limit of waiting decisions.
    most_approvals: u64,
    /// The replaceable limit of waiting decisions. 0 without a limit.
    max_approvals: AtomicU64,
    /// 0 without a limit.
    max_permits: AtomicU64,
    /// 0 without a limit.
    max_events: AtomicU64,
}

impl CurrentLimits {
    pub(crate) fn new(limits: Limits) -> Self {
        let current = Self {
            permits_per_agent: limits.permits_per_agent,
            approvals_per_agent: limits.approvals_per_agent,
            most_approvals: limits.max_approvals,
            max_approvals: AtomicU64::new(0),
            max_permits: AtomicU64::new(0),
            max_events: AtomicU64::new(0),
        };
        current.set(TotalLimits {
            max_permits: limits.max_permits,
            max_approvals: None,
            max_events: limits.max_events,
        });
        current
    }

    pub(crate) fn get(&self) -> Limits {
        let limit = |value: &AtomicU64| NonZeroU64::new(value.load(Ordering::Relaxed));
        let max_approvals = limit(&self.max_approvals).map_or(u64::MAX, NonZeroU64::get);
        Limits {
            permits_per_agent: self.permits_per_agent,
            approvals_per_agent: self.approvals_per_agent,
            max_approvals: max_approvals.min(self.most_approvals),
            max_permits: limit(&self.max_permits),
            max_events: limit(&self.max_events),
        }
    }

    pub(crate) fn set(&self, limits: TotalLimits) {
        let set = |value: &AtomicU64, limit: Option<NonZeroU64>| {
            value.store(limit.map_or(0, NonZeroU64::get), Ordering::Relaxed);
        };
        set(&self.max_permits, limits.max_permits);
        set(&self.max_approvals, limits.max_approvals);
        set(&self.max_events, limits.max_events);
    }
}

/// The store holds as many events as it may, so requests are not evaluated.
///
/// It is the source of the error of an evaluation beyond
/// [`max_events`](crate::LocalAuthorityBuilder::max_events).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the audit trail holds {held} events, and the limit is {limit}, so the request is not decided: archive \
     old events (`--retain-days`), or raise the limit"
)]
pub struct StorageLimit {
    held: u64,
    limit: u64,
}

impl StorageLimit {
    /// Compares the number of events that the store holds with the limit, if there is one.
    pub(crate) fn check(held: u64, limit: Option<NonZeroU64>) -> Result<(), Self> {
        match limit.map(NonZeroU64::get) {
            Some(limit) if held >= limit => Err(Self { held, limit }),
            _ => Ok(()),
        }
    }

    /// Returns how many events the store holds.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Returns how many events the store may hold.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the error of the call that was not decided.
    pub(crate) fn into_failure(self) -> Error {
        Failure::new(Code::ServerError, self.to_string())
            .with_source(self)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use atlasent::wire::{EvaluateRequest, PermitToken, StopScope, VerifyRequest};
    use atlasent::{Agent, AnyAction, Authority as _};
    use futures_executor::block_on;

    use super::*;
    use crate::store::Store as _;
    use crate::{LocalAuthority, Policies};

    fn authority() -> LocalAuthority {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        LocalAuthority::in_memory(policies).unwrap()
    }

    fn request(agent: &str) -> EvaluateRequest {
        let action = AnyAction::new("deploy").unwrap();
        EvaluateRequest::new(Agent::new(agent).unwrap(), &action).unwrap()
    }

    /// Sets the limit of all unused permits.
    fn limit(authority: &LocalAuthority, permits: u64) {
        authority.set_limits(TotalLimits {
            max_permits: NonZeroU64::new(permits),
            ..TotalLimits::default()
        });
    }

    /// Sets the limit of events.
    fn limit_events(authority: &LocalAuthority, events: u64) {
        authority.set_limits(TotalLimits {
            max_events: NonZeroU64::new(events),
            ..TotalLimits::default()
        });
    }

    /// Returns the token of a new permit, or the code of the denial.
    fn ask(authority: &LocalAuthority, agent: &str) -> Result<PermitToken, String> {
        let answer = block_on(authority.evaluate(&request(agent))).unwrap();
        let code = answer.code;
        answer.permit_token.ok_or_else(|| code.unwrap())
    }

    fn consume(authority: &LocalAuthority, agent: &str, token: PermitToken) {
        let verify = VerifyRequest::restating(&request(agent), token);
        assert!(block_on(authority.verify(&verify)).unwrap().valid);
    }

    const FULL: &str = "ORGANIZATION_PERMIT_LIMIT";

    #[test]
    fn all_agents_together_get_no_more_permits_than_the_limit() {
        let authority = authority();
        limit(&authority, 2);
        let first = ask(&authority, "a").unwrap();
        let second = ask(&authority, "b").unwrap();
        for agent in ["a", "b", "c"] {
            assert_eq!(ask(&authority, agent).unwrap_err(), FULL);
        }
        // A permit that is used, and one that is revoked, leave room for one each.
        consume(&authority, "a", first);
        ask(&authority, "c").unwrap();
        assert_eq!(ask(&authority, "d").unwrap_err(), FULL);
        assert!(block_on(authority.revoke(&second, "why")).unwrap().revoked);
        let token = ask(&authority, "d").unwrap();
        assert_eq!(ask(&authority, "e").unwrap_err(), FULL);
        // So do all that a stop kills.
        let stop = block_on(authority.stop(StopScope::all(), "an alarm", None)).unwrap();
        block_on(authority.lift_stop(&stop.id, "over")).unwrap();
        let verify = VerifyRequest::restating(&request("d"), token);
        assert!(!block_on(authority.verify(&verify)).unwrap().valid);
        ask(&authority, "e").unwrap();
        ask(&authority, "f").unwrap();
        assert_eq!(ask(&authority, "g").unwrap_err(), FULL);
    }

    #[test]
    fn a_permit_counts_exactly_if_it_was_granted_under_a_limit() {
        let authority = authority();
        let before = ask(&authority, "before").unwrap();
        limit(&authority, 2);
        let [first, second] = ["a", "b"].map(|agent| ask(&authority, agent).unwrap());
        assert_eq!(ask(&authority, "c").unwrap_err(), FULL);
        // A permit that does not count leaves no room when it is used.
        consume(&authority, "before", before);
        assert_eq!(ask(&authority, "c").unwrap_err(), FULL);
        // One that counts leaves room, even if it is used while there is no limit.
        limit(&authority, 0);
        consume(&authority, "a", first);
        let meanwhile = ask(&authority, "meanwhile").unwrap();
        limit(&authority, 2);
        ask(&authority, "c").unwrap();
        assert_eq!(ask(&authority, "d").unwrap_err(), FULL);
        consume(&authority, "meanwhile", meanwhile);
        assert_eq!(ask(&authority, "d").unwrap_err(), FULL);
        consume(&authority, "b", second);
        ask(&authority, "d").unwrap();
    }

    #[test]
    fn without_a_limit_no_count_of_all_agents_is_kept() {
        let authority = authority();
        let token = ask(&authority, "a").unwrap();
        let cells =
            |authority: &LocalAuthority| block_on(authority.store().status()).unwrap().cells;
        // The permit, the count of its agent, and the stops.
        assert_eq!(cells(&authority), 3);
        limit(&authority, 10);
        consume(&authority, "a", token);
        assert_eq!(cells(&authority), 2);
        ask(&authority, "a").unwrap();
        assert_eq!(cells(&authority), 5);
    }

    #[test]
    fn an_agent_at_its_own_limit_is_told_of_that_one() {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let builder = LocalAuthority::builder(policies).permits_per_agent(NonZeroU64::MIN);
        let authority = block_on(builder.max_permits(NonZeroU64::MIN).build()).unwrap();
        ask(&authority, "a").unwrap();
        assert_eq!(ask(&authority, "a").unwrap_err(), "AGENT_PERMIT_LIMIT");
        assert_eq!(ask(&authority, "b").unwrap_err(), FULL);
    }

    #[test]
    fn no_more_decisions_wait_than_the_lower_of_two_limits_allows() {
        let holds = r#"
            permit (principal, action, resource);
            @decision("hold") @approvers("role:sre")
            forbid (principal, action, resource);
        "#;
        let builder = LocalAuthority::builder(Policies::parse(holds).unwrap());
        let builder = builder.max_approvals(2.try_into().unwrap());
        let authority = block_on(builder.build()).unwrap();
        let limit = |approvals| {
            authority.set_limits(TotalLimits {
                max_approvals: NonZeroU64::new(approvals),
                ..TotalLimits::default()
            });
        };
        let is_held = |agent| {
            let answer = block_on(authority.evaluate(&request(agent))).unwrap();
            let code = answer.code.as_deref();
            assert_ne!(
                answer.escalation_id.is_some(),
                code == Some("APPROVAL_LIMIT")
            );
            answer.escalation_id.is_some()
        };
        limit(1);
        assert!(is_held("a"));
        assert!(!is_held("b"));
        assert!(
            is_held("a"),
            "a request that waits already is no second one"
        );
        limit(9);
        assert!(is_held("b"));
        assert!(!is_held("c"), "the authority's own limit");
        limit(0);
        assert!(!is_held("c"));
    }

    #[test]
    fn a_full_trail_takes_no_evaluation_and_everything_else() {
        let authority = authority();
        let [used, revoked] = ["a", "b"].map(|agent| ask(&authority, agent).unwrap());
        limit_events(&authority, 3);
        let held = || block_on(authority.store().status()).unwrap().head.sequence;
        assert_eq!(held(), 3);
        let error = block_on(authority.evaluate(&request("c"))).unwrap_err();
        let limit = error.source().unwrap().downcast_ref::<StorageLimit>();
        assert_eq!(
            limit.map(|limit| (limit.held(), limit.limit())),
            Some((3, 3))
        );
        assert!(error.to_string().contains("--retain-days"), "{error}");
        // A denial would be an event, too.
        let stop = block_on(authority.stop(StopScope::agent("c").unwrap(), "why", None)).unwrap();
        assert!(block_on(authority.evaluate(&request("c"))).is_err());
        assert_eq!(held(), 4);

        consume(&authority, "a", used);
        assert!(block_on(authority.revoke(&revoked, "why")).unwrap().revoked);
        block_on(authority.lift_stop(&stop.id, "over")).unwrap();
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        block_on(authority.replace_policies(policies)).unwrap();
        assert_eq!(held(), 8);
        limit_events(&authority, 9);
        ask(&authority, "c").unwrap();
        assert!(block_on(authority.evaluate(&request("c"))).is_err());
        authority.set_limits(TotalLimits::default());
        ask(&authority, "c").unwrap();
    }
}
