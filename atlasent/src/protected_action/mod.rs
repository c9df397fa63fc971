//! Permits for an operation on a named resource in a named environment.
//!
//! - [`ProtectedAction`]: action, agent, resource and environment in one value.
//! - [`require_permit`]: runs a body with a permit for one.
//! - [`classify_command`]: tells whether a shell command or SQL statement is destructive.
//!
//! They are the counterparts of the functions with these names in the other AtlaSent SDKs. Code
//! that is new to AtlaSent uses [`protect`](macro@crate::protect) or [`AuthorityExt`].

mod classify;

pub use classify::{DESTRUCTIVE_COMMAND, classify_command};

use std::borrow::Cow;

use serde::Serialize;

use crate::{Action, Agent, AnyAction, Authority, AuthorityExt, Context, Error, Permit, ToAgent};

/// An operation of an agent on one resource in one environment.
///
/// Its context contains `resource_id` and `environment` beside the fields of the caller. Fields of
/// the caller with these names have no effect, so the policies decide on the values given here.
///
/// ```
/// use atlasent::protected_action::ProtectedAction;
/// use atlasent::Action;
///
/// let action = ProtectedAction::new("db.table.delete", "data-pipeline", "users", "production")?
///     .with_field("reason", "erasure request 4821")?
///     .with_field("environment", "development")?;
///
/// assert_eq!(
///     action.context()?.canonical_json(),
///     r#"{"environment":"production","reason":"erasure request 4821","resource_id":"users"}"#,
/// );
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedAction {
    action: AnyAction,
    agent: Agent,
    resource_id: String,
    environment: String,
}

impl ProtectedAction {
    /// Creates an operation without further context.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the action's or the agent's name is empty or longer than 256
    /// characters.
    pub fn new(
        action_type: impl Into<Cow<'static, str>>,
        agent: impl ToAgent,
        resource_id: impl Into<String>,
        environment: impl Into<String>,
    ) -> Result<Self, Error> {
        Ok(Self {
            action: AnyAction::new(action_type)?,
            agent: agent.to_agent()?,
            resource_id: resource_id.into(),
            environment: environment.into(),
        })
    }

    /// Replaces all fields of the context but the resource and the environment.
    #[must_use]
    pub fn with_context(self, context: Context) -> Self {
        let action = self.action.with_context(context);
        Self { action, ..self }
    }

    /// Sets one field of the context. A second call with the same key replaces its value.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `value` cannot be written as JSON, or repeats a key.
    pub fn with_field<T: Serialize + ?Sized>(
        self,
        key: impl Into<String>,
        value: &T,
    ) -> Result<Self, Error> {
        let action = self.action.with_field(key, value)?;
        Ok(Self { action, ..self })
    }

    /// Returns the agent.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Returns the resource.
    #[must_use]
    pub fn resource_id(&self) -> &str {
        &self.resource_id
    }

    /// Returns the environment, such as `production`.
    #[must_use]
    pub fn environment(&self) -> &str {
        &self.environment
    }
}

// `resource` is not implemented: the contract's request for `require_permit` names the resource in
// the context only (part A, Combinators). With the resource in both places, an authority would bind
// the permit to more than the requests of the other SDKs contain.
impl Action for ProtectedAction {
    fn name(&self) -> &str {
        self.action.name()
    }

    fn name_for_request(&self) -> Cow<'static, str> {
        self.action.name_for_request()
    }

    fn context(&self) -> Result<Context, Error> {
        let mut context = self.action.context()?;
        context.insert("resource_id", &self.resource_id)?;
        context.insert("environment", &self.environment)?;
        Ok(context)
    }
}

