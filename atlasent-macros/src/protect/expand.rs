//! The protected function. Nothing is decided here: this file only quotes.
//!
//! ```text
//! async fn deploy(commit: &str) -> Result<Release, DeployError> {
//!     let agent = agent(&("deploy-bot"));
//!     let authority = default_authority();
//!     let action = Draft::new("deploy.production");
//!     let action = action.field("commit", &(commit));
//!     let action = action.finish();
//!     let options = no_options();
//!     let (permit, execution) = match obtain(authority, agent, action, options).await {
//!         Ok(obtained) => obtained,
//!         Err(error) => return refuse::<Result<Release, DeployError>>(error),
//!     };
//!     let permit: Permit = permit;
//!     run(execution, failed::<Result<Release, DeployError>>, async move { the body as written }).await
//! }
//! ```
//!
//! Our names and paths have the hygiene of this crate: a body can neither see nor shadow them.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::{Attribute, Expr, LitStr, Pat, PatType, Type};

use super::args::{Action, Args};
use super::context::Context;
use super::future::FutureBody;
use super::item::{Body, Function};
use super::permit::name_of;
use super::scope::Scope;
use super::valid::{BodyKind, Output, Plan};
use crate::runtime::{Place, private};

pub(crate) fn expand(
    function: &Function,
    plan: Plan,
    arguments: &Args,
    permit: Option<PatType>,
) -> TokenStream {
    let Some(body) = &function.body else {
        return TokenStream::new();
    };
    let output = &plan.output;
    let protected = match plan.kind {
        BodyKind::Async => {
            let prelude = prelude(arguments, output, Waiting::Async);
            let binding = permit.as_ref().map(bind_permit);
            let run = run(output, &body.tokens, body);
            quote_spanned!(site()=> #prelude #binding #run)
        }
        BodyKind::Blocking => {
            let prelude = prelude(arguments, output, Waiting::Blocking);
            let binding = permit.as_ref().map(bind_permit);
            let run = run_blocking(output, body);
            quote_spanned!(site()=> #prelude #binding #run)
        }
        BodyKind::Future(future) => expand_future(*future, arguments, output, permit, body),
    };

    let mut item = function.head();
    body.brace.surround(&mut item, |item| {
        for attr in &body.inner_attrs {
            attr.to_tokens(item);
        }
        protected.to_tokens(item);
    });
    item
}

fn expand_future(
    mut future: FutureBody,
    arguments: &Args,
    output: &Output,
    permit: Option<PatType>,
    body: &Body,
) -> TokenStream {
    let renames_self = future.renames_self();
    let permit = permit.map(|mut permit| {
        // The binding has what `async_trait` took from the parameter: its pattern, its `mut`.
        let name = name_of(&permit).cloned();
        if let Some(pat) = name.and_then(|name| future.take_binding(&name)) {
            *permit.pat = pat;
        }
        permit
    });
    let binding = permit.as_ref().map(bind_permit);
    let mut prelude = prelude(arguments, output, Waiting::Async);
    if renames_self {
        prelude = rename_self(prelude);
    }
    let bindings = &future.bindings;
    let run = run(output, &future.code, body);
    let code = quote_spanned!(site()=> #(#bindings)* #prelude #binding #run);
    future.close(code)
}

/// How the permit is waited for.
#[derive(Clone, Copy)]
enum Waiting {
    Async,
    Blocking,
}

/// Everything that happens before the body: at the end of it, `__permit` and `__execution` are bound.
fn prelude(arguments: &Args, output: &Output, waiting: Waiting) -> TokenStream {
    let agent = Place::of(&arguments.agent);
    let agent = agent.call("agent", None, agent.borrowed(&arguments.agent));
    let authority = authority(arguments.authority.as_ref());
    let action = action(&arguments.action);
    let options = options(arguments.request.as_ref(), arguments.scope.as_ref());
    // A typed action comes last: it may move what the others borrow.
    let ([first, second], place) = match (&arguments.action, &arguments.authority) {
        (Action::Typed(typed), _) => ([&options, &action], Place::of(typed)),
        (Action::Literal { .. }, Some(authority)) => ([&action, &options], Place::of(authority)),
        (Action::Literal { .. }, None) => ([&action, &options], Place::attribute()),
    };
    let names = quote_spanned!(place.first=> __authority, __agent, __action, __options);
    let obtained = match waiting {
        Waiting::Async => {
            let future = place.call("obtain", None, names);
            quote_spanned!(place.last=> #future.await)
        }
        Waiting::Blocking => place.call("obtain_blocking", None, names),
    };
    let ty = &output.ty;
    let refuse = output.place.call(
        "refuse",
        Some(quote_spanned!(site()=> ::<#ty>)),
        quote_spanned!(site()=> __error),
    );
    quote_spanned! {site()=>
        let __agent = #agent;
        #authority
        #first
        #second
        let (__permit, __execution) = match #obtained {
            ::core::result::Result::Ok(__obtained) => __obtained,
            ::core::result::Result::Err(__error) => return #refuse,
        };
    }
}

fn authority(authority: Option<&Expr>) -> TokenStream {
    let Some(authority) = authority else {
        let default = Place::attribute().call("default_authority", None, TokenStream::new());
        return quote_spanned!(site()=> let __authority = #default;);
    };
    let place = Place::of(authority);
    // Two statements: a temporary lives as long as the reference to it only in a `let` of its own.
    let borrowed = place.borrowed(authority);
    let checked = place.call("authority", None, quote_spanned!(place.first=> __authority));
    quote_spanned! {site()=>
        let __authority = #borrowed;
        let __authority = #checked;
    }
}

fn action(action: &Action) -> TokenStream {
    match action {
        Action::Typed(action) => {
            quote_spanned!(site()=> let __action = ::core::result::Result::Ok(#action);)
        }
        Action::Literal {
            name,
            context,
            resource,
        } => {
            let private = private();
            let context: TokenStream = match context {
                Some(Context::Fields(fields)) => fields
                    .iter()
                    .map(|field| step("field", Some(&field.key), &field.value))
                    .collect(),
                Some(Context::Value(value)) => step("context", None, value),
                None => TokenStream::new(),
            };
            let resource = resource
                .as_ref()
                .map(|resource| step("resource", None, resource));
            quote_spanned! {site()=>
                let __action = ::atlasent::#private::Draft::new(#name);
                #context
                #resource
                let __action = __action.finish();
            }
        }
    }
}

/// One more part of a literal action.
fn step(method: &str, key: Option<&LitStr>, value: &Expr) -> TokenStream {
    let place = Place::of(value);
    let method = Ident::new(method, place.first);
    let comma = key.map(|_| quote_spanned!(site()=> ,));
    let value = place.borrowed(value);
    let arguments = place.parenthesized(quote_spanned!(site()=> #key #comma #value));
    quote_spanned!(place.first=> let __action = __action.#method #arguments;)
}

fn options(request: Option<&Expr>, scope: Option<&Scope>) -> TokenStream {
    let options = match request {
        Some(request) => Place::of(request).call("options", None, request.to_token_stream()),
        None => Place::attribute().call("no_options", None, TokenStream::new()),
    };
    let scope = scope.map(require);
    quote_spanned!(site()=> let __options = #options; #scope)
}

/// The scope that has to be granted before anybody is asked.
fn require(scope: &Scope) -> TokenStream {
    let place = Place::of(&scope.claims);
    let claims = place.borrowed(&scope.claims);
    let written = Place::of(&scope.required);
    let required = written.borrowed(&scope.required);
    // A `let` for each, as for the authority: a temporary lives as long as the reference to it.
    let names = quote_spanned!(place.first=> __options, __required, __claims);
    let scoped = place.call("scope", None, names);
    quote_spanned! {site()=>
        let __claims = #claims;
        let __required = #required;
        let __options = #scoped;
    }
}

/// The permit under the user's name, with the user's type to check it against.
fn bind_permit(permit: &PatType) -> TokenStream {
    let attrs: &[Attribute] = &permit.attrs;
    let pat: &Pat = &permit.pat;
    let ty: &Type = &permit.ty;
    let value = Ident::new("__permit", Place::of(ty).first);
    quote_spanned!(site()=> #(#attrs)* let #pat: #ty = #value;)
}

fn run(output: &Output, code: &TokenStream, body: &Body) -> TokenStream {
    let ty = &output.ty;
    // Says what the block returns before its first `?` does, as an `async fn`'s signature would.
    let hint = (!matches!(ty, Type::Infer(_))).then(|| {
        quote_spanned! {site()=>
            if let ::core::option::Option::Some(__ret) = ::core::option::Option::None::<#ty> {
                return __ret;
            }
        }
    });
    let failed = failed(ty);
    let block = block(quote_spanned!(site()=> #hint #code), body);
    let run = output.place.call(
        "run",
        None,
        quote_spanned!(at(body)=> __execution, #failed, async move #block),
    );
    quote_spanned!(output.place.last=> #run.await)
}

fn run_blocking(output: &Output, body: &Body) -> TokenStream {
    let ty = &output.ty;
    let failed = failed(ty);
    let block = block(body.tokens.clone(), body);
    output.place.call(
        "run_blocking",
        None,
        quote_spanned!(at(body)=> __execution, #failed, move || -> #ty #block),
    )
}

/// How the runtime tells a failure. The bound on the return type is here, and not on `run`, so that a type that
/// does not fulfil it is one error, and is it where the type is written.
fn failed(ty: &Type) -> TokenStream {
    let private = private();
    quote_spanned!(site()=> ::atlasent::#private::failed::<#ty>)
}

/// Code between the braces of the user's body: errors about the body as a whole point there.
fn block(code: TokenStream, body: &Body) -> Group {
    let mut group = Group::new(Delimiter::Brace, code);
    group.set_span(body.brace.span.join());
    group
}

/// At the body, for what captures its variables: an argument that has moved is an error there.
fn at(body: &Body) -> Span {
    site().located_at(body.brace.span.join())
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
