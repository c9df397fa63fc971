//! Reads the `receipt` argument: the closure that returns what the result is hashed by.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote_spanned};
use syn::{Error, Expr, ExprClosure, ReturnType};

use crate::runtime::{Runtime, SourceSpan};

/// Returns the closure, if it takes one parameter and nothing else is special about it.
pub(crate) fn closure(value: Expr) -> syn::Result<ExprClosure> {
    let is_plain = |closure: &ExprClosure| {
        closure.inputs.len() == 1
            && closure.asyncness.is_none()
            && closure.constness.is_none()
            && closure.lifetimes.is_none()
            && matches!(closure.output, ReturnType::Default)
    };
    match value {
        // A closure that comes through a `macro_rules!` macro.
        Expr::Group(group) => closure(*group.expr),
        Expr::Paren(paren) => closure(*paren.expr),
        Expr::Closure(closure) if is_plain(&closure) => Ok(closure),
        other => Err(Error::new_spanned(
            other,
            "`receipt` takes a closure with one parameter, the value in the body's `Ok`, which returns the text or the \
             bytes to hash: write a closure, such as `receipt = |release| release.id.to_string()`",
        )),
    }
}

/// Returns `.receipt(…)`, which hashes the result of a body that did not fail.
///
/// ```text
/// .receipt(|__atlasent_ValueReturned| {
///     returned(__atlasent_ValueReturned).map(|release| result_hash(&(release.id.to_string())))
/// })
/// ```
///
/// The runtime takes a function pointer, so a closure that captures a variable, which the body may
/// have moved, is a compile error.
pub(crate) fn method(receipt: &ExprClosure, runtime: &Runtime) -> TokenStream {
    let span = SourceSpan::from_tokens(receipt);
    let returned = runtime.local("ValueReturned", span.first);
    let body = SourceSpan::from_tokens(&receipt.body);
    let bytes = body.borrowed(&receipt.body);
    let hash = runtime.call(body, "result_hash", None, bytes);
    let value = runtime.call(span, "returned", None, returned.to_token_stream());
    let (attrs, parameter) = (&receipt.attrs, &receipt.inputs);
    quote_spanned! {span.first=>
        .receipt(|#returned| #value.map(#(#attrs)* |#parameter| #hash))
    }
}
