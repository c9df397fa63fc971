//! Validates the arguments of `#[protect]`: complete, and fitting together.

use proc_macro2::{Span, TokenStream};
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Expr, ExprClosure, Ident, Lit, LitStr, Path};

use super::context::Context;
use super::scope::TokenClaims;
use super::wait::Wait;
use super::written_args::WrittenArgs;
use crate::action_name::{self, ActionName};
use crate::errors::Errors;
use crate::policy_index::{self, Declaration, Given, Subject};

/// The arguments of `#[protect]`, after every check.
pub(crate) struct Args {
    pub(crate) action: Action,
    pub(crate) agent: Expr,
    pub(crate) authority: Option<Expr>,
    pub(crate) request: Option<Expr>,
    /// What the result is hashed by for the receipt.
    pub(crate) receipt: Option<ExprClosure>,
    pub(crate) claims: Option<TokenClaims>,
    pub(crate) wait: Option<Wait>,
    /// The path of the `atlasent` crate.
    pub(crate) path: Option<Path>,
}

/// The action to authorize.
pub(crate) enum Action {
    /// A name in the attribute, with the context and resource that the attribute adds.
    Named {
        name: ActionName,
        context: Option<Context>,
        resource: Option<Expr>,
        /// The declaration in the schema, if the package has a policy index.
        declared: Option<Declaration>,
        /// Whether the name may be a constant whose type implements `Action`. An argument that a
        /// typed action does not take rules that out.
        may_be_typed: bool,
    },
    /// An expression whose type implements `Action`.
    Typed(Expr),
}

impl Args {
    /// Parses and validates the arguments. The error is all errors of both.
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut errors = Errors::default();
        let mut written = WrittenArgs::default();
        let parsed =
            (|input: ParseStream<'_>| written.parse_all(input, &mut errors)).parse2(tokens);
        written.has_syntax_error |= errors.take(parsed).is_none();
        let arguments = Self::validate(written, &mut errors);
        errors.finish()?;
        // Not reached: a missing argument has left an error.
        arguments.ok_or_else(|| Error::new(Span::call_site(), "incomplete arguments"))
    }

    /// Returns the arguments if the required ones are present. Errors go to `errors`.
    fn validate(written: WrittenArgs, errors: &mut Errors) -> Option<Self> {
        report_missing(&written, errors);
        let (misspelt, has_syntax_error) = (written.misspelt, written.has_syntax_error);
        let missing = |key: &str| !has_syntax_error && !misspelt.contains(&key);
        let claims = TokenClaims::from_arguments(written.scope, written.claims, missing, errors);
        let wait = written.wait.map(|(_, wait)| Wait::from_value(wait));
        let wait = wait.and_then(|wait| errors.take(wait));
        for (entity, id) in [("Agent", &written.agent), ("Resource", &written.resource)] {
            if let (Some((_, id)), None) = (id, &written.unchecked) {
                policy_index::check_id(entity, id, errors);
            }
        }
        let action = written.action.map(|(_, action)| match name(action) {
            Ok(name) => {
                if let ActionName::Literal(name) = &name {
                    errors.take(action_name::check(name));
                }
                let declared = match written.unchecked {
                    Some(_) => None,
                    None => {
                        let (context, request) = (written.context.as_ref(), written.request.as_ref());
                        let request = request.map(|(_, request)| request);
                        let subject = subject(&name, context, missing("context"), request);
                        policy_index::check_action(&name, &subject, errors)
                    }
                };
                Action::Named {
                    declared,
                    may_be_typed: matches!(name, ActionName::Constant(_))
                        && written.context.is_none()
                        && written.resource.is_none()
                        && written.unchecked.is_none(),
                    name,
                    context: written.context.map(|(_, context)| context),
                    resource: written.resource.map(|(_, resource)| resource),
                }
            }
            Err(typed) => {
                if let Some((key, _)) = written.context {
                    errors.push(Error::new(
                        key.span(),
                        "`context` needs a literal action: the fields of a typed action are its context, so remove `context`",
                    ));
                }
                if let Some((key, _)) = written.resource {
                    errors.push(Error::new(
                        key.span(),
                        "`resource` needs a literal action: mark a field of the typed action with \
                         `#[action(resource)]`, and remove `resource` here",
                    ));
                }
                if let Some((key, ())) = written.unchecked {
                    errors.push(Error::new(
                        key.span(),
                        "`unchecked_policy` needs a literal action: a typed action is checked where it is derived, so \
                         write `#[action(\"...\", unchecked_policy)]` on the struct",
                    ));
                }
                Action::Typed(*typed)
            }
        });
        Some(Self {
            action: action?,
            agent: written.agent?.1,
            authority: written.authority.map(|(_, authority)| authority),
            request: written.request.map(|(_, request)| request),
            receipt: written.receipt.map(|(_, receipt)| receipt),
            claims,
            wait,
            path: written.path.map(|(_, path)| path),
        })
    }
}

