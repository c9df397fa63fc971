//! `#[derive(Action)]`: parses the struct and its attributes, validates them, and expands.

mod attr;
mod expand;
mod fallback;
mod valid;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::errors::Errors;
use crate::runtime::Runtime;
use attr::StructAttrs;
pub(crate) use expand::in_a_scope;
use valid::ActionStruct;
pub(crate) use valid::mentions_parameter;

/// Returns the implementation of `Action`, or the errors and a stub of the implementation.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(tokens.clone()) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let attrs = StructAttrs::parse(&item.ident, &item.attrs, &mut errors);
    let runtime = Runtime::new(attrs.path, &[&tokens]);
    match ActionStruct::validate(&item, attrs.name, attrs.is_unchecked, errors) {
        Ok(input) => expand::expand(&input, &runtime),
        Err(error) => fallback::stub(&error, &item, &runtime),
    }
}

/// What the unit tests of this module's parsers share.
#[cfg(test)]
mod testing {
    use super::*;

    pub(super) fn item(tokens: TokenStream) -> DeriveInput {
        syn::parse2(tokens).unwrap()
    }

    pub(super) fn read(item: &DeriveInput) -> syn::Result<ActionStruct<'_>> {
        let mut errors = Errors::default();
        let attrs = StructAttrs::parse(&item.ident, &item.attrs, &mut errors);
        ActionStruct::validate(item, attrs.name, attrs.is_unchecked, errors)
    }

    pub(super) fn errors(tokens: TokenStream) -> Vec<String> {
        crate::errors::testing::texts(read(&item(tokens)))
    }

    pub(super) fn one_error(tokens: TokenStream) -> String {
        crate::errors::testing::one_text(read(&item(tokens)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn derived(item: TokenStream) -> String {
        let expanded = expand(item);
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
            "impl __atlasent :: DerivedAction for Transfer",
            "= \"transfer\" ;",
            "impl __atlasent :: Action for Transfer",
            "fn resource",
            ". field (\"account\" , & self . account)",
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
            Vec < T > : __atlasent :: Serialize";
        // Both traits hold under the same conditions.
        assert_eq!(text.matches(clause).count(), 2, "{text}");
        assert!(
            text.contains("impl < T , U > __atlasent :: Action for A"),
            "{text}"
        );
        assert!(
            !text.contains("u8 :") && !text.contains("U : __atlasent"),
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
            assert!(text.contains(":: DerivedAction for A"), "{text}");
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
