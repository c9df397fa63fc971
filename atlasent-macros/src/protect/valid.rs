//! What cannot be protected, and in which of three ways the rest can.

use syn::{Attribute, Error, Meta, PatType, ReturnType, Safety, Type};

use super::future::FutureBody;
use super::item::Function;
use super::output;
use crate::errors::Errors;
use crate::runtime::{Place, mentions};

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
pub(crate) fn check(function: &Function, permit: Option<&PatType>) -> syn::Result<Plan> {
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
             call it from this one",
        ));
    }
    if let Some(variadic) = &sig.variadic {
        errors.push(Error::new_spanned(
            variadic,
            "a function with a variable number of arguments cannot be protected: protect a function with fixed \
             parameters, and call it from this one",
        ));
    }
    if let Safety::Safe(token) = &sig.safety {
        errors.push(Error::new(
            token.span,
            "a foreign function has no body to protect: protect a Rust function that calls it",
        ));
    }
    if function.body.is_none() {
        let permit = match permit {
            Some(_) => {
                ", and declare it here without the permit parameter, which callers do not pass"
            }
            None => "",
        };
        errors.push(Error::new(
            sig.ident.span(),
            format!(
                "`{}` has no body to protect: write `#[protect]` on the function that implements it{permit}",
                sig.ident
            ),
        ));
    }
    let plan = errors.take(plan(function));
    if let Some(Plan {
        kind: BodyKind::Blocking,
        ..
    }) = &plan
    {
        let inner = function.body.iter().flat_map(|body| &body.inner_attrs);
        let tracking = function.attrs.iter().chain(inner).find(tracks_caller);
        if let Some(attr) = tracking {
            errors.push(Error::new_spanned(
                attr,
                "`#[track_caller]` has no effect on a `#[protect]` function, whose body runs in a closure: put it on a second \
                 function, which passes `Location::caller()` to this one",
            ));
        }
    }
    errors.finish()?;
    // Not reached: without errors there is a plan.
    plan.ok_or_else(|| {
        Error::new(
            sig.ident.span(),
            "this function cannot be protected: write an `fn` that returns a `Result`",
        )
    })
}

/// Whether an attribute is `#[track_caller]`, or becomes it under a condition.
fn tracks_caller(attr: &&Attribute) -> bool {
    match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            mentions(&list.tokens, "track_caller")
        }
        meta => meta.path().is_ident("track_caller"),
    }
}

fn plan(function: &Function) -> syn::Result<Plan> {
    let sig = &function.sig;
    let ReturnType::Type(_, output) = &sig.output else {
        return Err(Error::new(
            sig.ident.span(),
            format!(
                "`{}` has to return a `Result`, so that it can return a refusal: write `-> Result<(), E>`, \
                 where `E: From<atlasent::Error>`",
                sig.ident
            ),
        ));
    };
    let (kind, output) = if sig.asyncness.is_some() {
        (BodyKind::Async, (**output).clone())
    } else {
        let declared = output::future_output(output);
        let body = function.body.as_ref().map(|body| &body.tokens);
        match (body.and_then(FutureBody::open), declared, body) {
            // A body that is one `async` block is a future under whatever name.
            (Some(future), declared, _) => (
                BodyKind::Future(Box::new(future)),
                declared.unwrap_or_else(output::hidden),
            ),
            (None, Some(declared), Some(body)) if !FutureBody::parses(body) => {
                let future = FutureBody::unread(body, output);
                (BodyKind::Future(Box::new(future)), declared)
            }
            (None, Some(_), Some(_)) => {
                return Err(Error::new_spanned(
                    &sig.output,
                    "a protected function that returns a future has one `async move` block as its body: write one, \
                     or write an `async fn`",
                ));
            }
            _ => (BodyKind::Blocking, (**output).clone()),
        }
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
            "this function has to return a `Result`, so that it can return a refusal: write `Result<(), E>`, where \
             `E: From<atlasent::Error>`",
        )),
        _ => Ok(()),
    }
}
