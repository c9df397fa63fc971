//! `#[derive(Action)]`: read the attributes, reject what is no action, expand.

mod attr;
mod expand;
mod fallback;
mod input;

use proc_macro2::TokenStream;
use syn::DeriveInput;

/// The implementations; or the errors, and implementations that say nothing.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    match input::Input::read(&item) {
        Ok(input) => expand::expand(&input),
        Err(error) => fallback::expand(&error, &item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn derived(item: TokenStream) -> String {
        let expanded = derive(item);
        let text = expanded.to_string();
        assert!(syn::parse2::<syn::File>(expanded).is_ok(), "{text}");
        text
    }

    #[test]
    fn a_struct_becomes_a_named_action() {
        let text = derived(quote! {
            #[action("transfer")]
            struct Transfer { #[action(resource)] account: Id, #[action(skip)] note: String }
        });
        for part in [
            "impl :: atlasent :: Action for Transfer",
            "impl :: atlasent :: NamedAction for Transfer",
            "= \"transfer\" ;",
            "fn resource",
            "field (& mut __context , \"account\" , & self . account)",
        ] {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
        assert!(!text.contains("note"), "{text}");
    }

    #[test]
    fn bounds_are_on_what_is_generic_only() {
        let text = derived(quote! {
            #[action("a")]
            struct A<T, U> where U: Copy { t: Vec<T>, n: u8, #[action(skip)] u: U }
        });
        let clause = "where U : Copy , \
            Self : :: core :: marker :: Send + :: core :: marker :: Sync + 'static , \
            Vec < T > : :: atlasent :: __private0 :: Serialize";
        assert!(
            text.contains(&clause.replace("__private0", &crate::runtime::private().to_string())),
            "{text}"
        );
        assert!(
            !text.contains("u8 :") && !text.contains("U : :: atlasent"),
            "{text}"
        );
    }

    #[test]
    fn after_an_error_the_type_is_still_an_action() {
        for item in [
            quote!(
                struct A {
                    a: u8,
                }
            ),
            quote!(
                #[action("a")]
                enum A {
                    B,
                }
            ),
            quote!(
                #[action("a")]
                struct A<'a, T: Copy = u8, const N: usize = 1>(&'a [T; N])
                where
                    T: Send;
            ),
        ] {
            let text = derived(item);
            assert!(text.contains("compile_error"), "{text}");
            assert!(text.contains(":: Action for A"), "{text}");
            assert!(text.contains(":: NamedAction for A"), "{text}");
        }
    }

    #[test]
    fn half_a_struct_is_an_error_only() {
        let text = derived(quote!(struct A { a: }));
        assert!(
            text.contains("compile_error") && !text.contains("impl ::"),
            "{text}"
        );
    }
}
