//! What cannot be protected, and in which of three ways the rest can.

use syn::{Error, ReturnType, Safety, Type};

use super::future::FutureBody;
use super::item::Function;
use super::output;
use crate::errors::Errors;
use crate::runtime::Place;

/// How the body of a function is protected, and what the body returns.
pub(crate) struct Plan {
    pub(crate) kind: BodyKind,
    pub(crate) output: Output,
}

/// What a protected body returns.
pub(crate) struct Output {
    /// The type, with `_` for what cannot be written inside a body.
    pub(crate) ty: Type,
    /// Where the signature says it.
    pub(crate) place: Place,
}

/// The kinds of bodies.
pub(crate) enum BodyKind {
    /// Of an `async fn`.
    Async,
    /// Of an `fn`: it blocks until the permit is there.
    Blocking,
    /// Of an `fn` that returns a future.
    Future(Box<FutureBody>),
}

/// Checks a function whose permit parameter has been taken out.
pub(crate) fn check(function: &Function) -> syn::Result<Plan> {
    let mut errors = Errors::default();
    let sig = &function.sig;
    if let Some(constness) = &sig.constness {
        errors.push(Error::new(
            constness.span,
            "a `const fn` cannot wait for a permit: remove `const`",
        ));
    }
    if let Some(abi) = &sig.abi {
        errors.push(Error::new_spanned(
            abi,
            "an `extern` function cannot return a refusal to its foreign caller: protect a Rust function, and \
             call that one",
        ));
    }
    if let Some(variadic) = &sig.variadic {
        errors.push(Error::new_spanned(
            variadic,
            "a function with a variable number of arguments cannot be protected",
        ));
    }
    if let Safety::Safe(token) = &sig.safety {
        errors.push(Error::new(
            token.span,
            "a foreign function has no body to protect",
        ));
    }
    if function.body.is_none() {
        errors.push(Error::new(
            sig.ident.span(),
            format!(
                "`{}` has no body to protect: write `#[protect]` on the function that implements it",
                sig.ident
            ),
        ));
    }
    let plan = errors.take(plan(function));
    errors.finish()?;
    // Not reached: without errors there is a plan.
    plan.ok_or_else(|| Error::new(sig.ident.span(), "this function cannot be protected"))
}

fn plan(function: &Function) -> syn::Result<Plan> {
    let sig = &function.sig;
    let ReturnType::Type(_, output) = &sig.output else {
        return Err(Error::new(
            sig.ident.span(),
            format!(
                "`{}` has to return a `Result`, so that a refusal can be returned: write `-> Result<(), E>`, \
                 where `E: From<atlasent::Error>`",
                sig.ident
            ),
        ));
    };
    let future = if sig.asyncness.is_none() {
        output::future_output(output)
    } else {
        None
    };
    let (kind, output) = match (future, &function.body) {
        (Some(output), Some(body)) => {
            let future = FutureBody::open(&body.tokens).ok_or_else(|| {
                Error::new_spanned(
                    &sig.output,
                    "this body is more than one `async move` block, so it is unclear what needs the permit: \
                     write an `async fn`",
                )
            })?;
            (BodyKind::Future(Box::new(future)), output)
        }
        _ if sig.asyncness.is_some() => (BodyKind::Async, (**output).clone()),
        _ => (BodyKind::Blocking, (**output).clone()),
    };
    check_not_unit(&output)?;
    let place = Place::of(&output);
    let mut ty = output;
    output::replace_impl_trait(&mut ty, &|| output::infer(place.first));
    let output = Output { ty, place };
    Ok(Plan { kind, output })
}

fn check_not_unit(output: &Type) -> syn::Result<()> {
    match output {
        Type::Tuple(unit) if unit.elems.is_empty() => Err(Error::new_spanned(
            output,
            "return a `Result` instead, so that a refusal can be returned: `Result<(), E>`, where \
             `E: From<atlasent::Error>`",
        )),
        _ => Ok(()),
    }
}