/// Obtains a permit for `action` and runs `body` with it: [`AuthorityExt::with_permit`] for an
/// action that names its agent. Without a permit, `body` does not run.
///
/// ```
/// use atlasent::testing::MockAuthority;
/// use atlasent::protected_action::{ProtectedAction, require_permit};
/// use atlasent::Error;
///
/// # futures_executor::block_on(async {
/// let authority = MockAuthority::new().allow("db.table.delete");
/// let action = ProtectedAction::new("db.table.delete", "data-pipeline", "users", "production")?;
///
/// let deleted = require_permit(&authority, action, async |permit| {
///     Ok::<_, Error>(format!("{} in {}", permit.resource_id(), permit.environment()))
/// });
/// assert_eq!(deleted.await?, "users in production");
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
///
/// # Errors
///
/// [`Error::Denied`] for every refusal, another [`Error`] when the authority gave no usable answer,
/// and the errors of `body`.
pub fn require_permit<P, T, E, B, F>(
    authority: &P,
    action: ProtectedAction,
    body: B,
) -> impl Future<Output = Result<T, E>>
where
    P: Authority + ?Sized,
    B: FnOnce(Permit<ProtectedAction>) -> F,
    F: Future<Output = Result<T, E>>,
    E: From<Error>,
{
    let agent = action.agent.clone();
    authority.ask(agent, action).with_permit(body)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_executor::block_on;
    use serde_json::json;

    use super::*;
    use crate::Decision;
    use crate::error::{Code, PermitOutcome};
    use crate::testing::{Call, MockAuthority, Reply};
    use crate::wire::{Evaluation, PermitToken, Verification};

    const NAME: &str = "db.table.delete";

    fn action() -> ProtectedAction {
        ProtectedAction::new(NAME, "data-pipeline", "users", "production").unwrap()
    }

    /// The result, and how often the body ran.
    fn run(authority: &MockAuthority) -> (Result<String, Error>, u32) {
        let runs = Cell::new(0);
        let result = block_on(require_permit(authority, action(), async |permit| {
            runs.set(runs.get() + 1);
            Ok(permit.resource_id().to_owned())
        }));
        (result, runs.get())
    }

    #[test]
    fn the_body_runs_once_with_a_permit_for_the_action() {
        let (result, runs) = run(&MockAuthority::new().allow(NAME));
        assert_eq!((result.unwrap().as_str(), runs), ("users", 1));
    }

    #[test]
    fn no_failure_runs_the_body() {
        let mock = MockAuthority::new;
        let refuse = |decision| Reply::Answer(Evaluation::refuse(decision, "no"));
        let tokenless = PermitToken::new("").unwrap();
        let mut other_agent = Verification::valid();
        other_agent.actor_id = Some("somebody-else".to_owned());
        for authority in [
            mock(),
            mock().allow("db.table.read"),
            mock().on_evaluate(NAME, refuse(Decision::Deny)),
            mock().on_evaluate(NAME, refuse(Decision::Hold)),
            mock().on_evaluate(NAME, refuse(Decision::Escalate)),
            mock().on_evaluate(NAME, Reply::Answer(Evaluation::new(Decision::Allow))),
            mock().on_evaluate(NAME, Reply::Answer(Evaluation::allow(tokenless))),
            mock().on_evaluate(NAME, Reply::Fail(Code::Timeout)),
            mock().on_verify(NAME, Reply::Fail(Code::Network)),
            mock().on_verify(NAME, Reply::Answer(Verification::default())),
            mock().on_verify(NAME, Reply::Answer(other_agent)),
            mock().on_verify(
                NAME,
                Reply::Answer(Verification::refuse(Some(PermitOutcome::Consumed), "used")),
            ),
        ] {
            let (result, runs) = run(&authority);
            assert!(result.is_err(), "{authority:?}");
            assert_eq!(runs, 0, "{authority:?}");
        }
    }

    #[test]
    fn the_request_has_three_fields_and_the_context_cannot_override_two() {
        let authority = MockAuthority::new().allow(NAME);
        let mut context = Context::new();
        for key in ["resource_id", "environment", "reason"] {
            context.insert(key, "theirs").unwrap();
        }
        let action = action().with_context(context);
        let result = require_permit(&authority, action, async |_| Ok::<_, Error>(()));
        block_on(result).unwrap();

        let calls = authority.calls();
        let [Call::Evaluate(evaluate), Call::Verify(verify)] = calls.as_slice() else {
            panic!("{calls:?}")
        };
        assert_eq!(
            serde_json::to_value(evaluate).unwrap(),
            json!({
                "action_type": NAME,
                "actor_id": "data-pipeline",
                "context": {"resource_id": "users", "environment": "production", "reason": "theirs"}
            })
        );
        assert_eq!(verify.environment.as_deref(), Some("production"));
        assert_eq!(verify.actor_id, Agent::new("data-pipeline").ok());
    }

    #[test]
    fn a_bad_name_is_refused_before_anything_is_asked() {
        assert!(ProtectedAction::new("", "a", "r", "e").is_err());
        assert!(ProtectedAction::new("a", "", "r", "e").is_err());
        assert!(ProtectedAction::new("a", "x".repeat(257), "r", "e").is_err());
    }
}
