//! The optional fields of a request.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::{Map, Value};

use crate::Error;
use crate::approval::{CompletionProof, EvaluationProfile};
use crate::json::unique::Unique;
use crate::json::value::to_value;
use crate::text::redact::excerpt;

/// Names that a request has for its agent, action, resource and context, for its key and its
/// permit, older ones included.
const RESERVED: [&str; 10] = [
    "action_type",
    "action",
    "actor_id",
    "agent",
    "context",
    "resource_id",
    "shadow",
    "api_key",
    "permit_token",
    "decision_id",
];

macro_rules! request_options {
    ($($(#[$doc:meta])* $field:ident as $wire:literal: $type:ty,)*) => {
        /// The optional fields of a request. None of them can change the agent, the action, the
        /// resource or the context.
        ///
        /// Each method sets one field. Methods for different fields add up; a second call for the
        /// same field replaces its value, but for [`require_approval`](Self::require_approval),
        /// which stays asked for.
        ///
        /// ```
        /// use atlasent::wire::RequestOptions;
        ///
        /// let options = RequestOptions::default().environment("production").require_approval(true);
        /// assert_eq!(options.environment.as_deref(), Some("production"));
        /// ```
        #[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub struct RequestOptions {
            $(
                $(#[$doc])*
                #[serde(
                    default,
                    rename = $wire,
                    skip_serializing_if = "Option::is_none",
                    deserialize_with = "optional"
                )]
                pub $field: Option<$type>,
            )*
            /// Asks for a person's approval, whatever the policies say.
            #[serde(
                default,
                skip_serializing_if = "Option::is_none",
                deserialize_with = "optional"
            )]
            pub require_approval: Option<bool>,
            // Written only: a server reads what it knows.
            #[serde(flatten, skip_deserializing)]
            extra: ExtraFields,
        }

        impl RequestOptions {
            $(
                $(#[$doc])*
                ///
                /// A second call replaces the value.
                #[must_use]
                pub fn $field(mut self, $field: impl Into<$type>) -> Self {
                    self.$field = Some($field.into());
                    self
                }
            )*

            /// Adds the fields of `others`, whose values win where both have one.
            pub(crate) fn merge(&mut self, others: Self) {
                $(if others.$field.is_some() {
                    self.$field = others.$field;
                })*
                if let Some(require) = others.require_approval {
                    self.require(require);
                }
                self.extra.merge(others.extra);
            }

            /// The names of the fields that are set, as on the wire.
            fn names(&self) -> impl Iterator<Item = &str> {
                let known = [
                    $(self.$field.as_ref().map(|_| $wire)),*,
                    self.require_approval.map(|_| "require_approval"),
                ];
                let extra = self.extra.fields.keys().map(String::as_str);
                known.into_iter().flatten().chain(extra)
            }
        }

        /// The names of the fields with a method of their own.
        const KNOWN: &[&str] = &[$($wire),*, "require_approval"];
    };
}

request_options! {
    /// The environment that the action runs in, such as `production`.
    environment as "environment": String,
    /// The amount of money or units at stake, as a JSON number.
    amount as "amount": serde_json::Number,
    /// The caller's id for this request; a repeated one replays the first answer.
    request_id as "request_id": String,
    /// What the caller knows of the state that the action meets.
    state_snapshot as "state_snapshot": Value,
    /// Asks the authority to explain its decision.
    explain as "explain": bool,
    /// An approval that was already given: an [`Approval`](crate::approval::Approval), or its JSON.
    approval as "approval": Value,
    /// Approvals of several people: an [`ApprovalQuorum`](crate::approval::ApprovalQuorum), or its JSON.
    approval_quorum as "approval_quorum": Value,
    /// An emergency override: an [`EmergencyOverride`](crate::approval::EmergencyOverride), or its JSON. It
    /// is `override` on the wire.
    emergency_override as "override": Value,
    /// Proofs that other agents have done what this action depends on.
    completion_proofs as "completion_proofs": Vec<CompletionProof>,
    /// Which layers of the evaluation run.
    evaluation_profile as "evaluation_profile": EvaluationProfile,
    /// The resource in full, where its id is not enough for the policies.
    resource as "resource": Value,
    /// The state before the action.
    current_state as "current_state": Value,
    /// The state that the action would bring about.
    proposed_state as "proposed_state": Value,
    /// What the execution is bound to beyond action, agent and context.
    execution_binding as "execution_binding": Value,
}

impl RequestOptions {
    /// Asks for a person's approval, whatever the policies say. Once asked for, it stays asked for:
    /// a later call with `false` changes nothing.
    #[must_use]
    pub fn require_approval(mut self, require_approval: bool) -> Self {
        self.require(require_approval);
        self
    }

    /// Sets a field that this version has no method for. A second call with the same name replaces
    /// its value.
    ///
    /// An authority that does not know the field passes it over, as the embedded one does. A field
    /// that stands for the agent, the action, the resource or the context, or that has a method of
    /// its own, cannot be set this way, in any case of its letters; nor can a value that has no
    /// JSON form. The error is [`Error::Invalid`] where the request is made, and nothing is
    /// asked.
    ///
    /// ```
    /// use atlasent::testing::MockAuthority;
    /// use atlasent::{AnyAction, AuthorityExt, Error, blocking};
    ///
    /// let authority = MockAuthority::new().allow("deploy");
    /// let ask = |name: &'static str| {
    ///     let ask = authority.ask("bot", AnyAction::new("deploy").unwrap());
    ///     blocking::wait(ask.options(|options| options.field(name, "blue")).protect())
    /// };
    /// assert!(ask("rollout_ring").is_ok());
    /// assert!(matches!(ask("actor_id"), Err(Error::Invalid(_))));
    /// assert!(matches!(ask("Context"), Err(Error::Invalid(_))));
    /// ```
    #[must_use]
    pub fn field<T: Serialize + ?Sized>(mut self, name: impl Into<String>, value: &T) -> Self {
        self.extra.set(name.into(), value);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.extra.error {
            Some(why) => Err(Error::invalid(why.clone())),
            None => Ok(()),
        }
    }

