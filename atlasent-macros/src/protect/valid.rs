//! Rejects functions that cannot be protected, and plans how to protect the others: as an
//! `async fn`, as a blocking `fn`, or as an `fn` that returns a future.

use syn::{Attribute, Error, Meta, PatType, ReturnType, Safety, Type};

use super::future::FutureBody;
use super::item::Function;
use super::output;
use crate::errors::Errors;
use crate::runtime::{SourceSpan, mentions};

/// How to protect a function.
pub(crate) struct Plan {
    pub(crate) kind: BodyKind,
    pub(crate) output: Output,
}

/// The return type of a protected body.
pub(crate) struct Output {
    /// The type, with `_` in place of each `impl Trait`.
    pub(crate) ty: Type,
    /// The location of the type in the signature.
    pub(crate) span: SourceSpan,
}

/// The kind of a body.
pub(crate) enum BodyKind {
    /// The body of an `async fn`.
    Async,
    /// The body of an `fn`, which blocks until the permit is obtained.
    Blocking,
    /// The body of an `fn` that returns a future.
    Future(Box<FutureBody>),
}

/// Validates a function whose permit parameter has been taken out.
pub(crate) fn validate(function: &Function, permit: Option<&PatType>) -> syn::Result<Plan> {
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
    // Not reached: a missing plan has left an error.
    plan.ok_or_else(|| {
        Error::new(
            sig.ident.span(),
            "this function cannot be protected: write an `fn` that returns a `Result`",
        )
    })
}

/// Whether an attribute is `#[track_caller]` or `#[cfg_attr(…, track_caller)]`.
fn tracks_caller(attr: &&Attribute) -> bool {
    match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            mentions(&list.tokens, "track_caller")
        }
        meta => meta.path().is_ident("track_caller"),
    }
}

/// Chooses the kind of the body, and finds its return type.
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
            // A body that is one `async` block is a future, even where an alias hides the type.
            (Some(future), declared, _) => (
                BodyKind::Future(Box::new(future)),
                declared.unwrap_or_else(output::inferred_output),
            ),
            (None, Some(declared), Some(body)) if !FutureBody::can_parse(body) => {
                let future = FutureBody::from_unparsed(body, output);
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
    let span = SourceSpan::from_tokens(&output);
    let mut ty = output;
    output::replace_impl_trait(&mut ty, &|| output::inferred_type(span.first));
    let output = Output { ty, span };
    Ok(Plan { kind, output })
}

/// Rejects `()` as the return type.
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
