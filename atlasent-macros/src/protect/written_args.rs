//! Parses the arguments of `#[protect]` as written: a list of `key = value`.

use proc_macro2::TokenTree;
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprClosure, Ident, Path, Token, token};

use super::context::Context;
use super::receipt;
use crate::errors::Errors;
use crate::runtime::parse_crate;
use crate::suggest;

const KEYS: [&str; 12] = [
    "action",
    "agent",
    "context",
    "resource",
    "authority",
    "request",
    "receipt",
    "scope",
    "claims",
    "wait",
    "crate",
    UNCHECKED,
];

/// The argument without a value that skips the check against the policy index.
const UNCHECKED: &str = "unchecked_policy";

/// The names of our keys in the contract, in other SDKs and in neighbouring crates.
const SYNONYMS: [(&str, &str); 11] = [
    ("action_type", "action"),
    ("name", "action"),
    ("actor", "agent"),
    ("actor_id", "agent"),
    ("subject", "agent"),
    ("ctx", "context"),
    ("resource_id", "resource"),
    ("client", "authority"),
    ("options", "request"),
    ("token", "claims"),
    ("timeout", "wait"),
];

/// A value, with its key for errors.
type Keyed<T> = Option<(Ident, T)>;

/// The arguments as written.
#[derive(Default)]
pub(crate) struct WrittenArgs {
    pub(crate) action: Keyed<Expr>,
    pub(crate) agent: Keyed<Expr>,
    pub(crate) context: Keyed<Context>,
    pub(crate) resource: Keyed<Expr>,
    pub(crate) authority: Keyed<Expr>,
    pub(crate) request: Keyed<Expr>,
    pub(crate) receipt: Keyed<ExprClosure>,
    pub(crate) scope: Keyed<Expr>,
    pub(crate) claims: Keyed<Expr>,
    pub(crate) wait: Keyed<Expr>,
    pub(crate) path: Keyed<Path>,
    pub(crate) unchecked: Keyed<()>,
    /// Keys with an error that has been reported, so that they do not count as missing.
    pub(crate) misspelt: Vec<&'static str>,
    /// Whether a syntax error ended the list early.
    pub(crate) has_syntax_error: bool,
}

impl WrittenArgs {
    /// Parses all arguments, up to the first syntax error.
    pub(crate) fn parse_all(
        &mut self,
        input: ParseStream<'_>,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        while !input.is_empty() {
            self.parse_one(input, errors)?;
            if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                return Err(input.error("expected `,` between the arguments of `#[protect]`"));
            }
        }
        Ok(())
    }

    /// Whether the user wrote this argument, or one that was meant to be it.
    pub(crate) fn has(&self, key: &str) -> bool {
        let written = match key {
            "action" => self.action.is_some(),
            "agent" => self.agent.is_some(),
            "context" => self.context.is_some(),
            "resource" => self.resource.is_some(),
            "authority" => self.authority.is_some(),
            "request" => self.request.is_some(),
            "receipt" => self.receipt.is_some(),
            "scope" => self.scope.is_some(),
            "claims" => self.claims.is_some(),
            "wait" => self.wait.is_some(),
            _ => self.path.is_some(),
        };
        written || self.misspelt.contains(&key)
    }

    /// Parses one argument. An error that leaves the next argument readable goes to `errors`.
    fn parse_one(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
        let Ok(key) = input.call(Ident::parse_any) else {
            return Err(input.error(
                "expected `key = value`, such as `action = \"deploy.production\"` or `agent = \"deploy-bot\"`",
            ));
        };
        let written = key.unraw().to_string();
        let Some(known) = KEYS.into_iter().find(|known| *known == written) else {
            let synonym = SYNONYMS.iter().find(|(other, _)| *other == written);
            let meant = synonym.map(|(_, ours)| *ours);
            let meant = meant.or_else(|| suggest::nearest(&written, &KEYS));
            let meant = KEYS.into_iter().find(|known| Some(*known) == meant);
            self.misspelt.extend(meant);
            errors.push(suggest::unknown(&key, meant, &KEYS, "`#[protect]`"));
            return skip_value(input);
        };
        if known == UNCHECKED {
            errors.take(put(&mut self.unchecked, key.clone(), ()));
            return match input.is_empty() || input.peek(Token![,]) {
                true => Ok(()),
                false => {
                    let message = format!("`{key}` takes no value: write `{key}` alone");
                    errors.push(Error::new(key.span(), message));
                    skip_value(input)
                }
            };
        }
        if !input.peek(Token![=]) || input.peek(Token![==]) {
            errors.push(needs_value(&key));
            self.misspelt.push(known);
            return skip_value(input);
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() || input.peek(Token![,]) {
            errors.push(needs_value(&key));
            self.misspelt.push(known);
            return Ok(());
        }
        let unique = match known {
            "action" => put(&mut self.action, key, input.parse()?),
            "agent" => put(&mut self.agent, key, input.parse()?),
            "context" => put(&mut self.context, key, Context::parse(input, errors)?),
            "resource" => put(&mut self.resource, key, input.parse()?),
            "authority" => put(&mut self.authority, key, input.parse()?),
            "scope" => put(&mut self.scope, key, input.parse()?),
            "claims" => put(&mut self.claims, key, input.parse()?),
            "wait" => put(&mut self.wait, key, input.parse()?),
            "crate" => put(&mut self.path, key, parse_crate(input)?),
            "receipt" => match receipt::closure(input.parse()?) {
                Ok(closure) => put(&mut self.receipt, key, closure),
                Err(error) => Err(error),
            },
            _ => {
                let request = input.parse()?;
                errors.take(check_request(&request));
                put(&mut self.request, key, request)
            }
        };
        errors.take(unique);
        Ok(())
    }
}

