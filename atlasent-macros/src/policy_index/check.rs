//! Checks the name of an action and the keys of its context against the index.

use proc_macro2::Span;
use syn::{Error, Expr, LitStr};

use super::declaration::Declaration;
use super::kind::DeclaredKey;
use super::{ConstantChecks, DeclaredAction, Index, load};
use crate::action_name::ActionName;
use crate::errors::Errors;
use crate::suggest;

/// Request fields that policies read as attributes of the context, so that a context may lack them.
const REQUEST_FIELDS: [&str; 3] = ["environment", "amount", "actors"];

/// How many actions or keys a message lists.
const LISTED: usize = 8;

/// What is checked against the index: the fields of a context or of a record.
pub(crate) struct Subject<'a> {
    /// `None` for a context that the macro cannot read.
    pub(crate) fields: Option<Vec<Given<'a>>>,
    /// The place of an error about a missing key.
    pub(crate) context: Span,
    /// Whether the request may have fields beside the context.
    pub(crate) may_have_fields: bool,
}

/// A field that the code gives.
pub(crate) struct Given<'a> {
    pub(crate) key: &'a LitStr,
    /// The value, where the code gives an expression.
    pub(crate) value: Option<&'a Expr>,
}

/// Checks an action of the crate that is compiled, and returns its declaration. Without an index,
/// or for an undeclared action, it returns `None`. Errors go to `errors`.
///
/// An action that a constant names is checked by the constants that [`ConstantChecks`] quotes.
pub(crate) fn check_action(
    name: &ActionName,
    subject: &Subject<'_>,
    errors: &mut Errors,
) -> Option<Declaration> {
    let loaded = load().map_err(|why| Error::new(name.span(), why));
    let index = errors.take(loaded)??;
    match name {
        ActionName::Literal(name) => index.check_literal(name, subject, errors),
        ActionName::Constant(_) => Some(index.constant(subject)),
    }
}

/// What has the keys, in messages.
pub(super) struct Owner {
    /// Such as "action `deploy`".
    pub(super) title: String,
    /// What a key is called.
    pub(super) key: &'static str,
}

/// A misfit between the code and the index.
pub(super) struct Problem {
    /// Tells the places of one site apart.
    pub(super) place: Place,
    pub(super) span: Span,
    pub(super) message: String,
}

/// The place of a problem.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The key of a field, by its number.
    Key(usize),
    /// A literal in the value of a field, by their numbers.
    Value(usize, usize),
    /// The context as a whole.
    Context,
}

impl Index {
    fn check_literal(
        &self,
        name: &LitStr,
        subject: &Subject<'_>,
        errors: &mut Errors,
    ) -> Option<Declaration> {
        let written = name.value();
        // Reported already: the length of a name is checked without an index.
        if written.is_empty() {
            return None;
        }
        let Some(action) = self.action(&written) else {
            errors.push(self.unknown_action(name));
            return None;
        };
        for problem in self.problems_of(action, subject) {
            errors.push(Error::new(problem.span, problem.message));
        }
        Some(Declaration::of_keys(&action.keys))
    }

    /// Returns what the constants of a site compare with the value of the constant that names its
    /// action: the problems of each action that it could be.
    fn constant(&self, subject: &Subject<'_>) -> Declaration {
        let mut fitting: Vec<&DeclaredAction> = Vec::new();
        let mut checks = ConstantChecks::new(
            self.actions.iter().map(|action| action.name.clone()),
            self.known_actions(),
        );
        for action in &self.actions {
            let problems = self.problems_of(action, subject);
            if problems.is_empty() {
                fitting.push(action);
            }
            for problem in problems {
                checks.add(&action.name, problem);
            }
        }
        let given = subject.fields.iter().flatten();
        let keys = given.map(|field| field.key.value());
        Declaration::of_constant(keys, &fitting, checks)
    }

    fn problems_of(&self, action: &DeclaredAction, subject: &Subject<'_>) -> Vec<Problem> {
        let owner = Owner {
            title: format!("action `{}`", action.name),
            key: "context key",
        };
        self.problems(&owner, &action.keys, subject)
    }

