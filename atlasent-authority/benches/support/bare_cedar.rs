//! Cedar alone, which the benchmarks compare with.

use std::hint::black_box;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};

/// Policies, with everything prepared in advance that can be.
pub(crate) struct Cedar {
    policies: PolicySet,
    entities: Entities,
    authorizer: Authorizer,
    agent: EntityUid,
    action: EntityUid,
    resource: EntityUid,
}

impl Cedar {
    pub(crate) fn new(policies: &str, action: &str) -> Self {
        Self {
            policies: policies.parse().unwrap(),
            entities: Entities::empty(),
            authorizer: Authorizer::new(),
            agent: r#"Agent::"billing-bot""#.parse().unwrap(),
            action: format!(r#"Action::"{action}""#).parse().unwrap(),
            resource: r#"Resource::"account-12""#.parse().unwrap(),
        }
    }

    /// Decides one request. The request and its context are built anew.
    pub(crate) fn decide(&self, amount: i64, region: &str) {
        let context = [
            ("amount", RestrictedExpression::new_long(black_box(amount))),
            (
                "region",
                RestrictedExpression::new_string(black_box(region).to_owned()),
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
