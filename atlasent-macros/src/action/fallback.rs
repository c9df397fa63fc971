//! After an error: implementations that say nothing, so that the type is an action wherever it is used as one
//! and the error stands alone.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{DeriveInput, Error, GenericParam, Token, WhereClause};

pub(crate) fn expand(error: &Error, item: &DeriveInput) -> TokenStream {
    let error = error.to_compile_error();
    let ident = &item.ident;
    // An action has no lifetimes. Where that is the error, `'static` still makes one of it.
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
    quote! {
        #error
        #[automatically_derived]
        impl <#params> ::atlasent::Action for #ident #arguments where #own #bounds {
            fn name(&self) -> &::core::primitive::str {
                ""
            }
            fn context(&self) -> ::core::result::Result<::atlasent::Context, ::atlasent::Error> {
                loop {}
            }
        }
        #[automatically_derived]
        impl <#params> ::atlasent::NamedAction for #ident #arguments where #own #bounds {
            const NAME: &'static ::core::primitive::str = "";
        }
    }
}
