//! The arguments of `#[protect]`, as written.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Expr, Ident, Lit, LitStr, Path, Token, token};

use super::context::Context;
use super::scope::Scope;
use crate::errors::Errors;
use crate::runtime::parse_crate;
use crate::{name, suggest};

/// What is asked for, by whom, of whom and how.
pub(crate) struct Args {
    pub(crate) action: Action,
    pub(crate) agent: Expr,
    pub(crate) authority: Option<Expr>,
    pub(crate) request: Option<Expr>,
    pub(crate) scope: Option<Scope>,
    /// Where the `atlasent` crate is.
    pub(crate) path: Option<Path>,
}

/// What is asked for.
pub(crate) enum Action {
    /// A name in the attribute, with whatever else the attribute says about it.
    Literal {
        name: LitStr,
        context: Option<Context>,
        resource: Option<Expr>,
    },
    /// A value that says everything about itself.
    Typed(Expr),
}

const KEYS: [&str; 9] = [
    "action",
    "agent",
    "context",
    "resource",
    "authority",
    "request",
    "scope",
    "claims",
    "crate",
];

/// What the contract, other SDKs and neighbouring crates call ours.
const SYNONYMS: [(&str, &str); 10] = [
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
];

impl Args {
    /// Reads the arguments. The error holds everything that is wrong with them.
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut errors = Errors::default();
        let mut slots = Slots::default();
        let read = (|input: ParseStream<'_>| slots.read_all(input, &mut errors)).parse2(tokens);
        // After a syntax error nobody knows what else was meant, so nothing is called missing.
        slots.broken |= errors.take(read).is_none();
        let arguments = slots.into_args(&mut errors);
        errors.finish()?;
        // Not reached: `into_args` has named what is missing.
        arguments.ok_or_else(|| Error::new(Span::call_site(), "incomplete arguments"))
    }
}

/// One value a key, with the key for errors.
type Slot<T> = Option<(Ident, T)>;

#[derive(Default)]
struct Slots {
    action: Slot<Expr>,
    agent: Slot<Expr>,
    context: Slot<Context>,
    resource: Slot<Expr>,
    authority: Slot<Expr>,
    request: Slot<Expr>,
    scope: Slot<Expr>,
    claims: Slot<Expr>,
    path: Slot<Path>,
    /// Keys that were written, but wrongly: not missing, and already reported.
    misspelt: Vec<&'static str>,
    broken: bool,
}

impl Slots {
    fn read_all(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
        while !input.is_empty() {
            self.read(input, errors)?;
            if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                return Err(input.error("expected `,` between the arguments of `#[protect]`"));
            }
        }
        Ok(())
    }

    /// Reads one argument. An error that the next argument does not suffer from goes to `errors`.
    fn read(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
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
            "crate" => put(&mut self.path, key, parse_crate(input)?),
            _ => {
                let request = input.parse()?;
                errors.take(check_request(&request));
                put(&mut self.request, key, request)
            }
        };
        errors.take(unique);
        Ok(())
    }

    /// What was read, if it is complete and fits together.
    fn into_args(self, errors: &mut Errors) -> Option<Args> {
        self.report_missing(errors);
        let missing = |key: &str| !self.broken && !self.misspelt.contains(&key);
        let scope = Scope::join(self.scope, self.claims, missing, errors);
        let action = self.action.map(|(_, action)| match literal(action) {
            Ok(name) => {
                errors.take(name::check(&name));
                Action::Literal {
                    name,
                    context: self.context.map(|(_, context)| context),
                    resource: self.resource.map(|(_, resource)| resource),
                }
            }
            Err(typed) => {
                if let Some((key, _)) = self.context {
                    errors.push(Error::new(
                        key.span(),
                        "`context` needs a literal action: the fields of a typed action are its context, so remove `context`",
                    ));
                }
                if let Some((key, _)) = self.resource {
                    errors.push(Error::new(
                        key.span(),
                        "`resource` needs a literal action: mark a field of the typed action with \
                         `#[action(resource)]`, and remove `resource` here",
                    ));
                }
                Action::Typed(*typed)
            }
        });
        Some(Args {
            action: action?,
            agent: self.agent?.1,
            authority: self.authority.map(|(_, authority)| authority),
            request: self.request.map(|(_, request)| request),
            scope,
            path: self.path.map(|(_, path)| path),
        })
    }

    fn report_missing(&self, errors: &mut Errors) {
        let lacks = |key, absent: bool| absent && !self.broken && !self.misspelt.contains(&key);
        let action = lacks("action", self.action.is_none());
        let agent = lacks("agent", self.agent.is_none());
        let message = match (action, agent) {
            (true, true) => {
                "missing `action` and `agent`: write \
                 `#[protect(action = \"deploy.production\", agent = \"deploy-bot\")]`"
            }
            (true, false) => {
                "missing `action`: name the action to authorize, such as `action = \"deploy.production\"` \
                 or `action = Deploy { commit }`"
            }
            (false, true) => {
                "missing `agent`: name the agent that acts, such as `agent = \"deploy-bot\"` or `agent = claims.sub()`"
            }
            (false, false) => return,
        };
        errors.push(Error::new(Span::call_site(), message));
    }
}

fn put<T>(slot: &mut Slot<T>, key: Ident, value: T) -> syn::Result<()> {
    if slot.is_some() {
        return Err(Error::new(
            key.span(),
            format!("`{key}` is given twice: keep one"),
        ));
    }
    *slot = Some((key, value));
    Ok(())
}

