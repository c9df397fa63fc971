//! The parameter through which a body receives its permit. Callers never see it.

use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, Meta, Pat, PatType, PathArguments, Signature,
    Token, Type,
};

use crate::errors::Errors;

/// Takes the permit's parameter out of a signature: the one marked `#[permit]`, or else the one
/// whose type is called `Permit`. A parameter marked `#[permit(skip)]` stays.
///
/// It leaves the signature on an error, too.
pub(crate) fn take_from(sig: &mut Signature, errors: &mut Errors) -> Option<PatType> {
    let mut marked = Vec::new();
    let mut typed = Vec::new();
    let mut wrapped = Vec::new();
    for (index, input) in sig.inputs.iter_mut().enumerate() {
        let mark = take_mark(input, errors);
        match (input, mark) {
            (FnArg::Receiver(receiver), Some(_)) => errors.push(Error::new(
                receiver.self_token.span,
                "`self` cannot receive the permit: mark a parameter of type `Permit<...>`",
            )),
            (FnArg::Receiver(_), None) | (FnArg::Typed(_), Some(Mark::Skip)) => {}
            (FnArg::Typed(parameter), Some(Mark::Receive)) => {
                if wraps_permit(&parameter.ty) {
                    errors.push(wrapped_permit(&parameter.ty));
                }
                marked.push(index);
            }
            (FnArg::Typed(parameter), None) if is_permit(&parameter.ty) => typed.push(index),
            (FnArg::Typed(parameter), None) if wraps_permit(&parameter.ty) => {
                wrapped.push(wrapped_permit(&parameter.ty));
            }
            (FnArg::Typed(_), None) => {}
        }
    }
    let (candidates, help) = if marked.is_empty() {
        (
            typed,
            "mark the one that receives it with `#[permit]`, or mark those that callers pass with `#[permit(skip)]`",
        )
    } else {
        (marked, "keep one `#[permit]`")
    };
    // Beside a parameter that receives the permit, `&Permit` can only be a permit that callers
    // pass.
    if candidates.is_empty() {
        wrapped.into_iter().for_each(|error| errors.push(error));
    }

    let mut permit = None;
    let inputs = std::mem::take(&mut sig.inputs);
    sig.inputs = inputs
        .into_pairs()
        .enumerate()
        .filter_map(|(index, pair)| {
            if !candidates.contains(&index) {
                return Some(pair);
            }
            if let FnArg::Typed(parameter) = pair.into_value() {
                if permit.is_some() {
                    errors.push(Error::new(
                        parameter.ty.span(),
                        format!("a call obtains one permit, and this is a second parameter for it: {help}"),
                    ));
                } else {
                    permit = Some(parameter);
                }
            }
            None
        })
        .collect::<Punctuated<FnArg, Token![,]>>();
    permit
}

/// What a parameter's attribute says of it.
#[derive(Clone, Copy)]
enum Mark {
    /// `#[permit]`
    Receive,
    /// `#[permit(skip)]`
    Skip,
}

/// Removes `#[permit]`, which means nothing to the compiler. Returns what it said.
fn take_mark(input: &mut FnArg, errors: &mut Errors) -> Option<Mark> {
    let attrs: &mut Vec<Attribute> = match input {
        FnArg::Receiver(receiver) => &mut receiver.attrs,
        FnArg::Typed(parameter) => &mut parameter.attrs,
    };
    let mut found = None;
    attrs.retain(|attr| {
        if !attr.path().is_ident("permit") {
            return true;
        }
        let mark = match &attr.meta {
            Meta::Path(_) => Mark::Receive,
            meta => match attr.parse_args::<Ident>() {
                Ok(argument) if argument == "skip" => Mark::Skip,
                _ => {
                    errors.push(Error::new_spanned(
                        meta,
                        "write `#[permit]` before the parameter that receives the permit, or `#[permit(skip)]` before one \
                         that callers pass",
                    ));
                    Mark::Receive
                }
            },
        };
        if found.is_some() {
            errors.push(Error::new_spanned(
                &attr.meta,
                "`#[permit]` is given twice: keep one",
            ));
        }
        found = found.or(Some(mark));
        false
    });
    found
}

fn wrapped_permit(ty: &Type) -> Error {
    Error::new_spanned(
        ty,
        "a function receives its permit by value: write `Permit<...>`, or write `#[permit(skip)]` before the \
         parameter if callers pass another permit here",
    )
}

fn is_permit(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Permit"),
        Type::Group(group) => is_permit(&group.elem),
        Type::Paren(paren) => is_permit(&paren.elem),
        _ => false,
    }
}

