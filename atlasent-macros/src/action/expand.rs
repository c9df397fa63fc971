//! The implementations of `Action` and `NamedAction`. Nothing is decided here: this file only quotes.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::{Type, WhereClause, parse_quote};

use super::input::{Field, Input};
use crate::runtime::{Place, private};

pub(crate) fn expand(input: &Input<'_>) -> TokenStream {
    let (impl_generics, ty_generics, _) = input.generics.split_for_impl();
    let where_clause = where_clause(input);
    let name = &input.name;
    let context = context_method(&input.fields);
    let resource = input
        .fields
        .iter()
        .find(|field| field.resource.is_some())
        .map(resource_method);
    // The implementation is no use of a deprecated field or struct that its author could avoid.
    let mut ident = input.ident.clone();
    ident.set_span(Span::mixed_site().located_at(ident.span()));
    let deprecated = input
        .fields
        .iter()
        .any(|field| field.is_deprecated)
        .then(|| quote_spanned!(Span::mixed_site()=> #[allow(deprecated)]));
    quote_spanned! {Span::mixed_site()=>
        #deprecated
        #[automatically_derived]
        impl #impl_generics ::atlasent::Action for #ident #ty_generics #where_clause {
            fn name(&self) -> &::core::primitive::str {
                <Self as ::atlasent::NamedAction>::NAME
            }
            #resource
            #context
        }
        #[automatically_derived]
        impl #impl_generics ::atlasent::NamedAction for #ident #ty_generics #where_clause {
            const NAME: &'static ::core::primitive::str = #name;
        }
    }
}

fn resource_method(field: &Field<'_>) -> TokenStream {
    let private = private();
    let resource = Place::of(field.ty).call("resource", None, value(field));
    quote_spanned! {Span::mixed_site()=>
        fn resource(&self) -> ::core::option::Option<::atlasent::#private::Cow<'_, ::core::primitive::str>> {
            #resource
        }
    }
}

fn context_method(fields: &[Field<'_>]) -> TokenStream {
    let inserts: Vec<TokenStream> = fields
        .iter()
        .filter_map(|field| {
            let key = field.key.as_ref()?;
            let value = value(field);
            // A function of ours, and no method: a trait of the caller's could have one of the same name.
            let insert = Place::of(field.ty).call(
                "field",
                None,
                quote_spanned!(Span::mixed_site()=> &mut __context, #key, #value),
            );
            Some(quote_spanned!(Span::mixed_site()=> #insert?;))
        })
        .collect();
    let body = if inserts.is_empty() {
        quote_spanned!(Span::mixed_site()=> ::core::result::Result::Ok(::atlasent::Context::new()))
    } else {
        quote_spanned! {Span::mixed_site()=>
            let mut __context = ::atlasent::Context::new();
            #(#inserts)*
            ::core::result::Result::Ok(__context)
        }
    };
    quote_spanned! {Span::mixed_site()=>
        fn context(&self) -> ::core::result::Result<::atlasent::Context, ::atlasent::Error> { #body }
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
fn where_clause(input: &Input<'_>) -> Option<WhereClause> {
    let private = private();
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
                .push(parse_quote!(#ty: ::atlasent::#private::Serialize));
        }
        if field.resource.is_some() {
            clause
                .predicates
                .push(parse_quote!(#ty: ::core::fmt::Display));
        }
    }
    Some(clause.clone())
}
