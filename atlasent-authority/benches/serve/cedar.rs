//! The decision alone: what the policies cost without a server, a permit or a record.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};

use super::question::{AMOUNT, POLICIES, REGION};

/// The time of one decision, request and context built anew each time: the median of a hundred runs.
pub(super) fn time_of_a_decision(decisions: u32) -> Duration {
    let cedar = Cedar::new();
    let mut runs: Vec<_> = (0..100)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..decisions {
                cedar.decide();
            }
            started.elapsed() / decisions
        })
        .collect();
    runs.sort_unstable();
    runs[runs.len() / 2]
}

struct Cedar {
    policies: PolicySet,
    entities: Entities,
    authorizer: Authorizer,
    agent: EntityUid,
    action: EntityUid,
    resource: EntityUid,
}

impl Cedar {
    fn new() -> Self {
        Self {
            policies: POLICIES.parse().unwrap(),
            entities: Entities::empty(),
            authorizer: Authorizer::new(),
            agent: r#"Agent::"billing-bot""#.parse().unwrap(),
            action: r#"Action::"payment.refund""#.parse().unwrap(),
            resource: r#"Resource::"account-12""#.parse().unwrap(),
        }
    }

    fn decide(&self) {
        let context = [
            ("amount", RestrictedExpression::new_long(black_box(AMOUNT))),
            (
                "region",
                RestrictedExpression::new_string(black_box(REGION).to_owned()),
            ),
            ("urgent", RestrictedExpression::new_bool(black_box(false))),
        ];
        let context =
            Context::from_pairs(context.map(|(key, value)| (key.to_owned(), value))).unwrap();
        let request = Request::new(
            self.agent.clone(),
            self.action.clone(),
            self.resource.clone(),
            context,
            None,
        );
        let response =
            self.authorizer
                .is_authorized(&request.unwrap(), &self.policies, &self.entities);
        assert_eq!(response.decision(), Decision::Allow);
    }
}
