//! Takes the parameter that receives the permit out of the signature, where callers never see it.

use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, Meta, Pat, PatType, PathArguments, Signature,
    Token, Type,
};

use crate::errors::Errors;

/// Removes the parameter that receives the permit from a signature, and returns it: the parameter
/// marked `#[permit]`, or else the parameter whose type is called `Permit`. A parameter marked
/// `#[permit(skip)]` stays.
///
/// | signature | returns | signature afterwards |
/// |---|---|---|
/// | `f(x: u8, p: Permit)` | `p: Permit` | `f(x: u8)` |
/// | `f(a: Permit, #[permit] p: Pass)` | `p: Pass` | `f(a: Permit)` |
/// | `f(#[permit(skip)] a: Permit)` | `None` | `f(a: Permit)` |
/// | `f(a: Permit, b: Permit)` | `a: Permit`, and an error | `f()` |
///
/// The parameter is removed after an error, too, so that the stub has the signature that callers
/// expect.
pub(crate) fn take_from(sig: &mut Signature, errors: &mut Errors) -> Option<PatType> {
    let mut marked = Vec::new();
    let mut typed = Vec::new();
    let mut wrapped = Vec::new();
    for (index, input) in sig.inputs.iter_mut().enumerate() {
        let attribute = take_permit_attribute(input, errors);
        match (input, attribute) {
            (FnArg::Receiver(receiver), Some(_)) => errors.push(Error::new(
                receiver.self_token.span,
                "`self` cannot receive the permit: mark a parameter of type `Permit<...>`",
            )),
            (FnArg::Receiver(_), None) | (FnArg::Typed(_), Some(PermitAttribute::Skip)) => {}
            (FnArg::Typed(parameter), Some(PermitAttribute::Receive)) => {
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
    // Where another parameter receives the permit, `&Permit` is a permit that callers pass.
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

/// The `#[permit]` attribute of a parameter.
#[derive(Clone, Copy)]
enum PermitAttribute {
    /// `#[permit]`: the parameter receives the permit.
    Receive,
    /// `#[permit(skip)]`: callers pass the parameter.
    Skip,
}

/// Removes the attribute `#[permit]`, which the compiler does not know, and returns it.
fn take_permit_attribute(input: &mut FnArg, errors: &mut Errors) -> Option<PermitAttribute> {
    let attrs: &mut Vec<Attribute> = match input {
        FnArg::Receiver(receiver) => &mut receiver.attrs,
        FnArg::Typed(parameter) => &mut parameter.attrs,
    };
    let mut found = None;
    attrs.retain(|attr| {
        if !attr.path().is_ident("permit") {
            return true;
        }
        let attribute = match &attr.meta {
            Meta::Path(_) => PermitAttribute::Receive,
            meta => match attr.parse_args::<Ident>() {
                Ok(argument) if argument == "skip" => PermitAttribute::Skip,
                _ => {
                    errors.push(Error::new_spanned(
                        meta,
                        "write `#[permit]` before the parameter that receives the permit, or `#[permit(skip)]` before one \
                         that callers pass",
                    ));
                    PermitAttribute::Receive
                }
            },
        };
        if found.is_some() {
            errors.push(Error::new_spanned(
                &attr.meta,
                "`#[permit]` is given twice: keep one",
            ));
        }
        found = found.or(Some(attribute));
        false
    });
    found
}

/// Builds the error for a parameter such as `&Permit`.
fn wrapped_permit(ty: &Type) -> Error {
    Error::new_spanned(
        ty,
        "a function receives its permit by value: write `Permit<...>`, or write `#[permit(skip)]` before the \
         parameter if callers pass another permit here",
    )
}

/// Whether the last segment of a type's path is `Permit`.
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

/// Whether a type is a reference, pointer, tuple or `Option` of a permit, such as `&Permit`.
/// `Receiver<Permit>` and `impl Fn(Permit)` are not: callers pass those.
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

/// Returns the name of a parameter whose pattern is a plain name. `#[async_trait]` gives every
/// parameter one.
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
