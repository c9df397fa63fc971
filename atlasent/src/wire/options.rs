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

/// The names of a request's agent, actors, action, resource, context, API key and permit, including
/// their older names. No option may have one of them.
const RESERVED: [&str; 11] = [
    "action_type",
    "action",
    "actor_id",
    "agent",
    "actors",
    "context",
    "resource_id",
    "shadow",
    "api_key",
    "permit_token",
    "decision_id",
];

macro_rules! request_options {
    ($($(#[$doc:meta])* $field:ident as $wire:literal: $type:ty,)*) => {
        /// The optional fields of a request. They cannot change the agent, the action, the resource
        /// or the context.
        ///
        /// Each method sets one field. A second call for the same field replaces its value, except
        /// that [`require_approval`](Self::require_approval) stays true once it is.
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
            /// Whether a person has to approve, whatever the policies decide.
            #[serde(
                default,
                skip_serializing_if = "Option::is_none",
                deserialize_with = "optional"
            )]
            pub require_approval: Option<bool>,
            /// The text that the amount was written as.
            #[serde(skip)]
            written_amount: Option<WrittenAmount>,
            // Not read: a server takes over only the fields that it knows.
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

            /// Adds the fields of `others`. Where both set a field, the value of `others` wins.
            pub(crate) fn merge(&mut self, others: Self) {
                if others.amount.is_some() {
                    self.written_amount = others.written_amount;
                }
                $(if others.$field.is_some() {
                    self.$field = others.$field;
                })*
                if let Some(require) = others.require_approval {
                    self.require(require);
                }
                self.extra.merge(others.extra);
            }

            /// Returns the names on the wire of the fields that are set.
            fn names(&self) -> impl Iterator<Item = &str> {
                let known = [
                    $(self.$field.as_ref().map(|_| $wire)),*,
                    self.require_approval.map(|_| "require_approval"),
                ];
                let extra = self.extra.fields.keys().map(String::as_str);
                known.into_iter().flatten().chain(extra)
            }
        }

        /// The names on the wire of the fields that have a method.
        const KNOWN: &[&str] = &[$($wire),*, "require_approval"];
    };
}

request_options! {
    /// The environment of the action, such as `production`.
    environment as "environment": String,
    /// The amount of money or units, as a JSON number.
    amount as "amount": serde_json::Number,
    /// The caller's id for this request. A repeated request with the same id gets the same permit.
    request_id as "request_id": String,
    /// A snapshot of the state before the action, as far as the caller knows it.
    state_snapshot as "state_snapshot": Value,
    /// Whether the authority explains its decision.
    explain as "explain": bool,
    /// A person's approval: an [`Approval`](crate::approval::Approval), or its JSON.
    approval as "approval": Value,
    /// Approvals of several people: an [`ApprovalQuorum`](crate::approval::ApprovalQuorum), or its
    /// JSON.
    approval_quorum as "approval_quorum": Value,
    /// An emergency override: an [`EmergencyOverride`](crate::approval::EmergencyOverride), or its
    /// JSON. It is `override` on the wire.
    emergency_override as "override": Value,
    /// Proofs that other agents did the steps that this action depends on.
    completion_proofs as "completion_proofs": Vec<CompletionProof>,
    /// The layers of the evaluation that run.
    evaluation_profile as "evaluation_profile": EvaluationProfile,
    /// The full resource, for policies that need more than its id.
    resource as "resource": Value,
    /// The state before the action.
    current_state as "current_state": Value,
    /// The state after the action.
    proposed_state as "proposed_state": Value,
    /// Further data that the execution is bound to, beside action, agent and context.
    execution_binding as "execution_binding": Value,
}

impl RequestOptions {
    /// Requires a person's approval, whatever the policies decide. A later call with `false` does
    /// not take that back.
    #[must_use]
    pub fn require_approval(mut self, require_approval: bool) -> Self {
        self.require(require_approval);
        self
    }

    /// Sets a field for which this version has no method. A second call with the same name replaces
    /// its value.
    ///
    /// Authorities ignore a field that they do not know; the embedded one does. The fields of
    /// agent, action, resource and context, and fields with a method, cannot be set this way, in
    /// upper or lower case, nor can a value without a JSON form. Such a call makes the request fail
    /// with [`Error::Invalid`] before the authority is asked.
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

    /// Sets the amount, and keeps the text of the JSON number that it was written as.
    ///
    /// The text has to denote the same number. Policies see the number; approvers see and sign the
    /// text. So a signer that writes 100 as `100.0`, as Python does, signs another hash than one
    /// that writes `100` ([`action_hash`](crate::approval::action_hash)).
    ///
    /// ```
    /// use atlasent::wire::RequestOptions;
    ///
    /// let options = RequestOptions::default().amount_as_written(100, "100.0");
    /// assert_eq!(options.written_amount(), Some("100.0"));
    /// assert_eq!(options.amount(5).written_amount(), None);
    /// ```
    #[must_use]
    pub fn amount_as_written(
        mut self,
        amount: impl Into<serde_json::Number>,
        text: impl Into<Box<str>>,
    ) -> Self {
        let (number, text) = (amount.into(), text.into());
        self.amount = Some(number.clone());
        self.written_amount = Some(WrittenAmount { number, text });
        self
    }

    /// Returns the text that the amount was [written as](Self::amount_as_written). Returns `None`
    /// if no text is known, or if the amount was changed to another number.
    #[must_use]
    pub fn written_amount(&self) -> Option<&str> {
        let written = self.written_amount.as_ref();
        let current = written.filter(|written| self.amount.as_ref() == Some(&written.number));
        current.map(|written| &*written.text)
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

/// Prints the names of the options that are set and omits their values, which may be secrets.
impl fmt::Debug for RequestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestOptions")?;
        f.debug_set().entries(self.names()).finish()
    }
}

/// The text of an amount.
#[derive(Clone, PartialEq)]
struct WrittenAmount {
    /// The amount that the text denotes.
    number: serde_json::Number,
    text: Box<str>,
}

/// The fields that were set by name. A setter cannot return an error, so the first one is kept
/// until the request is sent or serialized.
#[derive(Clone, Default, PartialEq)]
struct ExtraFields {
    fields: Map<String, Value>,
    error: Option<String>,
}

impl ExtraFields {
    fn set<T: Serialize + ?Sized>(&mut self, name: String, value: &T) {
        // Some servers ignore the case of field names, so `Context` is reserved too.
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

/// Reads an optional field without repeated keys. `null` is the same as absent.
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
