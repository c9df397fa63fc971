//! After an error: the item as its callers see it, so that the error stands alone. Never with its body.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, PatType, ReturnType, Type, parse_quote};

use super::item::Function;
use super::output::{future_output, replace_impl_trait};
use crate::errors::Errors;

/// The errors, and a function of the same signature that never returns.
pub(crate) fn stub(error: &Error, function: &Function, permit: Option<&PatType>) -> TokenStream {
    let error = error.to_compile_error();
    if function.body.is_none() {
        let declaration = function.head();
        return quote!(#error #declaration;);
    }
    let Function {
        attrs,
        vis,
        defaultness,
        ..
    } = function;
    let mut sig = function.sig.clone();
    sig.variadic = None;
    let body = match &mut sig.output {
        ReturnType::Type(_, ty) if sig.asyncness.is_none() => never(ty),
        ReturnType::Type(_, ty) => {
            name_impl_trait(ty);
            endless()
        }
        ReturnType::Default => endless(),
    };
    // Names the permit's type, so that its import is not called unused as well.
    let permit = permit.map(|PatType { attrs, ty, .. }| quote!(#(#attrs)* let _: #ty = loop {};));
    quote! {
        #error
        #(#attrs)*
        #[allow(unused, clippy::all, clippy::pedantic)]
        #vis #defaultness #sig { #permit #body }
    }
}

/// The errors of an item that is no function, and the item if nothing in it can run.
pub(crate) fn without_function(errors: Errors, inert: &TokenStream) -> TokenStream {
    let errors = errors.finish().err().map(|error| error.to_compile_error());
    quote!(#errors #inert)
}

/// A body for a sync function with this return type.
fn never(ty: &mut Type) -> TokenStream {
    match (&*ty, future_output(ty)) {
        (Type::ImplTrait(_), Some(output)) => {
            quote!(async { let output: #output = loop {}; output })
        }
        _ => {
            name_impl_trait(ty);
            endless()
        }
    }
}

/// A loop has every type but an `impl Trait`: that needs one which implements the trait, and of all nameable
/// types `Infallible` implements most.
fn name_impl_trait(ty: &mut Type) {
    replace_impl_trait(ty, &|| parse_quote!(::core::convert::Infallible));
}

/// Unlike a panic, a loop is allowed in a `const fn` whatever its parameters are.
fn endless() -> TokenStream {
    quote!(loop {})
}
