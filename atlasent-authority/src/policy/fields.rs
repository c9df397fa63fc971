//! The fields of a request that policies see: agent, action, resource and context, and the fields
//! beside the context.

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, Context, Error};
use serde_json::{Number, Value};

use crate::policy::{Numeral, PolicyInput};

/// How many actors a request may have. An ATI token has at most this many.
const MAX_ACTORS: usize = 8;

/// The fields of a request that policies see as attributes of the context. Policies do not see the
/// others: see `docs/policies.md`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields<'a> {
    /// The value of `context.environment`.
    pub(crate) environment: Option<&'a str>,
    /// The value of `context.amount`.
    pub(crate) amount: Option<&'a Number>,
    /// The value of `context.actors`, which a request without actors does not have.
    pub(crate) actors: &'a [Agent],
}

/// The value of one of the fields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field<'a> {
    Text(&'a str),
    Number(&'a Number),
    Names(&'a [Agent]),
}

impl<'a> Fields<'a> {
    /// Returns the fields that are set, with their names.
    pub(crate) fn named(self) -> impl Iterator<Item = (&'static str, Field<'a>)> {
        let environment = (self.environment).map(|name| ("environment", Field::Text(name)));
        let amount = (self.amount).map(|number| ("amount", Field::Number(number)));
        let actors = Some(self.actors).filter(|actors| !actors.is_empty());
        let actors = actors.map(|names| ("actors", Field::Names(names)));
        environment.into_iter().chain(amount).chain(actors)
    }
}

impl From<Field<'_>> for Value {
    fn from(field: Field<'_>) -> Self {
        match field {
            Field::Text(text) => text.into(),
            Field::Number(number) => Self::Number(number.clone()),
            Field::Names(names) => names.iter().map(Agent::as_str).collect(),
        }
    }
}

/// Returns what the policies see of a request.
///
/// # Errors
///
/// As [`check_fields`].
pub(crate) fn policy_input(request: &EvaluateRequest) -> Result<PolicyInput<'_>, Error> {
    check_fields(request)?;
    Ok(PolicyInput {
        agent: request.actor_id.as_str(),
        action: &request.action_type,
        resource: request.resource_id.as_deref(),
        context: &request.context,
        fields: Fields {
            environment: request.options.environment.as_deref(),
            amount: request.options.amount.as_ref(),
            actors: &request.actors,
        },
        is_shadow: request.shadow == Some(true),
    })
}

/// Checks that the `environment` and the `amount` of a request do not contradict its context, that
/// the context has no `actors`, and that the request has at most 8 of them. Numbers are compared by
/// value, and `null` is the same as absent.
///
/// An authority checks this before it decides.
///
/// # Errors
///
/// [`Error::Invalid`] when the context contradicts the request's environment or amount, or names
/// actors, or when the request has too many. The error names the field and no value.
///
/// ```
/// use atlasent::wire::{EvaluateRequest, RequestOptions};
/// use atlasent::{Agent, AnyAction};
/// use atlasent_authority::policy::check_fields;
///
/// let deploy = AnyAction::new("deploy")?.with_field("environment", "staging")?;
/// let request = EvaluateRequest::new(Agent::new("bot")?, &deploy)?;
/// let production = RequestOptions::default().environment("production");
/// assert!(check_fields(&request).is_ok());
/// assert!(check_fields(&request.with_options(production)).is_err());
/// # Ok::<(), atlasent::Error>(())
/// ```
pub fn check_fields(request: &EvaluateRequest) -> Result<(), Error> {
    let context = &request.context;
    if let Some(environment) = &request.options.environment {
        // An amount that is too large for a float is a string.
        let is_text = written(context, "environment").is_none();
        let is_same = |value: &Value| is_text && value.as_str() == Some(environment);
        check("environment", context, is_same)?;
    }
    if let Some(amount) = &request.options.amount {
        let amount = || amount.to_string();
        let is_same = |value: &Value| match (written(context, "amount"), value) {
            (Some(text), _) => is_equal(text, &amount()),
            (None, Value::Number(number)) => is_equal(&number.to_string(), &amount()),
            (None, _) => false,
        };
        check("amount", context, is_same)?;
    }
    // Contexts come from agents, so the actors, which come from a verified token, stand beside it.
    if context.get("actors").is_some_and(|value| !value.is_null()) {
        return Err(Error::Invalid(
            "`context.actors` is the chain of a delegated token: send it as the request's `actors`, and give a context key of your own another name"
                .to_owned(),
        ));
    }
    if request.actors.len() > MAX_ACTORS {
        return Err(Error::Invalid(format!(
            "`actors` has more than {MAX_ACTORS} names: delegate from a token nearer to the agent"
        )));
    }
    Ok(())
}