    /// Returns the problems of fields with the keys that their owner declares.
    pub(super) fn problems(
        &self,
        owner: &Owner,
        declared: &[DeclaredKey],
        subject: &Subject<'_>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Some(fields) = &subject.fields else {
            return problems;
        };
        let mut misspelt: Vec<&str> = Vec::new();
        for (number, field) in fields.iter().enumerate() {
            let name = field.key.value();
            let Some(key) = declared.iter().find(|key| key.name == name) else {
                let (message, meant) = owner.unknown_key(field.key, fields, declared);
                misspelt.extend(meant);
                problems.push(Problem {
                    place: Place::Key(number),
                    span: field.key.span(),
                    message,
                });
                continue;
            };
            if let Some(value) = field.value {
                let wrong = self.wrong_ids(&key.kind, value);
                let wrong = wrong.into_iter().enumerate();
                problems.extend(wrong.map(|(id, (span, message))| Problem {
                    place: Place::Value(number, id),
                    span,
                    message,
                }));
            }
        }
        let given = |name: &str| fields.iter().any(|field| field.key.value() == name);
        let missing = declared.iter().filter(|key| {
            let is_field = REQUEST_FIELDS.contains(&&*key.name) && subject.may_have_fields;
            let name = key.name.as_str();
            key.is_required && !is_field && !given(name) && !misspelt.contains(&name)
        });
        let missing: Vec<&DeclaredKey> = missing.collect();
        if !missing.is_empty() {
            problems.push(Problem {
                place: Place::Context,
                span: subject.context,
                message: owner.missing_keys(&missing),
            });
        }
        problems
    }

    pub(super) fn unknown_action(&self, name: &LitStr) -> Error {
        let written = name.value();
        let known: Vec<&str> = self.actions.iter().map(|action| &*action.name).collect();
        let advice = match suggest::nearest(&written, &known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => self.known_actions(),
        };
        Error::new(name.span(), format!("unknown action `{written}`: {advice}"))
    }

    /// Returns which actions there are, and what to do about one that is missing.
    fn known_actions(&self) -> String {
        let known: Vec<&str> = self.actions.iter().map(|action| &*action.name).collect();
        format!(
            "the schema in `{}` declares {}; declare it there, or skip the check with `unchecked_policy`",
            self.folder,
            listed(&known, "no action")
        )
    }
}

impl Owner {
    /// Returns the message for an undeclared key, and the declared key that the key misspells.
    fn unknown_key<'d>(
        &self,
        key: &LitStr,
        given: &[Given<'_>],
        declared: &'d [DeclaredKey],
    ) -> (String, Option<&'d str>) {
        let written = key.value();
        let names: Vec<&str> = declared.iter().map(|key| &*key.name).collect();
        let is_given = |name: &&&str| given.iter().any(|field| field.key.value() == ***name);
        let free: Vec<&str> = names
            .iter()
            .filter(|name| !is_given(name))
            .copied()
            .collect();
        let message = format!(
            "{} has no {} `{written}`: {}",
            self.title,
            self.key,
            advice(&written, &free, &names)
        );
        (message, suggest::nearest(&written, &free))
    }

    fn missing_keys(&self, missing: &[&DeclaredKey]) -> String {
        let shown: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let keys = match missing {
            [_] => self.key.to_owned(),
            _ => format!("{}s", self.key),
        };
        let add = if missing.len() == 1 { "key" } else { "keys" };
        format!(
            "{} requires the {keys} {}: the authority denies a request without, so add the {add}",
            self.title,
            suggest::list(&shown)
        )
    }
}

/// Returns what to write in place of an unknown key: one of `free`, or any of `names`.
pub(super) fn advice(written: &str, free: &[&str], names: &[&str]) -> String {
    match suggest::nearest(written, free) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the schema declares {}", listed(names, "no key")),
    }
}

