//! The protected function. Nothing is decided here: this file only quotes.
//!
//! ```text
//! async fn deploy(commit: &str, permit: Permit) -> Result<Release, DeployError> {
//!     use ::atlasent::__private_X_Y_Z as __atlasent;
//!     run(
//!         {
//!             obtain(literal(
//!                 { agent(&("deploy-bot")) },
//!                 default_authority(),
//!                 { Draft::field({ Draft::new("deploy.production") }, "commit", &(commit)) },
//!                 { no_options() },
//!             ))
//!             .await
//!         }
//!         .receive::<Permit>(),
//!         returns::<Result<Release, DeployError>>(),
//!         move |permit: Permit| async move { the body as written },
//!     )
//!     .await
//! }
//! ```
//!
//! It is one expression, because a name of ours would not be safe: where the user has a constant, a
//! static or a unit struct called `agent`, `let agent = …` is no binding but a pattern that means
//! the user's item, whatever the hygiene. Each block drops its temporaries before the next
//! argument, as a `let` would: its braces have the edition of this crate, whatever the user's is.
//! The authority stands in no block, because it is borrowed until there is an answer. `obtain` is
//! done before `run` is called, so the two futures share their memory.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::{Attribute, Expr, LitStr, Meta, PatType, Type};

use super::args::{Action, Args};
use super::context::Context;
use super::future::FutureBody;
use super::item::{Body, Function};
use super::permit::name_of;
use super::scope::Scope;
use super::valid::{BodyKind, Output, Plan};
use crate::runtime::{Place, Runtime};

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
    let import = runtime.import();
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

    let mut item = function.head();
    let attrs = &body.inner_attrs;
    expansion
        .braced(quote_spanned!(site()=> #(#attrs)* #protected))
        .to_tokens(&mut item);
    item
}

/// What one expansion is made of.
struct Expansion<'a> {
    arguments: &'a Args,
    output: &'a Output,
    body: &'a Body,
    runtime: &'a Runtime,
}

