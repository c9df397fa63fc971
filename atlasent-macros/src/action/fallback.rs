//! Expands to the errors and a stub of the implementation, so that the type is an action wherever
//! it is used as one and the errors stand alone.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{DeriveInput, Error, GenericParam, Token, WhereClause};

use super::expand::in_a_scope;
use crate::runtime::Runtime;

/// Returns the errors, and an implementation whose methods never return.
pub(crate) fn stub(error: &Error, item: &DeriveInput, runtime: &Runtime) -> TokenStream {
    let error = error.to_compile_error();
    let ident = &item.ident;
    // Where a lifetime is the error, the stub implements the trait for `'static`.
    let params: Punctuated<GenericParam, Token![,]> = item
        .generics
        .params
        .iter()
        .filter(|param| !matches!(param, GenericParam::Lifetime(_)))
        .cloned()
        .map(|mut param| {
            match &mut param {
                GenericParam::Type(param) => param.default = None,
                GenericParam::Const(param) => param.default = None,
                GenericParam::Lifetime(_) => {}
            }
            param
        })
        .collect();
    let arguments = item.generics.params.iter().map(|param| match param {
        GenericParam::Lifetime(_) => quote!('static),
        GenericParam::Type(param) => {
            let ident = &param.ident;
            quote!(#ident)
        }
        GenericParam::Const(param) => {
            let ident = &param.ident;
            quote!(#ident)
        }
    });
    let arguments = quote!(<#(#arguments),*>);
    let own = item.generics.where_clause.as_ref();
    let own = own.map(|WhereClause { predicates, .. }| {
        let predicates = predicates.iter();
        quote!(#(#predicates,)*)
    });
    let is_generic = item.generics.type_params().next().is_some();
    let bounds =
        is_generic.then(|| quote!(Self: ::core::marker::Send + ::core::marker::Sync + 'static));
    let atlasent = runtime.name(Span::mixed_site());
    let implementation = in_a_scope(
        runtime,
        &quote! {
            #[automatically_derived]
            impl <#params> #atlasent::DerivedAction for #ident #arguments where #own #bounds {
                const DERIVED_NAME: &'static ::core::primitive::str = "";
            }
            #[automatically_derived]
            impl <#params> #atlasent::Action for #ident #arguments where #own #bounds {
                fn name(&self) -> &::core::primitive::str {
                    loop {}
                }
                fn context(
                    &self,
                ) -> ::core::result::Result<#atlasent::Context, #atlasent::Error> {
                    loop {}
                }
            }
        },
    );
    quote!(#error #implementation)
}
