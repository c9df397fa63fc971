//! Quotes the `impl` or the `trait` of a boundary. Every decision has been made before.
//!
//! A trait with `front = ProtectedBank` becomes two:
//!
//! ```text
//! trait Bank { the methods without `#[protect]` }
//! trait ProtectedBank: Bank { the methods with `#[protect]` }
//! impl<T: Bank + ?Sized> ProtectedBank for T {}
//! ```

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Attribute, ItemTrait, Meta, MetaList, Path, Type, parse_quote, token};

use super::args::Args;
use super::item::Item;
use super::valid::{is_cfg, is_protect};
use crate::protect::item::Function;
use crate::runtime::private;

/// Puts the members between the item's braces.
pub(crate) fn item(item: &Item, members: TokenStream) -> TokenStream {
    let header = &item.header;
    let attrs = &item.inner_attrs;
    let mut braces = Group::new(Delimiter::Brace, quote!(#(#attrs)* #members));
    braces.set_span(item.braces.span());
    quote!(#header #braces)
}

/// Returns the trait that holds the protected methods, and its only implementation.
pub(crate) fn front(item: &ItemTrait, name: &Ident, methods: &TokenStream) -> TokenStream {
    let ItemTrait {
        vis,
        ident,
        generics,
        ..
    } = item;
    let attrs: Vec<&Attribute> = item
        .attrs
        .iter()
        .filter(|attr| !attr.path().is_ident("doc"))
        .collect();
    let (_, arguments, clause) = generics.split_for_impl();
    let doc =
        format!("The protected methods of [`{ident}`], which every implementation of it has.");
    let mut extended = generics.clone();
    let implementation = Ident::new("__Implementation", Span::mixed_site());
    extended
        .params
        .push(parse_quote!(#implementation: #ident #arguments + ?::core::marker::Sized));
    let (parameters, ..) = extended.split_for_impl();
    quote! {
        #[doc = #doc]
        #(#attrs)*
        #vis trait #name #generics: #ident #arguments #clause {
            #methods
        }
        #(#attrs)*
        impl #parameters #name #arguments for #implementation #clause {}
    }
}

/// Adds each path by which the user wrote `#[protect]` above a method to `written`, once.
pub(crate) fn record_paths(function: &Function, written: &mut Vec<Path>) {
    let text = |path: &Path| path.to_token_stream().to_string();
    for attr in function.attrs.iter().filter(|attr| is_protect(attr)) {
        let path = attr.path();
        if !written.iter().any(|other| text(other) == text(path)) {
            written.push(path.clone());
        }
    }
}

/// Adds the defaults of the boundary to every `#[protect]` of a method, and replaces its path by
/// that of this crate's attribute.
pub(crate) fn merge_defaults(function: &mut Function, args: &Args) {
    for attr in function.attrs.iter_mut().filter(|attr| is_protect(attr)) {
        let own = match &attr.meta {
            Meta::List(list) => list.tokens.clone(),
            // `#[protect = …]` is an error of its own.
            Meta::NameValue(_) => continue,
            Meta::Path(_) => TokenStream::new(),
        };
        let (tokens, crate_path) = args.merge(&own);
        let path = path_of_protect(attr.path(), crate_path);
        attr.meta = Meta::List(match attr.meta.clone() {
            Meta::List(list) => MetaList {
                path,
                tokens,
                ..list
            },
            _ => MetaList {
                path,
                delimiter: syn::MacroDelimiter::Paren(token::Paren::default()),
                tokens,
            },
        });
    }
}

/// Returns the path of the attribute `protect` of this crate, located where the user wrote one.
fn path_of_protect(user_path: &Path, crate_path: Option<Path>) -> Path {
    let last = user_path.segments.last().map(|last| last.ident.clone());
    let Some(last) = last else {
        return user_path.clone();
    };
    let site = Span::mixed_site().located_at(last.span());
    let protect = Ident::new("protect", site);
    match crate_path {
        Some(path) => parse_quote!(#path::#protect),
        None => {
            let path = quote_spanned!(site=> ::atlasent::#protect);
            parse_quote!(#path)
        }
    }
}

/// Uses the paths that the user wrote, so that the compiler does not report their imports as
/// unused.
pub(crate) fn uses(written: &[Path]) -> TokenStream {
    let imports = written.iter().map(|path| {
        quote! {
            #[allow(unused_imports, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
            use #path as _;
        }
    });
    if written.is_empty() {
        return TokenStream::new();
    }
    quote!(const _: () = { #(#imports)* };)
}

/// Adds a check to a body that a type called `Permit` is the permit of this crate.
pub(crate) fn check_permit(function: &mut Function, ty: &Type, args: &Args) {
    let Some(body) = &mut function.body else {
        return;
    };
    let check = permit_check(ty, args);
    let code = std::mem::take(&mut body.tokens);
    body.tokens = quote!(#check #code);
}

/// Returns a statement that compiles for a permit of this crate only.
fn permit_check(ty: &Type, args: &Args) -> TokenStream {
    let site = Span::mixed_site();
    let private = private();
    let runtime = match &args.path {
        Some(path) => quote_spanned!(site=> #path::#private),
        None => quote_spanned!(site=> ::atlasent::#private),
    };
    quote_spanned!(site=> #runtime::is_permit::<#ty>();)
}

/// Returns a trait that checks the permits of the methods that have no body. A check exists under
/// the conditions of its method, whose type may exist under them only.
pub(crate) fn check_declared_permits(
    item: &ItemTrait,
    declared: &[(Function, Type)],
    args: &Args,
) -> TokenStream {
    if declared.is_empty() {
        return TokenStream::new();
    }
    let ItemTrait {
        ident, generics, ..
    } = item;
    let (_, arguments, clause) = generics.split_for_impl();
    let checks = declared.iter().map(|(function, ty)| {
        let name = &function.sig.ident;
        let (parameters, _, clause) = function.sig.generics.split_for_impl();
        let conditions = function.attrs.iter().filter(|attr| is_cfg(attr));
        let check = permit_check(ty, args);
        quote!(#(#conditions)* fn #name #parameters () #clause { #check })
    });
    let site = Span::mixed_site();
    let name = Ident::new("__Check", site);
    quote! {
        const _: () = {
            #[allow(dead_code, missing_docs, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
            trait #name #generics: #ident #arguments #clause {
                #(#checks)*
            }
        };
    }
}