/// The string literal that `action` is, or `action` itself.
fn literal(action: Expr) -> Result<LitStr, Box<Expr>> {
    match action {
        Expr::Lit(literal) => match literal.lit {
            Lit::Str(name) => Ok(name),
            other => Err(Box::new(Expr::Lit(syn::ExprLit {
                attrs: literal.attrs,
                lit: other,
            }))),
        },
        // A literal that a `macro_rules!` macro passed on.
        Expr::Group(group) => literal(*group.expr),
        Expr::Paren(paren) => literal(*paren.expr),
        typed => Err(Box::new(typed)),
    }
}

/// A value in place of the closure that sets it: the compiler would only say that it is none.
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

fn needs_value(key: &Ident) -> Error {
    Error::new(
        key.span(),
        format!("`{key}` needs a value: write `{key} = ...`"),
    )
}

/// Goes to the next argument: past the value of a key whose value nobody needs.
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
    use super::*;
    use quote::{ToTokens as _, quote};

    fn errors(tokens: TokenStream) -> Vec<String> {
        match Args::parse(tokens) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
        }
    }

    fn one_error(tokens: TokenStream) -> String {
        let mut errors = errors(tokens);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.remove(0)
    }

    #[test]
    fn every_argument_is_read() {
        let args = Args::parse(quote! {
            action = "deploy", agent = claims.sub, context = { commit, approver: &user.name, "n": 1, r#type, },
            resource = id, authority = self.authority, request = |r| r.environment("production"),
            crate = facade::guard,
        })
        .unwrap();
        assert_eq!(args.path.to_token_stream().to_string(), "facade :: guard");
        assert_eq!(args.agent.to_token_stream().to_string(), "claims . sub");
        assert!(args.authority.is_some() && args.request.is_some());
        let Action::Literal {
            name,
            context: Some(Context::Fields(fields)),
            resource: Some(_),
        } = args.action
        else {
            panic!("not a literal action with fields and a resource");
        };
        assert_eq!(name.value(), "deploy");
        let keys: Vec<String> = fields.iter().map(|field| field.key.value()).collect();
        assert_eq!(keys, ["commit", "approver", "n", "type"]);
    }

    #[test]
    fn an_action_that_is_no_literal_is_typed() {
        let args = Args::parse(quote!(action = Modify { id, reason }, agent = "a")).unwrap();
        assert!(matches!(args.action, Action::Typed(_)));
        let args = Args::parse(quote!(action = ("in parentheses"), agent = "a")).unwrap();
        assert!(matches!(args.action, Action::Literal { .. }));
    }

    #[test]
    fn a_context_can_be_an_expression() {
        let args = Args::parse(quote!(action = "a", agent = "a", context = ctx.clone())).unwrap();
        assert!(matches!(
            args.action,
            Action::Literal {
                context: Some(Context::Value(_)),
                ..
            }
        ));
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
    fn a_missing_argument_is_named_with_an_example() {
        assert!(one_error(quote!()).contains("`agent`: write `#[protect(action ="));
        assert!(one_error(quote!(agent = "a")).contains("missing `action`"));
        assert!(one_error(quote!(action = "a")).contains("missing `agent`"));
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
    fn the_length_of_a_literal_action_is_checked() {
        assert!(one_error(quote!(action = "", agent = "a")).contains("empty"));
        let long = "x".repeat(257);
        assert!(one_error(quote!(action = #long, agent = "a")).contains("257"));
    }

    #[test]
    fn a_typed_action_speaks_for_itself() {
        let both = errors(quote!(
            action = Flush,
            agent = "a",
            context = { a },
            resource = id
        ));
        assert!(
            both[0].contains("`context` needs a literal action"),
            "{both:?}"
        );
        assert!(both[1].contains("#[action(resource)]"), "{both:?}");
    }

    #[test]
    fn the_crate_is_a_path() {
        let error = one_error(quote!(action = "a", agent = "a", crate = "facade"));
        assert!(error.contains("write `crate = facade`"), "{error}");
    }

    #[test]
    fn request_is_no_value() {
        let error = one_error(quote!(action = "a", agent = "a", request = "production"));
        assert!(error.contains("write a closure"), "{error}");
    }

    #[test]
    fn independent_errors_come_together() {
        let all = errors(quote!(action = "", agnet = "a", context = { a, a, "": 1 }, foo = 1));
        assert_eq!(all.len(), 5, "{all:?}");
    }

    #[test]
    fn the_fields_of_a_context_are_checked() {
        let context = |fields: TokenStream| {
            one_error(quote!(action = "a", agent = "a", context = { #fields }))
        };
        assert!(context(quote!(a, "a": 1)).contains("two fields `a`"));
        assert!(context(quote!("a")).contains("write `\"a\": ...`"));
        assert!(context(quote!(user.name)).contains("write `key: value`"));
        assert!(context(quote!(1)).contains("expected a field of the context"));
        assert!(context(quote!(a b)).contains("needs a key"));
        for block in [
            quote!(let q = 1; q),
            quote!(tally(); q),
            quote!(if q { 1 } else { 2 }),
            quote!(match q {
                _ => 1,
            }),
            quote!(return),
        ] {
            let error = context(block);
            assert!(error.contains("in parentheses"), "{error}");
        }
    }
}
