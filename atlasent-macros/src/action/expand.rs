//! What `#[derive(Action)]` says of a struct. Nothing is decided here: this file only quotes.
//!
//! ```text
//! const _: () = {
//!     use ::atlasent::__private_X_Y_Z as __atlasent;
//!     impl __atlasent::DerivedAction for Transfer {
//!         const DERIVED_NAME: &'static str = "transfer";
//!         fn derived_resource(&self) -> Option<Cow<'_, str>> {
//!             __atlasent::resource(&self.account)
//!         }
//!         fn derived_context(&self) -> Result<Context, Error> {
//!             __atlasent::Fields::empty().field("amount", &self.amount).finish()
//!         }
//!     }
//! };
//! ```

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Type, WhereClause, parse_quote};

use super::input::{Field, Input};
use crate::runtime::{Place, Runtime};

pub(crate) fn expand(input: &Input<'_>, runtime: &Runtime) -> TokenStream {
    let site = Span::mixed_site();
    let (impl_generics, ty_generics, _) = input.generics.split_for_impl();
    let where_clause = where_clause(input, runtime);
    let name = &input.name;
    let atlasent = runtime.name(site);
    let context = context_method(&input.fields, runtime);
    let resource = input
        .fields
        .iter()
        .find(|field| field.resource.is_some())
        .map(|field| resource_method(field, runtime));
    // The implementation is no use of a deprecated field or struct that its author could avoid.
    let mut ident = input.ident.clone();
    ident.set_span(site.located_at(ident.span()));
    let deprecated = input
        .fields
        .iter()
        .any(|field| field.is_deprecated)
        .then(|| quote_spanned!(site=> #[allow(deprecated)]));
    in_a_scope(
        runtime,
        &quote_spanned! {site=>
            #deprecated
            #[automatically_derived]
            impl #impl_generics #atlasent::DerivedAction for #ident #ty_generics #where_clause {
                const DERIVED_NAME: &'static ::core::primitive::str = #name;
                #resource
                #context
            }
        },
    )
}

/// Puts an implementation into a scope of its own, with the import that it uses.
pub(super) fn in_a_scope(runtime: &Runtime, implementation: &TokenStream) -> TokenStream {
    let import = runtime.import();
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #import
            #implementation
        };
    }
}

fn resource_method(field: &Field<'_>, runtime: &Runtime) -> TokenStream {
    let site = Span::mixed_site();
    let atlasent = runtime.name(site);
    let resource = runtime.call(Place::of(field.ty), "resource", None, value(field));
    quote_spanned! {site=>
        fn derived_resource(
            &self,
        ) -> ::core::option::Option<#atlasent::Cow<'_, ::core::primitive::str>> {
            #resource
        }
    }
}

fn context_method(fields: &[Field<'_>], runtime: &Runtime) -> TokenStream {
    let site = Span::mixed_site();
    let atlasent = runtime.name(site);
    let inserts = fields.iter().filter_map(|field| {
        let key = field.key.as_ref()?;
        let place = Place::of(field.ty);
        // An inherent method by value: no trait of the caller's comes before it.
        let method = Ident::new("field", place.last);
        let value = value(field);
        let arguments = place.parenthesized(quote_spanned!(site=> #key, #value));
        Some(quote_spanned!(place.first=> .#method #arguments))
    });
    quote_spanned! {site=>
        fn derived_context(&self) -> ::core::result::Result<#atlasent::Context, #atlasent::Error> {
            #atlasent::Fields::empty() #(#inserts)* .finish()
        }
    }
}

/// A field, located at its type: a type that does not serialize is the error, not our use of it.
fn value(field: &Field<'_>) -> TokenStream {
    let place = Place::of(field.ty);
    let mut ident = field.ident.clone();
    ident.set_span(place.last);
    quote_spanned!(place.first=> &self.#ident)
}

/// What a generic struct needs of its parameters, which is what each field needs, and nothing more.
fn where_clause(input: &Input<'_>, runtime: &Runtime) -> Option<WhereClause> {
    let atlasent = runtime.name(Span::mixed_site());
    let mut clause = input.generics.where_clause.clone();
    if input.generics.type_params().next().is_none() {
        return clause;
    }
    let clause = clause.get_or_insert_with(|| parse_quote!(where));
    clause.predicates.push(parse_quote! {
        Self: ::core::marker::Send + ::core::marker::Sync + 'static
    });
    for field in input.fields.iter().filter(|field| field.is_generic) {
        let ty: &Type = field.ty;
        if field.key.is_some() {
            clause
                .predicates
                .push(parse_quote!(#ty: #atlasent::Serialize));
        }
        if field.resource.is_some() {
            clause
                .predicates
                .push(parse_quote!(#ty: ::core::fmt::Display));
        }
    }
    Some(clause.clone())
}