/// Parses an amount from the text of a JSON number, exactly: an integral number of 64 bits becomes
/// an integer, however it is written.
///
/// # Errors
///
/// [`Error::Invalid`] when the text is not a JSON number, or when a float cannot hold its exact
/// value. The error quotes nothing of the text.
///
/// ```
/// use atlasent_authority::policy::parse_amount;
///
/// assert_eq!(parse_amount("9223372036854775807.0")?.as_i64(), Some(i64::MAX));
/// assert_eq!(parse_amount("19.99")?.as_f64(), Some(19.99));
/// assert!(parse_amount("0.30000000000000000001").is_err());
/// # Ok::<(), atlasent::Error>(())
/// ```
pub fn parse_amount(text: &str) -> Result<Number, Error> {
    let invalid = |why: &str| Error::Invalid(format!("`amount` {why}"));
    let numeral = Numeral::parse(text).ok_or_else(|| invalid("is not a JSON number"))?;
    if let Some(long) = numeral.long() {
        return Ok(long.into());
    }
    let nearest = serde_json::from_str::<Number>(text).ok();
    let exact = nearest.filter(|number| is_equal(&number.to_string(), text));
    exact.ok_or_else(|| {
        invalid(
            "has more digits than a float holds: send an integer of the smallest unit, such as \
             cents",
        )
    })
}

/// Compares a field with the context's, if the context has it. `null` is the same as absent.
fn check(name: &str, context: &Context, is_same: impl Fn(&Value) -> bool) -> Result<(), Error> {
    match context.get(name).filter(|value| !value.is_null()) {
        Some(value) if !is_same(value) => Err(Error::Invalid(format!(
            "`{name}` and `context.{name}` are two different values: send one of them"
        ))),
        _ => Ok(()),
    }
}

fn written<'a>(context: &'a Context, key: &str) -> Option<&'a str> {
    context.written_numbers()?.member(key)?.text()
}

fn is_equal(one: &str, other: &str) -> bool {
    let (one, other) = (Numeral::parse(one), Numeral::parse(other));
    one.is_some() && one == other
}

#[cfg(test)]
mod tests {
    use atlasent::wire::RequestOptions;
    use atlasent::{Agent, AnyAction};

    use super::*;

    fn ask(context: &str, fields: &str) -> Result<usize, String> {
        let action = AnyAction::new("pay").unwrap();
        let action = action.with_context(Context::parse(context).unwrap());
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let options: RequestOptions = serde_json::from_str(fields).unwrap();
        let request = request.with_options(options);
        let input = policy_input(&request).map_err(|error| error.to_string())?;
        Ok(input.fields.named().count())
    }

    #[test]
    fn a_field_and_the_context_must_not_differ() {
        for (context, fields) in [
            (r#"{"environment": "test"}"#, r#"{"environment": "live"}"#),
            (r#"{"environment": ""}"#, r#"{"environment": "live"}"#),
            (r#"{"environment": ["live"]}"#, r#"{"environment": "live"}"#),
            (r#"{"environment": false}"#, r#"{"environment": "live"}"#),
            (r#"{"environment": 1e400}"#, r#"{"environment": "1e400"}"#),
            (r#"{"amount": 6}"#, r#"{"amount": 5}"#),
            (r#"{"amount": 5.00001}"#, r#"{"amount": 5}"#),
            (r#"{"amount": "5"}"#, r#"{"amount": 5}"#),
            (r#"{"amount": -5}"#, r#"{"amount": 5}"#),
            (
                r#"{"amount": 9007199254740993.0}"#,
                r#"{"amount": 9007199254740992}"#,
            ),
            (r#"{"amount": 1e400}"#, r#"{"amount": 1e300}"#),
        ] {
            let error = ask(context, fields).unwrap_err();
            assert!(error.contains("two different values"), "{context}: {error}");
            for value in ["live", "test"] {
                assert!(!error.contains(value), "{error}");
            }
        }
    }

    #[test]
    fn actors_are_never_read_from_a_context() {
        for context in [
            r#"{"actors": []}"#,
            r#"{"actors": ["bot"]}"#,
            r#"{"actors": 0}"#,
        ] {
            let error = ask(context, "{}").unwrap_err();
            assert!(error.contains("`context.actors`"), "{context}: {error}");
        }
        assert_eq!(ask(r#"{"actors": null}"#, "{}"), Ok(0));
    }

    #[test]
    fn a_request_has_as_many_actors_as_a_token_may() {
        let request = |actors: usize| {
            let action = AnyAction::new("pay").unwrap();
            let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
            request.with_actors((0..actors).map(|actor| Agent::new(format!("{actor}")).unwrap()))
        };
        assert_eq!(policy_input(&request(0)).unwrap().fields.named().count(), 0);
        let most = request(MAX_ACTORS);
        assert_eq!(policy_input(&most).unwrap().fields.named().count(), 1);
        assert!(policy_input(&request(MAX_ACTORS + 1)).is_err());
    }

    #[test]
    fn a_field_and_the_context_may_spell_one_value_in_two_ways() {
        for (context, fields) in [
            (r#"{"environment": "live"}"#, r#"{"environment": "live"}"#),
            (r#"{"environment": null}"#, r#"{"environment": "live"}"#),
            (r#"{"amount": 5.0}"#, r#"{"amount": 5}"#),
            (r#"{"amount": 50e-1}"#, r#"{"amount": 5}"#),
            (r#"{"amount": 19.99}"#, r#"{"amount": 1999e-2}"#),
            (r#"{"amount": -0.0}"#, r#"{"amount": 0}"#),
            (
                r#"{"amount": 9007199254740993.0}"#,
                r#"{"amount": 9007199254740993}"#,
            ),
            (r#"{"amount": null}"#, r#"{"amount": 1e300}"#),
            ("{}", r#"{"amount": 0}"#),
        ] {
            assert_eq!(ask(context, fields), Ok(1), "{context}");
        }
        assert_eq!(ask(r#"{"amount": 1}"#, "{}"), Ok(0));
    }
}
