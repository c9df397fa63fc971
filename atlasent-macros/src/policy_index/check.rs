//! Checks the name of an action and the keys of its context against the index.

use proc_macro2::Span;
use syn::{Error, LitStr};

use super::{DeclaredAction, DeclaredKey, Index, load};
use crate::errors::Errors;
use crate::suggest;

/// Request fields that policies read as attributes of the context, so that a context may lack them.
const REQUEST_FIELDS: [&str; 2] = ["environment", "amount"];

/// How many actions or keys a message lists.
const LISTED: usize = 8;

/// What is checked against the index.
pub(crate) struct Subject<'a> {
    pub(crate) action: &'a LitStr,
    /// The context keys that the code gives, or `None` for a context that the macro cannot read.
    pub(crate) keys: Option<Vec<&'a LitStr>>,
    /// The place of an error about a missing key.
    pub(crate) context: Span,
    /// Whether the request may have the fields beside the context.
    pub(crate) may_have_fields: bool,
}

/// Checks an action of the crate that is compiled, and returns its declaration. Without an index,
/// or after an error, it returns `None`. Errors go to `errors`.
pub(crate) fn check(subject: &Subject<'_>, errors: &mut Errors) -> Option<DeclaredAction> {
    let loaded = load().map_err(|why| Error::new(subject.action.span(), why));
    let index = errors.take(loaded)??;
    index.check(subject, errors)
}

impl Index {
    fn check(&self, subject: &Subject<'_>, errors: &mut Errors) -> Option<DeclaredAction> {
        let name = subject.action.value();
        // Reported already: the length of a name is checked without an index.
        if name.is_empty() {
            return None;
        }
        let Some(action) = self.action(&name) else {
            errors.push(self.unknown_action(subject.action));
            return None;
        };
        let Some(keys) = &subject.keys else {
            return Some(action.clone());
        };
        let mut misspelt: Vec<&str> = Vec::new();
        for key in keys {
            if action.key(&key.value()).is_none() {
                let (error, meant) = action.unknown_key(key, keys);
                misspelt.extend(meant);
                errors.push(error);
            }
        }
        let given = |name: &str| keys.iter().any(|key| key.value() == name);
        let missing = action.keys.iter().filter(|key| {
            let is_field = REQUEST_FIELDS.contains(&&*key.name) && subject.may_have_fields;
            let name = key.name.as_str();
            key.is_required && !is_field && !given(name) && !misspelt.contains(&name)
        });
        let missing: Vec<&DeclaredKey> = missing.collect();
        if !missing.is_empty() {
            errors.push(action.missing_keys(&missing, subject.context));
        }
        Some(action.clone())
    }

    fn unknown_action(&self, name: &LitStr) -> Error {
        let written = name.value();
        let known: Vec<&str> = self.actions.iter().map(|action| &*action.name).collect();
        let advice = match suggest::nearest(&written, &known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!(
                "the schema in `{}` declares {}; declare it there, or skip the check with `unchecked_policy`",
                self.folder,
                listed(&known, "no action")
            ),
        };
        Error::new(name.span(), format!("unknown action `{written}`: {advice}"))
    }
}

impl DeclaredAction {
    /// Returns the error for an undeclared key, and the declared key that the key misspells.
    fn unknown_key(&self, key: &LitStr, given: &[&LitStr]) -> (Error, Option<&str>) {
        let written = key.value();
        let declared = self.keys.iter().map(|key| &*key.name);
        let is_given = |name: &&str| given.iter().any(|key| key.value() == **name);
        let free: Vec<&str> = declared.clone().filter(|name| !is_given(name)).collect();
        let meant = suggest::nearest(&written, &free);
        let advice = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!(
                "the schema declares {}",
                listed(&declared.collect::<Vec<_>>(), "no key")
            ),
        };
        let message = format!(
            "action `{}` has no context key `{written}`: {advice}",
            self.name
        );
        (Error::new(key.span(), message), meant)
    }

    fn missing_keys(&self, missing: &[&DeclaredKey], context: Span) -> Error {
        let shown: Vec<String> = missing
            .iter()
            .map(|key| format!("{}: {}", key.name, key.kind))
            .collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let keys = if missing.len() == 1 { "key" } else { "keys" };
        let message = format!(
            "action `{}` requires the context {keys} {}: the authority denies a request without, so add the {keys}",
            self.name,
            suggest::list(&shown)
        );
        Error::new(context, message)
    }
}

/// Lists names in backticks, up to [`LISTED`].
fn listed(names: &[&str], none: &str) -> String {
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
        action look\nrequired String environment\n";

    /// The messages for an action with these keys.
    fn errors(action: &str, keys: &[&str], may_have_fields: bool) -> Vec<String> {
        let literal = |text: &&str| LitStr::new(text, Span::call_site());
        let keys: Vec<LitStr> = keys.iter().map(literal).collect();
        let mut errors = Errors::default();
        let subject = Subject {
            action: &literal(&action),
            keys: Some(keys.iter().collect()),
            context: Span::call_site(),
            may_have_fields,
        };
        Index::parse(INDEX).unwrap().check(&subject, &mut errors);
        testing::texts(errors.finish())
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
                "unknown action `colour`: the schema in `policies` declares `deploy.production` and `look`; declare it \
                 there, or skip the check with `unchecked_policy`"
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
}
