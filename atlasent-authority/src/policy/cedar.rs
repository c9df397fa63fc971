//! A policy set as values of the crate `cedar-policy`, for tools that analyse policies.

use cedar_policy::{Entities, PolicySet, Schema};

use super::Policies;

/// A policy set as values of the crate `cedar-policy`; from [`Policies::cedar`].
///
/// Cedar decides differently from [`Policies`] where a policy fails to evaluate: Cedar skips the
/// policy, and `Policies` denies the request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CedarPolicies<'p> {
    /// All policies, by the ids that decisions and errors name.
    pub policies: &'p PolicySet,
    /// The schema, if the set has one.
    pub schema: Option<&'p Schema>,
    /// The entities, including the actions of the schema.
    pub entities: &'p Entities,
}

impl Policies {
    /// Returns the set as values of the crate `cedar-policy`.
    ///
    /// The types are those of the version of `cedar-policy` that this crate depends on.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::parse(r#"@id("all") permit (principal, action, resource);"#)?;
    /// let cedar = policies.cedar();
    /// let ids: Vec<_> = cedar.policies.policies().map(|policy| policy.id().to_string()).collect();
    /// assert_eq!(ids, ["all"]);
    /// assert!(cedar.schema.is_none());
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    #[must_use]
    pub fn cedar(&self) -> CedarPolicies<'_> {
        CedarPolicies {
            policies: &self.whole,
            schema: self.schema.as_ref(),
            entities: &self.entities,
        }
    }
}
