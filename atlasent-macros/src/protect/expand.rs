//! Quotes the protected function. Every decision has been made before.
//!
//! ```text
//! async fn deploy(commit: &str, permit: Permit) -> Result<Release, DeployError> {
//!     use ::atlasent::__private_X_Y_Z as __atlasent;
//!     __atlasent::inventory::submit! { the site }
//!     run(
//!         {
//!             obtain(literal_request(
//!                 { agent(&("deploy-bot")) },
//!                 default_authority(),
//!                 { LiteralAction::field({ LiteralAction::new("deploy.production") }, "commit", &(commit)) },
//!                 { no_options() },
//!             ))
//!             .await
//!         }
//!         .receive::<Permit>(),
//!         returns::<Result<Release, DeployError>>(),
//!         move |permit: Permit| async move {
//!             #[allow(clippy::disallowed_methods)]
//!             { the body as written }
//!         },
//!     )
//!     .await
//! }
//! ```
//!
//! The expansion is one expression, with the traits that check types before it
//! (`policy_index/types.rs`), and binds no variable: where the user has a constant, a static
//! or a unit struct called `agent`, the `agent` of `let agent = …` is that item, whatever the
//! hygiene.
//!
//! Each block drops its temporaries before the next argument is evaluated, as a `let` would. Its
//! braces have the edition of this crate, whatever edition the user has. The authority is in no
//! block, because it stays borrowed until it has answered.
//!
//! `obtain` completes before `run` is called, so the two futures share their memory.
//!
//! The attribute above the body's block has the block for its scope: a method that the user's
//! `clippy.toml` disallows can be called there, and not in the arguments.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;
use syn::{Attribute, Expr, LitStr, Meta, PatType, Type};

use super::args::{Action, Args};
use super::context::Context;
use super::future::FutureBody;
use super::item::{Body, Function};
use super::permit::name_of;
use super::receipt;
use super::scope::TokenClaims;
use super::valid::{BodyKind, Output, Plan};
use super::wait::Wait;
use crate::action_name::ActionName;
use crate::policy_index::{ConstantName, TypeChecks};
use crate::runtime::{Runtime, SourceSpan};
use crate::site::{self, Site, SiteAction};

