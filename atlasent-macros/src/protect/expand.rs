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
//!
//! `expand/request.rs` quotes the request, one argument after the other.

mod request;

use proc_macro2::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;
use syn::{Attribute, Meta, PatType, Type};

use super::args::{Action, Args};
use super::context::Context;
use super::future::FutureBody;
use super::item::{Body, Function};
use super::permit::name_of;
use super::receipt;
use super::valid::{BodyKind, Output, Plan};
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

/// Replaces the receiver `self` by `__self`, to which `async_trait` moves it. The `self` that
/// begins a path, such as `self::names::bot()`, stays.
fn rename_self(tokens: TokenStream) -> TokenStream {
    rename_receiver(tokens, false)
}

/// Replaces each `self` that no `::` follows. `begins_path` says whether `::` follows the last
/// token: a group without delimiters may hold `self` alone, with the `::` behind the group.
fn rename_receiver(tokens: TokenStream, begins_path: bool) -> TokenStream {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let renamed = trees.iter().enumerate().map(|(index, tree)| {
        let begins_path = match trees.get(index.saturating_add(1)..).unwrap_or_default() {
            [] => begins_path,
            next => is_path_separator(next),
        };
        match tree {
            TokenTree::Ident(ident) if ident == "self" && !begins_path => {
                Ident::new("__self", ident.span()).into()
            }
            TokenTree::Group(group) => {
                let begins_path = begins_path && group.delimiter() == Delimiter::None;
                let inside = rename_receiver(group.stream(), begins_path);
                let mut renamed = Group::new(group.delimiter(), inside);
                renamed.set_span(group.span());
                renamed.into()
            }
            other => other.clone(),
        }
    });
    renamed.collect()
}

/// Whether tokens begin with `::`, which is two tokens.
fn is_path_separator(trees: &[TokenTree]) -> bool {
    let is_colon = |punct: &Punct| punct.as_char() == ':';
    match trees {
        [TokenTree::Punct(first), TokenTree::Punct(second), ..] => {
            is_colon(first) && first.spacing() == Spacing::Joint && is_colon(second)
        }
        _ => false,
    }
}

/// Returns the location of the attribute, with the hygiene of this crate.
fn site() -> Span {
    Span::mixed_site()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[track_caller]
    fn assert_renamed(written: TokenStream, expected: &TokenStream) {
        let text = |tokens: &TokenStream| tokens.to_string().replace(' ', "");
        assert_eq!(text(&rename_self(written)), text(expected));
    }

    #[test]
    fn the_receiver_is_renamed_and_the_self_of_a_path_stays() {
        for (written, expected) in [
            (quote!(self), quote!(__self)),
            (quote!(self.name), quote!(__self.name)),
            (quote!(Names { of: self }), quote!(Names { of: __self })),
            (quote!(self::names::bot()), quote!(self::names::bot())),
            (quote!(|n: self::Name| n), quote!(|n: self::Name| n)),
            (
                quote!(format!("{}", self::names::of(self, &self.name))),
                quote!(format!("{}", self::names::of(__self, &__self.name))),
            ),
        ] {
            assert_renamed(written, &expected);
        }
    }

    #[test]
    fn a_group_without_delimiters_is_no_end_of_a_path() {
        let group = Group::new(Delimiter::None, quote!(self));
        assert_renamed(quote!(#group.name), &quote!(__self.name));
        assert_renamed(quote!(#group::name()), &quote!(self::name()));
        let outer = Group::new(Delimiter::None, quote!(f(self), #group));
        assert_renamed(quote!(#outer::name()), &quote!(f(__self), self::name()));
        let parenthesized = Group::new(Delimiter::Parenthesis, quote!(self));
        assert_renamed(quote!(#parenthesized::name()), &quote!((__self)::name()));
    }
}
