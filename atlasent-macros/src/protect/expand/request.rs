//! Quotes the request for a permit: agent, authority, action and conditions.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote_spanned};
use syn::{Expr, LitStr};

use super::{Expansion, site};
use crate::action_name::ActionName;
use crate::protect::args::Action;
use crate::protect::context::Context;
use crate::protect::scope::TokenClaims;
use crate::protect::wait::Wait;
use crate::runtime::SourceSpan;

impl Expansion<'_> {
    /// Returns the request to the authority, and the location for the compiler's error if the
    /// types of the request do not fit: the location of a typed action, or else of the authority.
    pub(super) fn request(&self) -> (TokenStream, SourceSpan) {
        let (runtime, arguments) = (self.runtime, self.arguments);
        let span = SourceSpan::from_tokens(&arguments.agent);
        let agent = span.block(runtime.call(span, "agent", None, span.borrowed(&arguments.agent)));
        let authority = self.authority();
        let conditions = self.conditions();
        match &arguments.action {
            // A typed action comes last, since it may move what the other arguments borrow.
            Action::Typed(action) => {
                let span = SourceSpan::from_tokens(action);
                let action = span.block(action.to_token_stream());
                let all = quote_spanned!(span.first=> #agent, #authority, #conditions, #action);
                (runtime.call(span, "typed_request", None, all), span)
            }
            // Only the type of the constant tells whether it is a name or an action.
            Action::Named {
                name: ActionName::Constant(path),
                may_be_typed: true,
                ..
            } => {
                let span = SourceSpan::from_tokens(path);
                let all = quote_spanned!(span.first=> #agent, #authority, #conditions, #path);
                (runtime.call(span, "constant_request", None, all), span)
            }
            Action::Named {
                name,
                context,
                resource,
                ..
            } => {
                let span = arguments
                    .authority
                    .as_ref()
                    .map_or_else(SourceSpan::attribute, SourceSpan::from_tokens);
                let action = self.literal_action(name, context.as_ref(), resource.as_ref());
                let all = quote_spanned!(span.first=> #agent, #authority, #action, #conditions);
                (runtime.call(span, "literal_request", None, all), span)
            }
        }
    }

    /// Returns the authority, borrowed, or the process's default.
    fn authority(&self) -> TokenStream {
        let Some(authority) = &self.arguments.authority else {
            return self.runtime.call(
                SourceSpan::attribute(),
                "default_authority",
                None,
                TokenStream::new(),
            );
        };
        let span = SourceSpan::from_tokens(authority);
        self.runtime
            .call(span, "authority", None, span.borrowed(authority))
    }

    /// Returns the literal action with its context and resource.
    fn literal_action(
        &self,
        name: &ActionName,
        context: Option<&Context>,
        resource: Option<&Expr>,
    ) -> TokenStream {
        let span = SourceSpan::attribute();
        let name = match name {
            ActionName::Literal(name) => name.to_token_stream(),
            ActionName::Constant(path) => path.to_token_stream(),
        };
        let new = self.runtime.call(span, "LiteralAction::new", None, name);
        let action = span.block(new);
        let action = match context {
            Some(Context::Fields(fields)) => fields.iter().fold(action, |action, field| {
                self.literal_part(
                    "LiteralAction::field",
                    action,
                    Some(&field.key),
                    &field.value,
                )
            }),
            Some(Context::Value(value)) => {
                self.literal_part("LiteralAction::context", action, None, value)
            }
            None => action,
        };
        match resource {
            Some(resource) => self.literal_part("LiteralAction::resource", action, None, resource),
            None => action,
        }
    }

    /// Adds a field, a context or a resource to a literal action.
    fn literal_part(
        &self,
        function: &str,
        action: TokenStream,
        key: Option<&LitStr>,
        value: &Expr,
    ) -> TokenStream {
        let span = SourceSpan::from_tokens(value);
        let comma = key.map(|_| quote_spanned!(site()=> ,));
        let mut value = span.borrowed(value);
        if let Some(key) = key {
            value = self.checks().checked(key, span, value);
        }
        let all = quote_spanned!(site()=> #action, #key #comma #value);
        span.block(self.runtime.call(span, function, None, all))
    }

    /// Returns the options of the request, the claims of the agent, and the time to wait.
    fn conditions(&self) -> TokenStream {
        let (span, conditions) = match &self.arguments.request {
            Some(request) => {
                let span = SourceSpan::from_tokens(request);
                let options = request.to_token_stream();
                (span, self.runtime.call(span, "options", None, options))
            }
            None => {
                let span = SourceSpan::attribute();
                let none = TokenStream::new();
                (span, self.runtime.call(span, "no_options", None, none))
            }
        };
        let conditions = span.block(conditions);
        let conditions = match &self.arguments.claims {
            Some(claims) => self.require_claims(conditions, claims),
            None => conditions,
        };
        match &self.arguments.wait {
            Some(wait) => self.wait(conditions, wait),
            None => conditions,
        }
    }

    /// Adds the time for which a held call waits for approvers.
    fn wait(&self, conditions: TokenStream, wait: &Wait) -> TokenStream {
        let (span, function, at_most) = match wait {
            Wait::Literal { millis, literal } => {
                let span = SourceSpan::from_tokens(literal);
                (span, "wait_millis", quote_spanned!(span.first=> #millis))
            }
            Wait::Value(value) => {
                let span = SourceSpan::from_tokens(value);
                (span, "wait_at_most", value.to_token_stream())
            }
        };
        let all = quote_spanned!(span.first=> #conditions, #at_most);
        span.block(self.runtime.call(span, function, None, all))
    }

    /// Adds the claims of the agent, and the scope that they have to grant before the authority is
    /// asked.
    fn require_claims(&self, conditions: TokenStream, token: &TokenClaims) -> TokenStream {
        let span = SourceSpan::from_tokens(&token.claims);
        let claims = span.borrowed(&token.claims);
        let (function, all) = match &token.scope {
            Some(scope) => {
                let required = SourceSpan::from_tokens(scope).borrowed(scope);
                let all = quote_spanned!(span.first=> #conditions, #required, #claims);
                ("scope", all)
            }
            None => ("claims", quote_spanned!(span.first=> #conditions, #claims)),
        };
        span.block(self.runtime.call(span, function, None, all))
    }
}
