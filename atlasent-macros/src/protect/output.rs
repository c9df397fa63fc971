//! Reads return types: the output of a function, or of the future that it returns.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::{
    GenericArgument, Path, PathArguments, ReturnType, Token, Type, TypeInfer, TypeParamBound,
};

/// Returns the output of a future type, `_` where the type does not show it, and `None` for other
/// types.
///
/// | type | output |
/// |---|---|
/// | `impl Future<Output = R> + Send` | `R` |
/// | `Pin<Box<dyn Future<Output = R>>>` | `R` |
/// | `BoxFuture<'_, R>` | `R` |
/// | `Pin<Box<Self::Fut>>` | `_` |
/// | `Result<R, E>` | none |
pub(crate) fn future_output(ty: &Type) -> Option<Type> {
    match ty {
        Type::ImplTrait(ty) => output_among(&ty.bounds),
        Type::TraitObject(ty) => output_among(&ty.bounds),
        Type::Group(ty) => future_output(&ty.elem),
        Type::Paren(ty) => future_output(&ty.elem),
        Type::Path(ty) => {
            let segment = ty.path.segments.last()?;
            if segment.ident == "Pin" {
                let pinned = type_arguments(&ty.path).next();
                let boxed = pinned.and_then(|ty| match ty {
                    Type::Path(ty) => type_arguments(&ty.path).next(),
                    _ => None,
                });
                return Some(
                    boxed
                        .and_then(future_output)
                        .unwrap_or_else(inferred_output),
                );
            }
            if segment.ident == "BoxFuture" || segment.ident == "LocalBoxFuture" {
                return Some(
                    type_arguments(&ty.path)
                        .last()
                        .cloned()
                        .unwrap_or_else(inferred_output),
                );
            }
            None
        }
        _ => None,
    }
}

/// Returns the output among the bounds of `impl` or `dyn`.
fn output_among(bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<Type> {
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let segment = bound.path.segments.last()?;
        if segment.ident != "Future" {
            return None;
        }
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            return Some(inferred_output());
        };
        let output = arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(assoc.ty.clone()),
            _ => None,
        });
        Some(output.unwrap_or_else(inferred_output))
    })
}

/// Iterates over the type arguments of a path's last segment.
fn type_arguments(path: &Path) -> impl Iterator<Item = &Type> {
    let arguments = path.segments.last().and_then(|last| match &last.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    });
    arguments
        .into_iter()
        .flatten()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}

/// Replaces every `impl Trait` in a type, because a type inside a body cannot contain one.
pub(crate) fn replace_impl_trait(ty: &mut Type, replacement: &dyn Fn() -> Type) {
    let again = |ty: &mut Type| replace_impl_trait(ty, replacement);
    match ty {
        Type::ImplTrait(_) => *ty = replacement(),
        Type::Array(ty) => again(&mut ty.elem),
        Type::Group(ty) => again(&mut ty.elem),
        Type::Paren(ty) => again(&mut ty.elem),
        Type::Ptr(ty) => again(&mut ty.elem),
        Type::Reference(ty) => again(&mut ty.elem),
        Type::Slice(ty) => again(&mut ty.elem),
        Type::Tuple(ty) => ty.elems.iter_mut().for_each(again),
        Type::TraitObject(ty) => {
            for bound in &mut ty.bounds {
                if let TypeParamBound::Trait(bound) = bound {
                    replace_in_path(&mut bound.path, replacement);
                }
            }
        }
        Type::Path(ty) => {
            if let Some(qself) = &mut ty.qself {
                again(&mut qself.ty);
            }
            replace_in_path(&mut ty.path, replacement);
        }
        // `impl Trait` is not allowed in the others.
        _ => {}
    }
}

fn replace_in_path(path: &mut Path, replacement: &dyn Fn() -> Type) {
    for segment in &mut path.segments {
        match &mut segment.arguments {
            PathArguments::None => {}
            PathArguments::AngleBracketed(arguments) => {
                for argument in &mut arguments.args {
                    match argument {
                        GenericArgument::Type(ty) => replace_impl_trait(ty, replacement),
                        GenericArgument::AssocType(assoc) => {
                            replace_impl_trait(&mut assoc.ty, replacement);
                        }
                        _ => {}
                    }
                }
            }
            PathArguments::Parenthesized(arguments) => {
                for input in &mut arguments.inputs {
                    replace_impl_trait(&mut input.ty, replacement);
                }
                if let ReturnType::Type(_, ty) = &mut arguments.output {
                    replace_impl_trait(ty, replacement);
                }
            }
        }
    }
}

/// Returns the type `_`, located at `span`.
pub(crate) fn inferred_type(span: Span) -> Type {
    Type::Infer(TypeInfer {
        attrs: Vec::new(),
        underscore_token: Token![_](span),
    })
}

/// Returns `_`, for the output of a future whose type does not show it.
pub(crate) fn inferred_output() -> Type {
    inferred_type(Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::TokenStream;
    use quote::{ToTokens as _, quote};

    fn output_of(ty: TokenStream) -> Option<String> {
        future_output(&syn::parse2(ty).unwrap()).map(|ty| ty.to_token_stream().to_string())
    }

    #[test]
    fn the_output_of_every_future_type_is_found() {
        let output = quote!(Result<u8, E>);
        for ty in [
            quote!(impl Future<Output = #output> + Send),
            quote!(impl Send + 'a + std::future::Future<Output = #output>),
            quote!(Pin<Box<dyn Future<Output = #output> + Send + 'async_trait>>),
            quote!(::core::pin::Pin<Box<dyn ::core::future::Future<Output = #output>>>),
            quote!(BoxFuture<'static, #output>),
            quote!(futures::future::LocalBoxFuture<'_, #output>),
        ] {
            assert_eq!(output_of(ty), Some(output.to_string()));
        }
    }

    #[test]
    fn a_future_whose_output_does_not_show_is_still_one() {
        for ty in [
            quote!(impl Future),
            quote!(Pin<Box<Self::Fut>>),
            quote!(BoxFuture),
        ] {
            assert_eq!(output_of(ty).as_deref(), Some("_"));
        }
    }

    #[test]
    fn other_types_are_values() {
        for ty in [
            quote!(Result<Pin<Box<X>>, E>),
            quote!(impl Display),
            quote!(()),
        ] {
            assert_eq!(output_of(ty), None);
        }
    }

    #[test]
    fn impl_trait_is_erased_wherever_it_may_stand() {
        let mut ty: Type = syn::parse_quote! {
            Result<(impl A, Box<dyn Iterator<Item = impl B>>, &'a [impl C], <X as Y<impl D>>::Z), E>
        };
        replace_impl_trait(&mut ty, &inferred_output);
        let erased: Type = syn::parse_quote! {
            Result<(_, Box<dyn Iterator<Item = _>>, &'a [_], <X as Y<_>>::Z), E>
        };
        assert_eq!(
            ty.to_token_stream().to_string(),
            erased.to_token_stream().to_string()
        );
    }
}
