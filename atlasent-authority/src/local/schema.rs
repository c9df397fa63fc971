//! The schema that a program was compiled with, compared with the schema of the policies in force.

use std::fmt;

use atlasent::Error;
use atlasent::error::{Code, ConfigError, Failure};

use crate::policy::{Policies, PolicyError, PolicyProblem};

/// The schema of the policies is not the one that a program was compiled with.
///
/// It is the source of the error of a call for a [`Caller`](crate::Caller) that
/// [requires a schema](crate::Caller::require_schema).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaMismatch {
    required: String,
    found: Option<String>,
}

impl SchemaMismatch {
    /// Compares the schema of `policies` with the digest that a program requires, if it requires
    /// one.
    pub(crate) fn check(policies: &Policies, required: Option<&str>) -> Result<(), Self> {
        match required {
            Some(required) if policies.schema_digest() != Some(required) => Err(Self {
                required: required.to_owned(),
                found: policies.schema_digest().map(str::to_owned),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the digest that the program requires.
    #[must_use]
    pub fn required(&self) -> &str {
        &self.required
    }

    /// Returns the digest of the policies' schema, or `None` for policies without a schema.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }
}

impl fmt::Display for SchemaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "the policies have the schema `{found}`")?,
            None => f.write_str("the policies have no schema")?,
        }
        write!(
            f,
            ", and the program was compiled with the schema `{}`: deploy a program and policies \
             that have the same schema",
            self.required
        )
    }
}

impl std::error::Error for SchemaMismatch {}

/// The problem that the audit trail records.
impl From<&SchemaMismatch> for PolicyError {
    fn from(mismatch: &SchemaMismatch) -> Self {
        PolicyProblem::unplaced("schema.cedarschema", mismatch).into()
    }
}

impl SchemaMismatch {
    /// Returns the error of an authority whose own program requires the schema.
    pub(crate) fn into_config_error(self) -> Error {
        ConfigError::new(self.to_string()).with_source(self).into()
    }

    /// Returns the error of a call whose caller requires the schema.
    pub(crate) fn into_failure(self) -> Error {
        Failure::new(Code::BadRequest, self.to_string())
            .with_source(self)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use atlasent::wire::{EvaluateRequest, VerifyRequest};
    use atlasent::{Agent, AnyAction, Authority as _};
    use futures_executor::block_on;

    use super::*;
    use crate::{Caller, LocalAuthority};

    #[test]
    fn a_caller_with_another_schema_gets_no_decision_and_uses_no_permit_up() {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let authority = LocalAuthority::in_memory(policies).unwrap();
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let caller = Caller::new("key_7", b"the API key itself").require_schema("5e0c");

        let refused = block_on(authority.evaluate_for(caller, &request, None)).unwrap_err();
        assert!(
            refused.source().unwrap().is::<SchemaMismatch>(),
            "{refused}"
        );
        let allowed = block_on(authority.evaluate(&request)).unwrap();
        let verify = VerifyRequest::restating(&request, allowed.permit_token.unwrap());
        let refused = block_on(authority.verify_for(caller, &verify)).unwrap_err();
        assert!(
            refused.source().unwrap().is::<SchemaMismatch>(),
            "{refused}"
        );
        assert!(block_on(authority.verify(&verify)).unwrap().valid);
        // The start, the evaluation and the verification.
        assert_eq!(block_on(authority.trail()).unwrap().events.len(), 3);
    }

    #[test]
    fn a_mismatch_names_both_schemas() {
        let policy = "permit (principal, action, resource);";
        let without = Policies::parse(policy).unwrap();
        let schema = "entity Agent, Resource;";
        let with = Policies::builder()
            .schema("s", schema)
            .source("p", policy)
            .build();
        let with = with.unwrap();
        let digest = with.schema_digest().unwrap();
        assert_eq!(SchemaMismatch::check(&with, Some(digest)), Ok(()));
        assert_eq!(SchemaMismatch::check(&with, None), Ok(()));
        assert_eq!(SchemaMismatch::check(&without, None), Ok(()));

        let mismatch = SchemaMismatch::check(&without, Some(digest)).unwrap_err();
        assert_eq!((mismatch.required(), mismatch.found()), (digest, None));
        assert!(mismatch.to_string().contains("no schema"), "{mismatch}");
        let mismatch = SchemaMismatch::check(&with, Some("5e0c")).unwrap_err();
        let text = mismatch.to_string();
        assert!(text.contains(digest) && text.contains("`5e0c`"), "{text}");
    }
}
