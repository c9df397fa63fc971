//! The parameter through which a body receives its permit. Callers never see it.

use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, FnArg, Meta, Pat, PatType, Signature, Token, Type};

use crate::errors::Errors;

/// Takes the permit's parameter out of a signature: the one marked `#[permit]`, or else the one whose type is
/// called `Permit`.
///
/// It leaves the signature on an error, too.
pub(crate) fn take_from(sig: &mut Signature, errors: &mut Errors) -> Option<PatType> {
    let mut marked = Vec::new();
    let mut typed = Vec::new();
    for (index, input) in sig.inputs.iter_mut().enumerate() {
        let is_marked = take_mark(input, errors);
        match input {
            FnArg::Receiver(receiver) if is_marked => errors.push(Error::new(
                receiver.self_token.span,
                "`self` is no permit: mark a parameter of type `Permit<...>`",
            )),
            FnArg::Receiver(_) => {}
            FnArg::Typed(_) if is_marked => marked.push(index),
            FnArg::Typed(parameter) if is_permit(&parameter.ty) => typed.push(index),
            FnArg::Typed(_) => {}
        }
    }
    let (candidates, help) = if marked.is_empty() {
        (typed, "mark the one to receive it with `#[permit]`")
    } else {
        (marked, "keep one `#[permit]`")
    };

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

/// Removes `#[permit]`, which means nothing to the compiler. Says whether it was there.
fn take_mark(input: &mut FnArg, errors: &mut Errors) -> bool {
    let attrs: &mut Vec<Attribute> = match input {
        FnArg::Receiver(receiver) => &mut receiver.attrs,
        FnArg::Typed(parameter) => &mut parameter.attrs,
    };
    let mut found = false;
    attrs.retain(|attr| {
        if !attr.path().is_ident("permit") {
            return true;
        }
        if !matches!(attr.meta, Meta::Path(_)) {
            errors.push(Error::new_spanned(
                &attr.meta,
                "`#[permit]` takes no arguments: the parameter's type says which permit it is",
            ));
        } else if found {
            errors.push(Error::new_spanned(
                &attr.meta,
                "`#[permit]` is given twice: keep one",
            ));
        }
        found = true;
        false
    });
    found
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

/// The name of a parameter that is one. `#[async_trait]` gives every parameter a name.
pub(crate) fn name_of(parameter: &PatType) -> Option<&syn::Ident> {
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
        let (sig, permit) = take(quote!(fn f(p: &Permit, x: Permits)));
        assert_eq!(sig, quote!(fn f(p: &Permit, x: Permits)).to_string());
        assert_eq!(permit, Ok(None));
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
    fn a_mark_has_no_arguments_and_is_not_for_self() {
        let (sig, permit) = take(quote!(fn f(#[permit] &self, #[permit(a)] p: Permit)));
        assert_eq!(sig, quote!(fn f(&self,)).to_string());
        let errors = permit.unwrap_err();
        assert!(errors[0].contains("`self` is no permit"), "{errors:?}");
        assert!(errors[1].contains("takes no arguments"), "{errors:?}");
    }
}
