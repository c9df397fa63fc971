//! Expands to the errors and a stub of the item, so that its callers compile and the errors stand
//! alone. The body is never part of the stub.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, PatType, ReturnType, Type, parse_quote};

use super::item::Function;
use super::output::{future_output, replace_impl_trait};
use crate::errors::Errors;

/// Returns the errors, and a function of the same signature that never returns.
pub(crate) fn stub(
    error: Option<&Error>,
    function: &Function,
    permit: Option<&PatType>,
) -> TokenStream {
    let error = error.map(Error::to_compile_error);
    if function.body.is_none() {
        let declaration = function.before_body();
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
    // Uses the permit's type, so that the compiler does not report its import as unused.
    let permit = permit.map(|PatType { attrs, ty, .. }| quote!(#(#attrs)* let _: #ty = loop {};));
    quote! {
        #error
        #(#attrs)*
        #[allow(unused, clippy::all, clippy::pedantic)]
        #vis #defaultness #sig { #permit #body }
    }
}

/// Returns the errors of an item that is not a function, and the item if it holds no code.
pub(crate) fn stub_of_other(errors: Errors, inert: &TokenStream) -> TokenStream {
    let errors = errors.finish().err().map(|error| error.to_compile_error());
    quote!(#errors #inert)
}

/// Returns a body for a sync function with this return type.
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

/// Replaces `impl Trait` by `Infallible` in a return type.
///
/// A loop has every type but an `impl Trait`, which needs a type that implements the trait.
/// `Infallible` implements more traits than any other type that can be named.
fn name_impl_trait(ty: &mut Type) {
    replace_impl_trait(ty, &|| parse_quote!(::core::convert::Infallible));
}

/// Returns `loop {}`. Unlike a panic, a loop is allowed in every `const fn`.
fn endless() -> TokenStream {
    quote!(loop {})
}