/// Whether a type is a permit in something that is passed for what it holds: a reference, an
/// `Option`, a pointer. Channels of permits, and closures that take one, do not count.
fn wraps_permit(ty: &Type) -> bool {
    let holds = |ty: &Type| is_permit(ty) || wraps_permit(ty);
    match ty {
        Type::Reference(reference) => holds(&reference.elem),
        Type::Tuple(tuple) => tuple.elems.iter().any(holds),
        Type::Group(group) => wraps_permit(&group.elem),
        Type::Paren(paren) => wraps_permit(&paren.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| {
            let wrapper = ["Option", "Result", "Box", "Rc", "Arc", "Cow"]
                .iter()
                .any(|wrapper| segment.ident == wrapper);
            let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
                return false;
            };
            wrapper
                && arguments
                    .args
                    .iter()
                    .any(|argument| matches!(argument, GenericArgument::Type(ty) if holds(ty)))
        }),
        _ => false,
    }
}

/// The name of a parameter that is one. `#[async_trait]` gives every parameter a name.
pub(crate) fn name_of(parameter: &PatType) -> Option<&Ident> {
    match &*parameter.pat {
        Pat::Ident(pat) => Some(&pat.ident),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::{ToTokens as _, quote};

    fn take(sig: proc_macro2::TokenStream) -> (String, Result<Option<String>, Vec<String>>) {
        let mut sig: Signature = syn::parse2(sig).unwrap();
        let mut errors = Errors::default();
        let permit = take_from(&mut sig, &mut errors);
        let permit = errors
            .finish()
            .map(|()| permit.map(|permit| permit.to_token_stream().to_string()))
            .map_err(|error| error.into_iter().map(|error| error.to_string()).collect());
        (sig.to_token_stream().to_string(), permit)
    }

    #[test]
    fn a_parameter_of_type_permit_leaves_the_signature() {
        let (sig, permit) = take(quote!(fn f(&self, mut p: atlasent::Permit<Deploy>, x: u8)));
        assert_eq!(sig, quote!(fn f(&self, x: u8)).to_string());
        assert_eq!(
            permit.unwrap().unwrap(),
            quote!(mut p: atlasent::Permit<Deploy>).to_string()
        );
    }

    #[test]
    fn a_marked_parameter_comes_before_a_typed_one() {
        let (sig, permit) = take(quote!(fn f(other: Permit, #[permit] #[cfg(a)] p: Pass)));
        assert_eq!(sig, quote!(fn f(other: Permit,)).to_string());
        assert_eq!(
            permit.unwrap().unwrap(),
            quote!(#[cfg(a)] p: Pass).to_string()
        );
    }

    #[test]
    fn without_such_a_parameter_nothing_changes() {
        let ordinary = quote!(fn f(x: Permits, y: Receiver<Permit>, z: impl Fn(Permit)));
        let (sig, permit) = take(ordinary.clone());
        assert_eq!(sig, ordinary.to_string());
        assert_eq!(permit, Ok(None));
    }

    #[test]
    fn a_skipped_parameter_stays() {
        let (sig, permit) = take(
            quote!(fn f(#[permit(skip)] a: parking::Permit, #[permit(skip)] b: &Permit, c: Permit)),
        );
        assert_eq!(
            sig,
            quote!(fn f(a: parking::Permit, b: &Permit,)).to_string()
        );
        assert_eq!(permit.unwrap().unwrap(), quote!(c: Permit).to_string());
    }

    #[test]
    fn a_permit_in_something_else_is_an_error_unless_another_parameter_receives_it() {
        for ty in [
            quote!(&Permit),
            quote!(&'a mut Permit<Deploy>),
            quote!(Option<Permit>),
            quote!(std::sync::Arc<atlasent::Permit>),
            quote!((Permit, u8)),
            quote!(&Option<&Permit>),
        ] {
            for mark in [quote!(), quote!(#[permit])] {
                let (_, permit) = take(quote!(fn f(#mark p: #ty)));
                let errors = permit.unwrap_err();
                assert_eq!(errors.len(), 1, "{errors:?}");
                assert!(errors[0].contains("by value"), "{errors:?}");
            }
            let (sig, permit) = take(quote!(fn f(p: #ty, q: Permit)));
            assert_eq!(sig, quote!(fn f(p: #ty,)).to_string());
            assert!(permit.unwrap().is_some());
            let (sig, permit) = take(quote!(fn f(#[permit(skip)] p: #ty)));
            assert_eq!(sig, quote!(fn f(p: #ty)).to_string());
            assert_eq!(permit, Ok(None));
        }
    }

    #[test]
    fn two_permits_are_an_error_and_both_leave() {
        let (sig, permit) = take(quote!(fn f(a: Permit, b: Permit<B>)));
        assert_eq!(sig, quote!(fn f()).to_string());
        let errors = permit.unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("mark the one"), "{errors:?}");
    }

    #[test]
    fn a_mark_says_skip_or_nothing_and_is_not_for_self() {
        let (sig, permit) = take(quote!(fn f(#[permit] &self, #[permit(a)] p: Permit)));
        assert_eq!(sig, quote!(fn f(&self,)).to_string());
        let errors = permit.unwrap_err();
        assert!(
            errors[0].contains("`self` cannot receive the permit"),
            "{errors:?}"
        );
        assert!(errors[1].contains("`#[permit(skip)]`"), "{errors:?}");
    }
}