/// Returns what is checked against the policy index. `is_known` is false where the context may
/// follow after a syntax error.
fn subject<'a>(
    action: &ActionName,
    context: Option<&'a (Ident, Context)>,
    is_known: bool,
    request: Option<&Expr>,
) -> Subject<'a> {
    let fields = match context {
        Some((_, Context::Fields(fields))) => {
            let given = fields.iter().map(|field| Given {
                key: &field.key,
                value: Some(&field.value),
            });
            Some(given.collect())
        }
        Some((_, Context::Value(_))) => None,
        None => is_known.then(Vec::new),
    };
    Subject {
        fields,
        context: context.map_or_else(|| action.span(), |(key, _)| key.span()),
        may_have_fields: request.is_some(),
    }
}

/// Reports the required arguments that are missing. After a syntax error, an argument behind it may
/// be present, so none is reported.
fn report_missing(written: &WrittenArgs, errors: &mut Errors) {
    let lacks =
        |key, absent: bool| absent && !written.has_syntax_error && !written.misspelt.contains(&key);
    let action = lacks("action", written.action.is_none());
    let agent = lacks("agent", written.agent.is_none());
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

/// Returns the name that `action` is, or `action` itself as the error.
fn name(action: Expr) -> Result<ActionName, Box<Expr>> {
    if let Some(path) = action_name::constant(&action) {
        return Ok(ActionName::Constant(path.clone()));
    }
    literal(action).map(ActionName::Literal)
}

/// Returns the string literal that `action` is, or `action` itself as the error.
fn literal(action: Expr) -> Result<LitStr, Box<Expr>> {
    match action {
        Expr::Lit(literal) => match literal.lit {
            Lit::Str(name) => Ok(name),
            other => Err(Box::new(Expr::Lit(syn::ExprLit {
                attrs: literal.attrs,
                lit: other,
            }))),
        },
        // A literal that comes through a `macro_rules!` macro.
        Expr::Group(group) => literal(*group.expr),
        Expr::Paren(paren) => literal(*paren.expr),
        typed => Err(Box::new(typed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::testing;
    use quote::{ToTokens as _, quote};

    fn errors(tokens: TokenStream) -> Vec<String> {
        testing::texts(Args::parse(tokens))
    }

    fn one_error(tokens: TokenStream) -> String {
        testing::one_text(Args::parse(tokens))
    }

    #[test]
    fn every_argument_is_read() {
        let args = Args::parse(quote! {
            action = "deploy", agent = claims.sub, context = { commit, approver: &user.name, "n": 1, r#type, },
            resource = id, authority = self.authority, request = |r| r.environment("production"),
            receipt = |release| release.id.to_string(),
            wait = self.patience, crate = facade::guard,
        })
        .unwrap();
        assert_eq!(args.path.to_token_stream().to_string(), "facade :: guard");
        assert_eq!(args.agent.to_token_stream().to_string(), "claims . sub");
        assert!(args.authority.is_some() && args.request.is_some() && args.receipt.is_some());
        assert!(matches!(args.wait, Some(Wait::Value(_))));
        let Action::Named {
            name: ActionName::Literal(name),
            context: Some(Context::Fields(fields)),
            resource: Some(_),
            declared: None,
            may_be_typed: false,
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
        assert!(matches!(args.action, Action::Named { .. }));
    }

    #[test]
    fn a_constant_is_a_name_and_may_be_typed_without_arguments_of_a_name() {
        let may_be_typed = |rest: TokenStream| {
            let args = Args::parse(quote!(action = names::DEPLOY, agent = "a", #rest)).unwrap();
            let Action::Named {
                name: ActionName::Constant(_),
                may_be_typed,
                ..
            } = args.action
            else {
                panic!("not a constant");
            };
            may_be_typed
        };
        assert!(may_be_typed(quote!(authority = a)));
        assert!(!may_be_typed(quote!(context = { commit })));
        assert!(!may_be_typed(quote!(resource = id)));
        assert!(!may_be_typed(quote!(unchecked_policy)));
    }

    #[test]
    fn a_context_can_be_an_expression() {
        let args = Args::parse(quote!(action = "a", agent = "a", context = ctx.clone())).unwrap();
        assert!(matches!(
            args.action,
            Action::Named {
                context: Some(Context::Value(_)),
                ..
            }
        ));
    }

    #[test]
    fn a_missing_argument_is_named_with_an_example() {
        assert!(one_error(quote!()).contains("`agent`: write `#[protect(action ="));
        assert!(one_error(quote!(agent = "a")).contains("missing `action`"));
        assert!(one_error(quote!(action = "a")).contains("missing `agent`"));
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
    fn independent_errors_come_together() {
        let all = errors(quote!(action = "", agnet = "a", context = { a, a, "": 1 }, foo = 1));
        assert_eq!(all.len(), 5, "{all:?}");
    }
}