/// Lists names in backticks, up to [`LISTED`].
pub(super) fn listed(names: &[&str], none: &str) -> String {
    match names.get(..LISTED) {
        _ if names.is_empty() => none.to_owned(),
        Some(first) if names.len() > LISTED => {
            let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and {} others", first.join(", "), names.len() - LISTED)
        }
        _ => suggest::list(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::testing;

    const INDEX: &str = "atlasent-policy-index 1\nschema 5e0c\nfolder policies\n\
        action deploy.production\nrequired String commit\nrequired Long replicas\noptional Set<String> tags\n\
        action look\nrequired String environment\n\
        action visit\nrequired Set<{geo:{lat:decimal,lon:decimal},port?:Long}> clients\n";

    fn literal(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    fn messages(errors: Errors) -> Vec<String> {
        testing::texts(errors.finish())
    }

    fn subject<'a>(keys: &'a [LitStr], may_have_fields: bool) -> Subject<'a> {
        let given = |key| Given { key, value: None };
        Subject {
            fields: Some(keys.iter().map(given).collect()),
            context: Span::call_site(),
            may_have_fields,
        }
    }

    /// The messages for an action with these keys.
    fn errors(action: &str, keys: &[&str], may_have_fields: bool) -> Vec<String> {
        let keys: Vec<LitStr> = keys.iter().map(|key| literal(key)).collect();
        let mut errors = Errors::default();
        let subject = subject(&keys, may_have_fields);
        let index = Index::parse(INDEX).unwrap();
        index.check_literal(&literal(action), &subject, &mut errors);
        messages(errors)
    }

    #[test]
    fn an_unknown_action_gets_a_suggestion_or_the_list() {
        assert_eq!(
            errors("deploy.prodcution", &["x"], false),
            ["unknown action `deploy.prodcution`: did you mean `deploy.production`?"]
        );
        assert_eq!(
            errors("colour", &[], false),
            [
                "unknown action `colour`: the schema in `policies` declares `deploy.production`, `look` and `visit`; \
                 declare it there, or skip the check with `unchecked_policy`"
            ]
        );
    }

    #[test]
    fn the_keys_are_those_of_the_schema() {
        let deploy = |keys: &[&str]| errors("deploy.production", keys, true);
        assert!(deploy(&["commit", "replicas"]).is_empty());
        assert!(deploy(&["tags", "replicas", "commit"]).is_empty());
        assert_eq!(
            deploy(&["comit", "replicas"]),
            ["action `deploy.production` has no context key `comit`: did you mean `commit`?"]
        );
        assert_eq!(
            deploy(&["commit", "replicas", "colour"]),
            [
                "action `deploy.production` has no context key `colour`: the schema declares `commit`, `replicas` and \
                 `tags`"
            ]
        );
        assert_eq!(
            deploy(&["replicas"]),
            [
                "action `deploy.production` requires the context key `commit: String`: the authority denies a request \
                 without, so add the key"
            ]
        );
        let both = deploy(&[]);
        assert!(
            both[0].contains("keys `commit: String` and `replicas: Long`"),
            "{both:?}"
        );
    }

    #[test]
    fn a_field_of_the_request_is_no_missing_key() {
        assert!(errors("look", &[], true).is_empty());
        assert_eq!(errors("look", &[], false).len(), 1);
    }

    #[test]
    fn a_constant_is_compared_with_every_action() {
        let index = Index::parse(INDEX).unwrap();
        let keys = [literal("commit"), literal("replicas")];
        let declared = index.constant(&subject(&keys, false));
        assert_eq!(declared.types("commit").len(), 1);
        assert_eq!(declared.types("tags").len(), 0);
        let shown = declared.constant.unwrap().to_string();
        assert_eq!(
            shown,
            "deploy.production, look, visit\n\
             look: action `look` has no context key `commit`: the schema declares `environment`\n\
             visit: action `visit` has no context key `commit`: the schema declares `clients`\n\
             look: action `look` has no context key `replicas`: the schema declares `environment`\n\
             visit: action `visit` has no context key `replicas`: the schema declares `clients`\n\
             look: action `look` requires the context key `environment: String`: the authority denies a request \
             without, so add the key\n\
             visit: action `visit` requires the context key `clients: Set<{ geo: { lat: decimal, lon: decimal }, \
             port?: Long }>`: the authority denies a request without, so add the key\n"
        );
    }
}
