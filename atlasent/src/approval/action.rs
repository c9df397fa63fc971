//! The hash that binds an approval to one action.

use serde_json::{Number, Value};

use crate::canonical::{Spelling, canonical_json, sha256_hex, to_string};
use crate::wire::EvaluateRequest;
use crate::{Context, Error};

/// The parts of a request that an approval is bound to. [`action_hash`] hashes them.
///
/// Debug output omits the amount, and the values of the context.
///
/// ```
/// use atlasent::Context;
/// use atlasent::approval::{ActionBinding, action_hash};
///
/// let action = ActionBinding::new("deploy.production", "deploy-bot")
///     .resource_id("cluster-7")
///     .context(Context::parse(r#"{"commit": "4f2a"}"#)?)
///     .environment("production");
/// assert_eq!(
///     action_hash(&action),
///     "3e1b84a739589412d3f252253c346523a55ec3d0c27ae59c341d56f96a0c4d6f",
/// );
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone)]
pub struct ActionBinding {
    pub(super) action_type: String,
    actor_id: String,
    pub(super) resource_id: Option<String>,
    /// The text of a JSON number.
    amount: Option<String>,
    context: Context,
    pub(super) environment: Option<String>,
    policy_version: Option<String>,
}

impl ActionBinding {
    /// Creates the binding to an action of an agent, without the optional parts.
    #[must_use]
    pub fn new(action_type: impl Into<String>, actor_id: impl Into<String>) -> Self {
        Self {
            action_type: action_type.into(),
            actor_id: actor_id.into(),
            resource_id: None,
            amount: None,
            context: Context::new(),
            environment: None,
            policy_version: None,
        }
    }

    /// Sets the resource.
    #[must_use]
    pub fn resource_id(mut self, resource_id: impl Into<String>) -> Self {
        self.resource_id = Some(resource_id.into());
        self
    }

    /// Sets the amount. A float is spelled as Python spells it, as in a
    /// [`Context`](Context::canonical_json).
    #[must_use]
    pub fn amount(mut self, amount: impl Into<Number>) -> Self {
        let amount = Value::Number(amount.into());
        self.amount = Some(canonical_json(&amount, Spelling::Python));
        self
    }

    /// Sets the amount to the text of a JSON number, which is hashed as it was written.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the text is not a JSON number.
    ///
    /// ```
    /// use atlasent::approval::{ActionBinding, action_hash};
    ///
    /// let one = ActionBinding::new("pay", "bot").amount_as_written("1.50")?;
    /// let other = ActionBinding::new("pay", "bot").amount_as_written("1.5")?;
    /// assert_ne!(action_hash(&one), action_hash(&other));
    /// assert!(ActionBinding::new("pay", "bot").amount_as_written("1,5").is_err());
    /// # Ok::<(), atlasent::Error>(())
    /// ```
    pub fn amount_as_written(mut self, amount: &str) -> Result<Self, Error> {
        if !is_number(amount) {
            return Err(Error::invalid("the amount is not a JSON number"));
        }
        self.amount = Some(amount.to_owned());
        Ok(self)
    }

    /// Sets the context.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets the environment.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Sets the version of the policies that decide on the action.
    #[must_use]
    pub fn policy_version(mut self, policy_version: impl Into<String>) -> Self {
        self.policy_version = Some(policy_version.into());
        self
    }
}

/// Binds the action, agent, resource, amount, context and environment of a request. The amount is
/// bound as its [text](crate::wire::RequestOptions::written_amount), if the text is known.
impl From<&EvaluateRequest> for ActionBinding {
    fn from(request: &EvaluateRequest) -> Self {
        let mut action = Self::new(&*request.action_type, request.actor_id.as_str())
            .context(request.context.clone());
        action.resource_id.clone_from(&request.resource_id);
        action.environment.clone_from(&request.options.environment);
        let options = &request.options;
        let Some(amount) = &options.amount else {
            return action;
        };
        match options.written_amount().filter(|text| is_number(text)) {
            Some(text) => {
                action.amount = Some(text.to_owned());
                action
            }
            None => action.amount(amount.clone()),
        }
    }
}

/// Returns whether a text is a JSON number, without white space around it.
fn is_number(text: &str) -> bool {
    let starts_as_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let ends_as_number = text.ends_with(|last: char| last.is_ascii_digit());
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    starts_as_number && ends_as_number && is_json
}

/// Returns the hash that binds an approval to an action: the lower-case hex SHA-256 of the
/// canonical JSON of `{action_type, actor_id, resource_id, amount, context, environment,
/// policy_version}`.
///
/// An unset part is `null`, and an unset context is `{}`.
#[must_use]
pub fn action_hash(action: &ActionBinding) -> String {
    let text = |text: &Option<String>| to_string(text);
    // The keys are in the order of their code points.
    let json = format!(
        r#"{{"action_type":{},"actor_id":{},"amount":{},"context":{},"environment":{},"policy_version":{},"resource_id":{}}}"#,
        to_string(&action.action_type),
        to_string(&action.actor_id),
        action.amount.as_deref().unwrap_or("null"),
        action.context.canonical_json(),
        text(&action.environment),
        text(&action.policy_version),
        text(&action.resource_id),
    );
    sha256_hex(&[json.as_bytes()])
}

impl std::fmt::Debug for ActionBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActionBinding")
            .field("action_type", &self.action_type)
            .field("actor_id", &self.actor_id)
            .field("resource_id", &self.resource_id)
            .field("context", &self.context)
            .field("environment", &self.environment)
            .field("policy_version", &self.policy_version)
            .finish_non_exhaustive()
    }
}