/// Stores a value, or rejects the second value of a key.
fn put<T>(stored: &mut Keyed<T>, key: Ident, value: T) -> syn::Result<()> {
    if stored.is_some() {
        return Err(Error::new(
            key.span(),
            format!("`{key}` is given twice: keep one"),
        ));
    }
    *stored = Some((key, value));
    Ok(())
}

/// Rejects a literal in place of the closure, with a better error than the compiler has.
fn check_request(request: &Expr) -> syn::Result<()> {
    match request {
        Expr::Lit(value) => Err(Error::new_spanned(
            value,
            "`request` takes a closure that sets optional fields: write a closure, such as \
             `request = |r| r.environment(\"production\")`",
        )),
        _ => Ok(()),
    }
}

/// Builds the error for a key without a value.
fn needs_value(key: &Ident) -> Error {
    Error::new(
        key.span(),
        format!("`{key}` needs a value: write `{key} = ...`"),
    )
}

/// Skips the value of a key that is an error, up to the next argument.
fn skip_value(input: ParseStream<'_>) -> syn::Result<()> {
    if input.peek(Token![=]) && !input.peek2(token::Brace) {
        let ahead = input.fork();
        if ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Expr>().is_ok() {
            input.parse::<Token![=]>()?;
            input.parse::<Expr>()?;
            return Ok(());
        }
    }
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use crate::errors::testing;
    use crate::protect::args::Args;

    fn errors(tokens: TokenStream) -> Vec<String> {
        testing::texts(Args::parse(tokens))
    }

    fn one_error(tokens: TokenStream) -> String {
        testing::one_text(Args::parse(tokens))
    }

    #[test]
    fn a_misspelt_key_is_not_missing_as_well() {
        let error = one_error(quote!(actoin = "deploy", agent = "a"));
        assert!(error.contains("did you mean `action`?"), "{error}");
        let error = one_error(quote!(action = "deploy", actor_id = "a", context = { x: 1 }));
        assert!(error.contains("did you mean `agent`?"), "{error}");
        let error = one_error(quote!(action = "deploy", agent = "a", ctx = { x: 1, y }));
        assert!(error.contains("did you mean `context`?"), "{error}");
    }

    #[test]
    fn an_unknown_key_gets_the_list() {
        let error = one_error(quote!(action = "deploy", agent = "a", colour = a + b));
        assert!(error.contains("takes `action`, `agent`,"), "{error}");
        let error = one_error(quote!(action = "deploy", agent = "a", colour));
        assert!(error.contains("unknown argument `colour`"), "{error}");
    }

    #[test]
    fn a_repeated_argument_is_an_error() {
        let error = one_error(quote!(action = "a", agent = "a", agent = "b"));
        assert!(error.contains("`agent` is given twice"), "{error}");
    }

    #[test]
    fn a_key_needs_a_value() {
        assert!(one_error(quote!(action = "a", agent)).contains("`agent = ...`"));
        assert!(one_error(quote!(action = "a", agent =)).contains("`agent = ...`"));
        assert!(one_error(quote!(action: "a", agent = "a")).contains("`action = ...`"));
        assert!(one_error(quote!("deploy", agent = "a")).contains("expected `key = value`"));
        assert!(one_error(quote!(action = "a" agent = "a")).contains("expected `,`"));
    }

    #[test]
    fn the_crate_is_a_path() {
        let error = one_error(quote!(action = "a", agent = "a", crate = "facade"));
        assert!(error.contains("write `crate = facade`"), "{error}");
    }

    #[test]
    fn the_unchecked_site_takes_no_value() {
        assert!(errors(quote!(action = "a", agent = "a", unchecked_policy)).is_empty());
        let error = one_error(quote!(action = "a", agent = "a", unchecked_policy = true));
        assert!(error.contains("takes no value"), "{error}");
        let error = one_error(quote!(action = "a", agent = "a", unchecked));
        assert!(
            error.contains("did you mean `unchecked_policy`?"),
            "{error}"
        );
        let error = one_error(quote!(action = X { a }, agent = "a", unchecked_policy));
        assert!(error.contains("on the struct"), "{error}");
    }

    #[test]
    fn receipt_is_a_closure_of_the_result() {
        let receipt = |value: TokenStream| quote!(action = "a", agent = "a", receipt = #value);
        assert!(errors(receipt(quote!(|release| release.id.to_string()))).is_empty());
        assert!(errors(receipt(quote!(|(id, _)| id))).is_empty());
        for wrong in [
            quote!("id"),
            quote!(hash_of),
            quote!(|| 1),
            quote!(|a, b| a),
            quote!(async |a| a),
            quote!(|a| -> String { a }),
        ] {
            let error = one_error(receipt(wrong));
            assert!(error.contains("`receipt = |release|"), "{error}");
        }
    }

    #[test]
    fn request_is_no_value() {
        let error = one_error(quote!(action = "a", agent = "a", request = "production"));
        assert!(error.contains("write a closure"), "{error}");
    }
}
