//! `#[derive(PolicyRecord)]`: parses the struct and its attributes, checks its fields against a
//! record of the policy index, and expands. Without an index, it expands to nothing.

mod attr;
mod expand;
mod fields;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::errors::Errors;
use crate::runtime::Runtime;
use attr::RecordAttrs;
use fields::Record;

/// Returns the implementations of `PolicyValue`, or the errors and a stub of them.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(tokens.clone()) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let attrs = RecordAttrs::parse(&item.ident, &item.attrs, &mut errors);
    let runtime = Runtime::new(attrs.path, &[&tokens]);
    let fields = fields::read(&item, &mut errors);
    let mut checked: Vec<Record> = Vec::new();
    // After an error, fields may be unknown.
    let paths = attrs.records.iter().filter(|_| errors.is_empty());
    for path in paths.collect::<Vec<_>>() {
        if let Some(record) = fields::check(&fields, &item.ident, path, &mut errors) {
            // Records with the same keys and types are one type.
            if checked.iter().all(|other| other.shape != record.shape) {
                checked.push(record);
            }
        }
    }
    match errors.finish() {
        Ok(()) => checked
            .iter()
            .map(|record| expand::expand(&item, &fields, record, &runtime))
            .collect(),
        Err(error) => expand::stub(&error, &item, &runtime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn one_error(item: TokenStream) -> String {
        let text = expand(item).to_string();
        assert_eq!(text.matches("compile_error").count(), 1, "{text}");
        assert!(text.contains(":: PolicyValue <"), "{text}");
        text
    }

    #[test]
    fn without_an_index_nothing_is_checked() {
        let item = quote! {
            #[record("site.visit", "client")]
            struct Client<'a> { #[serde(rename = "a")] ip: &'a str }
        };
        assert!(expand(item).is_empty());
    }

    #[test]
    fn a_wrong_record_is_explained() {
        for (item, says) in [
            (
                quote!(
                    struct A {
                        b: u8,
                    }
                ),
                "names no record",
            ),
            (
                quote!(
                    #[record]
                    struct A {
                        b: u8,
                    }
                ),
                "in parentheses",
            ),
            (
                quote!(
                    #[record("a")]
                    struct A {
                        b: u8,
                    }
                ),
                "is incomplete",
            ),
            (
                quote!(
                    #[record("a", b)]
                    struct A {
                        b: u8,
                    }
                ),
                "string literals",
            ),
            (
                quote!(
                    #[record("a", "b")]
                    struct A(u8);
                ),
                "need names",
            ),
            (
                quote!(
                    #[record("a", "b")]
                    enum A {
                        B,
                    }
                ),
                "write a struct",
            ),
            (
                quote!(
                    #[record("a", "b")]
                    struct A {
                        b: u8,
                        #[serde(rename = "b")]
                        c: u8,
                    }
                ),
                "two fields `b`",
            ),
        ] {
            let error = one_error(item);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_attribute_that_hides_keys_or_types_is_an_error() {
        for attr in [
            quote!(#[serde(flatten)]),
            quote!(#[serde(with = "hex")]),
            quote!(#[serde(serialize_with = "hex")]),
        ] {
            let error = one_error(quote!(#[record("a", "b")] struct A { #attr b: u8 }));
            assert!(error.contains("unchecked_policy"), "{error}");
        }
        for attr in [
            quote!(#[serde(transparent)]),
            quote!(#[serde(tag = "kind")]),
            quote!(#[serde(into = "B")]),
        ] {
            let error = one_error(quote!(#[record("a", "b")] #attr struct A { b: u8 }));
            assert!(error.contains("unchecked_policy"), "{error}");
        }
    }
}