impl Expansion<'_> {
    /// The future again, with the permit obtained in it.
    fn future(&self, mut future: FutureBody, permit: Option<PatType>) -> TokenStream {
        let renames_self = future.renames_self();
        let permit = permit.map(|mut permit| {
            // The binding has what `async_trait` took from the parameter: its pattern, its `mut`.
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

    /// An async body under its permit. `rename` is for the arguments only.
    fn run(
        &self,
        permit: Option<&PatType>,
        code: &TokenStream,
        rename: fn(TokenStream) -> TokenStream,
    ) -> TokenStream {
        let (question, place) = self.question();
        let obtained = self.runtime.call(place, "obtain", None, rename(question));
        let obtained = quote_spanned!(place.last=> #obtained.await);
        let (obtained, parameter) = self.parameter(permit, place.block(obtained));
        let ty = &self.output.ty;
        // Says what the block returns before its first `?` does, as an `async fn`'s signature
        // would.
        let hint = (!matches!(ty, Type::Infer(_))).then(|| {
            quote_spanned! {site()=>
                if false {
                    return (|| -> #ty { loop {} })();
                }
            }
        });
        // In braces of its own: what stands first in the user's body is not after a statement of
        // ours.
        let code = self.braced(code.clone());
        let block = self.braced(quote_spanned!(site()=> #hint #code));
        let returns = self.returns();
        let run = self.runtime.call(
            self.output.place,
            "run",
            None,
            quote_spanned!(self.at_body()=> #obtained, #returns, move |#parameter| async move #block),
        );
        quote_spanned!(self.output.place.last=> #run.await)
    }

    /// A sync body under its permit.
    fn run_blocking(&self, permit: Option<&PatType>) -> TokenStream {
        let (question, place) = self.question();
        let obtained = self.runtime.call(place, "obtain_blocking", None, question);
        let (obtained, parameter) = self.parameter(permit, place.block(obtained));
        let ty = &self.output.ty;
        let block = self.braced(self.body.tokens.clone());
        let returns = self.returns();
        self.runtime.call(
            self.output.place,
            "run_blocking",
            None,
            quote_spanned!(self.at_body()=> #obtained, #returns, move |#parameter| -> #ty #block),
        )
    }

    /// The question to the authority, and where it is about the action.
    fn question(&self) -> (TokenStream, Place) {
        let (runtime, arguments) = (self.runtime, self.arguments);
        let place = Place::of(&arguments.agent);
        let agent =
            place.block(runtime.call(place, "agent", None, place.borrowed(&arguments.agent)));
        let authority = self.authority();
        let terms = self.terms();
        match (&arguments.action, &arguments.authority) {
            // It comes last: it may move what the others borrow.
            (Action::Typed(action), _) => {
                let place = Place::of(action);
                let action = place.block(action.to_token_stream());
                let all = quote_spanned!(place.first=> #agent, #authority, #terms, #action);
                (runtime.call(place, "typed", None, all), place)
            }
            (
                Action::Literal {
                    name,
                    context,
                    resource,
                },
                authority_at,
            ) => {
                let place = authority_at
                    .as_ref()
                    .map_or_else(Place::attribute, Place::of);
                let draft = self.draft(name, context.as_ref(), resource.as_ref());
                let all = quote_spanned!(place.first=> #agent, #authority, #draft, #terms);
                (runtime.call(place, "literal", None, all), place)
            }
        }
    }

    fn authority(&self) -> TokenStream {
        let Some(authority) = &self.arguments.authority else {
            return self.runtime.call(
                Place::attribute(),
                "default_authority",
                None,
                TokenStream::new(),
            );
        };
        let place = Place::of(authority);
        self.runtime
            .call(place, "authority", None, place.borrowed(authority))
    }

    fn draft(
        &self,
        name: &LitStr,
        context: Option<&Context>,
        resource: Option<&Expr>,
    ) -> TokenStream {
        let place = Place::attribute();
        let new = self
            .runtime
            .call(place, "Draft::new", None, name.to_token_stream());
        let draft = place.block(new);
        let draft = match context {
            Some(Context::Fields(fields)) => fields.iter().fold(draft, |draft, field| {
                self.step("Draft::field", draft, Some(&field.key), &field.value)
            }),
            Some(Context::Value(value)) => self.step("Draft::context", draft, None, value),
            None => draft,
        };
        match resource {
            Some(resource) => self.step("Draft::resource", draft, None, resource),
            None => draft,
        }
    }

    /// One more part of a literal action.
    fn step(
        &self,
        function: &str,
        draft: TokenStream,
        key: Option<&LitStr>,
        value: &Expr,
    ) -> TokenStream {
        let place = Place::of(value);
        let comma = key.map(|_| quote_spanned!(site()=> ,));
        let value = place.borrowed(value);
        let all = quote_spanned!(site()=> #draft, #key #comma #value);
        place.block(self.runtime.call(place, function, None, all))
    }

    fn terms(&self) -> TokenStream {
        let (place, terms) = match &self.arguments.request {
            Some(request) => {
                let place = Place::of(request);
                let options = request.to_token_stream();
                (place, self.runtime.call(place, "options", None, options))
            }
            None => {
                let place = Place::attribute();
                let none = TokenStream::new();
                (place, self.runtime.call(place, "no_options", None, none))
            }
        };
        let terms = place.block(terms);
        match &self.arguments.scope {
            Some(scope) => self.require(terms, scope),
            None => terms,
        }
    }

    /// The scope that has to be granted before anybody is asked.
    fn require(&self, terms: TokenStream, scope: &Scope) -> TokenStream {
        let required = Place::of(&scope.required).borrowed(&scope.required);
        let place = Place::of(&scope.claims);
        let claims = place.borrowed(&scope.claims);
        let all = quote_spanned!(place.first=> #terms, #required, #claims);
        place.block(self.runtime.call(place, "scope", None, all))
    }

    /// What the body takes, and `obtained` with a permit that fits it: checked where the user wrote
    /// the type.
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
            let received = quote_spanned!(Place::of(ty).first=> #obtained.receive::<#ty>());
            return (received, quote_spanned!(site()=> #(#attrs)* #pat: #ty));
        }
        // The type exists under the conditions only, and the body takes a permit without them too.
        let runtime = self.runtime.name(site());
        let parameter = quote_spanned! {site()=>
            #(#attrs)* #pat: #ty,
            #[cfg(not(all(#(#conditions),*)))] _: #runtime::Permit<_>
        };
        (quote_spanned!(site()=> #obtained.receive()), parameter)
    }

    /// How the return type says that the body did not run, or failed. Its bound is here, and not on
    /// `run`, so that a type that does not fulfil it is one error, and is it where the type is
    /// written.
    fn returns(&self) -> TokenStream {
        let ty = &self.output.ty;
        let generics = quote_spanned!(site()=> ::<#ty>);
        self.runtime.call(
            self.output.place,
            "returns",
            Some(generics),
            TokenStream::new(),
        )
    }

    /// Code between the braces of the user's body: errors about the body as a whole point there,
    /// and lints take it for ours.
    fn braced(&self, code: TokenStream) -> Group {
        let mut group = Group::new(Delimiter::Brace, code);
        group.set_span(self.at_body());
        group
    }

    /// At the body, for what captures its variables: an argument that has moved is an error there.
    fn at_body(&self) -> Span {
        site().located_at(self.body.brace.span.join())
    }
}

/// The condition of a `#[cfg(...)]`.
fn condition(attr: &Attribute) -> Option<&TokenStream> {
    match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg") => Some(&list.tokens),
        _ => None,
    }
}

fn identity(tokens: TokenStream) -> TokenStream {
    tokens
}

/// `__self` for `self`: in `async_trait`'s future the value has moved there.
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

fn site() -> Span {
    Span::mixed_site()
}