/// Returns the function with its body behind the permit.
pub(crate) fn expand(
    function: &Function,
    plan: Plan,
    arguments: &Args,
    permit: Option<PatType>,
    runtime: &Runtime,
) -> TokenStream {
    let Some(body) = &function.body else {
        return TokenStream::new();
    };
    let expansion = Expansion {
        arguments,
        output: &plan.output,
        body,
        runtime,
    };
    let mut import = expansion.import();
    import.extend(site_of(function, arguments).register(runtime));
    let protected = match plan.kind {
        BodyKind::Async => {
            let run = expansion.run(permit.as_ref(), &body.tokens, identity);
            quote_spanned!(site()=> #import #run)
        }
        BodyKind::Blocking => {
            let run = expansion.run_blocking(permit.as_ref());
            quote_spanned!(site()=> #import #run)
        }
        BodyKind::Future(future) => {
            let future = expansion.future(*future, permit);
            quote_spanned!(site()=> #import #future)
        }
    };

    let mut item = function.before_body();
    let attrs = &body.inner_attrs;
    expansion
        .braced(quote_spanned!(site()=> #(#attrs)* #protected))
        .to_tokens(&mut item);
    item
}

/// Returns what `atlasent::sites()` lists for the function.
fn site_of(function: &Function, arguments: &Args) -> Site {
    let (action, is_checked) = match &arguments.action {
        Action::Named { name, declared, .. } => {
            let action = match name {
                ActionName::Literal(name) => SiteAction::Name(name.value()),
                ActionName::Constant(path) => SiteAction::Constant(site::type_name_of_path(path)),
            };
            (action, declared.is_some())
        }
        // Where the action is derived, it is a site of its own.
        Action::Typed(action) => (SiteAction::Typed(site::type_name(action)), false),
    };
    Site {
        action,
        function: Some(function.sig.ident.unraw().to_string()),
        scope: (arguments.claims.as_ref())
            .and_then(|claims| claims.scope.as_ref())
            .map(site::text),
        is_checked,
    }
}

/// The parts of one expansion.
struct Expansion<'a> {
    arguments: &'a Args,
    output: &'a Output,
    body: &'a Body,
    runtime: &'a Runtime,
}

impl Expansion<'_> {
    /// Returns the import of the runtime, and the items that check the action and its context.
    fn import(&self) -> TokenStream {
        let mut import = self.runtime.import();
        let Action::Named {
            name,
            context,
            declared,
            ..
        } = &self.arguments.action
        else {
            return import;
        };
        if let ActionName::Constant(path) = name {
            let checks = declared.as_ref();
            let constant = ConstantName {
                path,
                checks: checks.and_then(|declared| declared.constant.as_ref()),
            };
            import.extend(constant.items(self.runtime));
        }
        if let Some(Context::Fields(fields)) = context {
            import.extend(self.checks().items(fields.iter().map(|field| &field.key)));
        }
        import
    }

    fn checks(&self) -> TypeChecks<'_> {
        TypeChecks {
            declaration: match &self.arguments.action {
                Action::Named { declared, .. } => declared.as_ref(),
                Action::Typed(_) => None,
            },
            runtime: self.runtime,
        }
    }

    /// Returns a body that is a future, with the permit obtained inside.
    fn future(&self, mut future: FutureBody, permit: Option<PatType>) -> TokenStream {
        let renames_self = future.renames_self();
        let permit = permit.map(|mut permit| {
            // `async_trait` moves a parameter's pattern, such as `mut permit`, into its binding.
            let name = name_of(&permit).cloned();
            if let Some(pat) = name.and_then(|name| future.take_binding(&name)) {
                *permit.pat = pat;
            }
            permit
        });
        let rename = if renames_self { rename_self } else { identity };
        let run = self.run(permit.as_ref(), &future.code, rename);
        let bindings = &future.bindings;
        let code = quote_spanned!(site()=> #(#bindings)* #run);
        future.close(code)
    }

    /// Returns an async body under its permit. `rename` applies to the arguments, not to the body.
    fn run(
        &self,
        permit: Option<&PatType>,
        code: &TokenStream,
        rename: fn(TokenStream) -> TokenStream,
    ) -> TokenStream {
        let (request, span) = self.request();
        let obtained = self.runtime.call(span, "obtain", None, rename(request));
        let obtained = quote_spanned!(span.last=> #obtained.await);
        let (obtained, parameter) = self.parameter(permit, span.block(obtained));
        let ty = &self.output.ty;
        // Fixes the block's return type before its first `?`, as the signature of an `async fn`
        // does.
        let hint = (!matches!(ty, Type::Infer(_))).then(|| {
            quote_spanned! {site()=>
                if false {
                    return (|| -> #ty { loop {} })();
                }
            }
        });
        // Its braces separate the user's first statement from the hint.
        let code = self.lifted(code.clone());
        let block = self.braced(quote_spanned!(site()=> #hint #code));
        let returns = self.returns();
        let run = self.runtime.call(
            self.output.span,
            "run",
            None,
            quote_spanned!(self.at_body()=> #obtained, #returns, move |#parameter| async move #block),
        );
        quote_spanned!(self.output.span.last=> #run.await)
    }

    /// Returns a sync body under its permit.
    fn run_blocking(&self, permit: Option<&PatType>) -> TokenStream {
        let (request, span) = self.request();
        let obtained = self.runtime.call(span, "obtain_blocking", None, request);
        let (obtained, parameter) = self.parameter(permit, span.block(obtained));
        let ty = &self.output.ty;
        let block = self.braced(self.lifted(self.body.tokens.clone()));
        let returns = self.returns();
        self.runtime.call(
            self.output.span,
            "run_blocking",
            None,
            quote_spanned!(self.at_body()=> #obtained, #returns, move |#parameter| -> #ty #block),
        )
    }

    /// Returns the request to the authority, and the location of the argument that is to blame
    /// where the request does not fit: a typed action, else the authority.
    fn request(&self) -> (TokenStream, SourceSpan) {
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
            // Its type tells whether it is a name or an action.
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

    /// Returns `obtained` with a permit of the parameter's type, and the parameter of the body.
    ///
    /// | parameter | obtained | parameter of the body |
    /// |---|---|---|
    /// | none | `….hold()` | `()` |
    /// | `mut p: Permit<A>` | `….receive::<Permit<A>>()` | `mut p: Permit<A>` |
    /// | `#[cfg(x)] p: Permit<A>` | `….receive()` | `#[cfg(x)] p: Permit<A>, #[cfg(not(all(x)))] _: Permit<_>` |
    ///
    /// `receive` is located at the type, so that the compiler reports a wrong type there.
    fn parameter(
        &self,
        permit: Option<&PatType>,
        obtained: TokenStream,
    ) -> (TokenStream, TokenStream) {
        let Some(permit) = permit else {
            return (
                quote_spanned!(site()=> #obtained.hold()),
                quote_spanned!(site()=> ()),
            );
        };
        let PatType { attrs, pat, ty, .. } = permit;
        let conditions: Vec<&TokenStream> = attrs.iter().filter_map(condition).collect();
        if conditions.is_empty() {
            let received =
                quote_spanned!(SourceSpan::from_tokens(ty).first=> #obtained.receive::<#ty>());
            return (received, quote_spanned!(site()=> #(#attrs)* #pat: #ty));
        }
        // The type may exist under the conditions only, and the body takes a permit in any case.
        let runtime = self.runtime.name(site());
        let parameter = quote_spanned! {site()=>
            #(#attrs)* #pat: #ty,
            #[cfg(not(all(#(#conditions),*)))] _: #runtime::Permit<_>
        };
        (quote_spanned!(site()=> #obtained.receive()), parameter)
    }

    /// Returns `returns::<T>()`, which requires the return type to hold a refusal. The bound is not
    /// on `run`, so that a wrong type is one error, located at the type.
    fn returns(&self) -> TokenStream {
        let ty = &self.output.ty;
        let generics = quote_spanned!(site()=> ::<#ty>);
        let mut returns = self.runtime.call(
            self.output.span,
            "returns",
            Some(generics),
            TokenStream::new(),
        );
        if let Some(receipt) = &self.arguments.receipt {
            returns.extend(receipt::method(receipt, self.runtime));
        }
        returns
    }

    /// Puts the body between braces, in which the methods that `clippy.toml` disallows may be
    /// called: the body runs with a permit.
    fn lifted(&self, body: TokenStream) -> TokenStream {
        let block = self.braced(body);
        quote_spanned!(site()=> #[allow(clippy::disallowed_methods)] #block)
    }

    /// Puts code between braces at the location of the user's braces, where the compiler reports
    /// errors about the body as a whole. Their hygiene is that of this crate, so that lints about
    /// the braces are silent.
    fn braced(&self, code: TokenStream) -> Group {
        let mut group = Group::new(Delimiter::Brace, code);
        group.set_span(self.at_body());
        group
    }

    /// Returns the location of the body. A closure that captures a moved argument is an error
    /// there.
    fn at_body(&self) -> Span {
        site().located_at(self.body.brace.span.join())
    }
}

/// Returns the condition of a `#[cfg(…)]`.
fn condition(attr: &Attribute) -> Option<&TokenStream> {
    match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg") => Some(&list.tokens),
        _ => None,
    }
}

/// Returns the tokens unchanged.
fn identity(tokens: TokenStream) -> TokenStream {
    tokens
}

/// Replaces `self` by `__self`, to which `async_trait` moves it.
fn rename_self(tokens: TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .map(|tree| match tree {
            TokenTree::Ident(ident) if ident == "self" => Ident::new("__self", ident.span()).into(),
            TokenTree::Group(group) => {
                let mut renamed = Group::new(group.delimiter(), rename_self(group.stream()));
                renamed.set_span(group.span());
                renamed.into()
            }
            other => other,
        })
        .collect()
}

/// Returns the location of the attribute, with the hygiene of this crate.
fn site() -> Span {
    Span::mixed_site()
}
