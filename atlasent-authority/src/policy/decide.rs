//! Deciding one request: from what the policies see of it to a verdict.

use cedar_policy::{Context, EntityUid, Request, RequestValidationError};

use super::context::{self, ContextError};
use super::convert::ConvertError;
use super::slice::Considered;
use super::{Policies, PolicyInput, Verdict, code, uid};

impl Policies {
    /// Decides one request. It cannot fail: a request that cannot be evaluated is denied.
    pub(crate) fn decide(&self, input: PolicyInput<'_>) -> Verdict {
        let verdict = self.decide_unlogged(input);
        verdict.log_errors(input);
        verdict
    }

    /// Decides one request as [`decide`](Self::decide) does, and logs no evaluation error.
    pub(crate) fn decide_unlogged(&self, input: PolicyInput<'_>) -> Verdict {
        self.decide_by(Considered::All, input)
    }

    /// Decides one request as if no policy held or escalated: what remains of the decision once
    /// people have released each hold. Denials, evaluation errors and missing `permit`s still deny.
    pub(crate) fn decide_without_holds(&self, input: PolicyInput<'_>) -> Verdict {
        let verdict = self.decide_by(Considered::WithoutHolds, input);
        verdict.log_errors(input);
        verdict
    }

    fn decide_by(&self, considered: Considered, input: PolicyInput<'_>) -> Verdict {
        match self.cedar_request(input) {
            Ok(request) => self.verdict(&request, considered, input),
            Err(refusal) => *refusal,
        }
    }

    /// Returns the Cedar request, or the refusal of an input that has none.
    pub(super) fn cedar_request(&self, input: PolicyInput<'_>) -> Result<Request, Box<Verdict>> {
        if let Some(refusal) = self.unknown_action(input.action) {
            return Err(Box::new(refusal));
        }
        let types = self.context_types.as_ref();
        let context = context::to_cedar(&input, types)
            .map_err(|error| Box::new(self.context_refusal(input, &error)))?;
        let [principal, action, resource] = self.entities_of(input);
        let schema = self.schema.as_ref();
        Request::new(principal, action, resource, context, schema).map_err(|error| {
            let why = nonconformity(&error);
            Box::new(Verdict::deny(code::REQUEST_NOT_IN_SCHEMA, why))
        })
    }

    /// Returns the refusal of a request whose context has no Cedar record.
    ///
    /// A shadow without arguments lacks attributes that the call will have. Such a shadow is not in
    /// the schema, unless no `permit` can match the call: then the call will be denied in any case.
    fn context_refusal(&self, input: PolicyInput<'_>, error: &ContextError) -> Verdict {
        let code = match error {
            ContextError::Convert(ConvertError::TypeMismatch(found))
                if input.is_shadow && found.are_all_missing() && !self.has_permit_for(input) =>
            {
                return self.no_matching_policy(input);
            }
            ContextError::FieldsNotDeclared(_) => code::FIELD_NOT_IN_SCHEMA,
            ContextError::Convert(ConvertError::TypeMismatch(_)) => code::REQUEST_NOT_IN_SCHEMA,
            ContextError::Convert(ConvertError::TooDeep) => code::CONTEXT_TOO_DEEP,
            ContextError::Convert(ConvertError::NotExpressible) => code::CONTEXT_NOT_EXPRESSIBLE,
        };
        Verdict::deny(code, error.to_string())
    }

    /// Returns whether the scope of a `permit` matches the request, whatever its context is.
    fn has_permit_for(&self, input: PolicyInput<'_>) -> bool {
        let [principal, action, resource] = self.entities_of(input);
        // Scopes read no context, and without the schema an empty one is valid.
        let request = Request::new(principal, action, resource, Context::empty(), None);
        request.is_ok_and(|request| self.slices.has_permit_for(&request, &self.entities))
    }

    /// Returns the principal, the action and the resource of a request.
    fn entities_of(&self, input: PolicyInput<'_>) -> [EntityUid; 3] {
        [
            uid(&self.types.agent, input.agent),
            uid(&self.types.action, input.action),
            uid(&self.types.resource, input.resource.unwrap_or("default")),
        ]
    }
}

/// Returns Cedar's message, except where it would quote the whole context.
fn nonconformity(error: &RequestValidationError) -> String {
    match error {
        // The values have their declared types, so this error is not expected.
        RequestValidationError::InvalidContext(_) => {
            "the request is not in the schema: its context has another type".to_owned()
        }
        error => format!("the request is not in the schema: {error}"),
    }
}