    fn require(&mut self, require: bool) {
        self.require_approval = Some(require || self.require_approval == Some(true));
    }
}

/// Prints the names of the options that are set, as a context does: a state may be anything, too.
impl fmt::Debug for RequestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestOptions")?;
        f.debug_set().entries(self.names()).finish()
    }
}

/// Fields without a method of their own. The first error stays, since a setter cannot return it:
/// it is an error as soon as a request is made or written.
#[derive(Clone, Default, PartialEq)]
struct ExtraFields {
    fields: Map<String, Value>,
    error: Option<String>,
}

impl ExtraFields {
    fn set<T: Serialize + ?Sized>(&mut self, name: String, value: &T) {
        // There are servers that do not tell `Context` from `context`.
        let is_taken = |taken: &&str| taken.eq_ignore_ascii_case(&name);
        let shown = excerpt(&name);
        let set = if name.is_empty() {
            Err("a field of the request has no name".to_owned())
        } else if RESERVED.iter().any(is_taken) {
            Err(format!(
                "the field `{shown}` of the request is not an option"
            ))
        } else if KNOWN.iter().any(is_taken) {
            Err(format!(
                "the field `{shown}` of the request has a method of its own: call that"
            ))
        } else {
            to_value(value).map_err(|why| {
                format!("the field `{shown}` of the request cannot be written as JSON: {why}")
            })
        };
        match set {
            Ok(value) => drop(self.fields.insert(name, value)),
            Err(why) => drop(self.error.get_or_insert(why)),
        }
    }

    fn merge(&mut self, others: Self) {
        self.fields.extend(others.fields);
        self.error = self.error.take().or(others.error);
    }
}

impl Serialize for ExtraFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.error {
            Some(why) => Err(ser::Error::custom(why)),
            None => self.fields.serialize(serializer),
        }
    }
}

/// A field that need not be there, in which no key stands twice. `null` is the same as absent.
fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let Unique(value) = Unique::<Value>::deserialize(deserializer)?;
    serde_json::from_value(value).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_second_call_replaces_the_value_and_no_other_field() {
        let options = RequestOptions::default()
            .environment("test")
            .amount(1)
            .field("ring", "blue")
            .environment("production")
            .amount(2)
            .field("ring", &["green"]);
        assert_eq!(
            serde_json::to_value(options).unwrap(),
            json!({"environment": "production", "amount": 2, "ring": ["green"]})
        );
    }

    #[test]
    fn an_approval_that_was_asked_for_stays_asked_for() {
        let options = RequestOptions::default().require_approval(false);
        assert_eq!(options.require_approval, Some(false));
        let options = options.require_approval(true).require_approval(false);
        assert_eq!(options.require_approval, Some(true));
    }

    #[test]
    fn no_known_field_is_set_by_its_name() {
        let mut names: Vec<_> = RESERVED.into_iter().chain(KNOWN.iter().copied()).collect();
        names.extend(["", "ACTION_TYPE", "Actor_Id", "Override"]);
        for name in names {
            let options = RequestOptions::default()
                .field(name, "x")
                .field("good", "y");
            assert!(matches!(options.check(), Err(Error::Invalid(_))), "{name}");
            assert!(serde_json::to_string(&options).is_err(), "{name}");
            let mut merged = RequestOptions::default().amount(1);
            merged.merge(options);
            assert!(merged.check().is_err(), "{name}");
        }
        let options = RequestOptions::default().field("ratio", &f64::NAN);
        let error = options.check().unwrap_err().to_string();
        assert!(
            error.contains("`ratio`") && error.contains("not finite"),
            "{error}"
        );
    }

    #[test]
    fn every_field_has_its_place_among_the_known() {
        let full = json!({"environment": "e", "amount": 1, "request_id": "r", "state_snapshot": {}, "explain": true,
            "approval": {}, "approval_quorum": {}, "override": {}, "completion_proofs": [], "evaluation_profile": "basic",
            "resource": {}, "current_state": {}, "proposed_state": {}, "execution_binding": {}, "require_approval": false});
        let options: RequestOptions = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(serde_json::to_value(&options).unwrap(), full);
        assert_eq!(options.names().count(), KNOWN.len());
        assert!(options.names().all(|name| KNOWN.contains(&name)));
        assert_eq!(KNOWN.len(), full.as_object().unwrap().len());
    }

    #[test]
    fn debug_shows_names_only() {
        let options = RequestOptions::default()
            .environment("hidden")
            .field("ring", "hidden");
        assert_eq!(
            format!("{options:?}"),
            r#"RequestOptions{"environment", "ring"}"#
        );
    }

    #[test]
    fn what_is_unknown_is_not_taken_over_from_a_text() {
        let text = r#"{"api_key":"k","new":1,"amount":null}"#;
        assert_eq!(
            serde_json::from_str::<RequestOptions>(text).unwrap(),
            RequestOptions::default()
        );
    }
}
