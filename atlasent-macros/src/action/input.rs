//! The struct under `#[derive(Action)]`, with its attributes, after every check.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Data, DataStruct, DeriveInput, Error, Fields, GenericParam, Generics, LitStr, Type,
};

use super::attr::FieldAttrs;
use crate::errors::Errors;

/// A struct that is an action.
pub(crate) struct Input<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) name: LitStr,
    pub(crate) fields: Vec<Field<'a>>,
}

/// One field of it.
pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    /// None for a field that is left out of the context.
    pub(crate) key: Option<LitStr>,
    /// The mark of the resource.
    pub(crate) resource: Option<Ident>,
    /// Whether the type holds a type parameter of the struct.
    pub(crate) is_generic: bool,
    pub(crate) is_deprecated: bool,
}

impl<'a> Input<'a> {
    /// Reads the struct, whose attributes have been read. The error holds everything that is wrong
    /// with both.
    pub(crate) fn read(
        item: &'a DeriveInput,
        name: Option<LitStr>,
        mut errors: Errors,
    ) -> syn::Result<Self> {
        check_lifetimes(&item.generics, &mut errors);
        let fields = match &item.data {
            Data::Struct(data) => read_fields(data, item, &mut errors),
            Data::Enum(data) => {
                errors.push(Error::new(
                    data.enum_token.span,
                    "an action has one name, so it cannot be an enum: write a struct for each variant",
                ));
                Vec::new()
            }
            Data::Union(data) => {
                errors.push(Error::new(
                    data.union_token.span,
                    "an action cannot be a union, whose field in use is unknown: write a struct",
                ));
                Vec::new()
            }
        };
        check_unique(&fields, &mut errors);
        errors.finish()?;
        Ok(Self {
            ident: &item.ident,
            generics: &item.generics,
            // Not reached: without a name there was an error.
            name: name.ok_or_else(|| Error::new(item.ident.span(), "this action has no name"))?,
            fields,
        })
    }
}

/// An action outlives the call that it is about, so it owns its values.
fn check_lifetimes(generics: &Generics, errors: &mut Errors) {
    for param in generics.lifetimes() {
        errors.push(Error::new(
            param.lifetime.span(),
            "an action owns its values: hold a `String` instead of a `&str`, and drop the lifetime",
        ));
    }
}

fn read_fields<'a>(
    data: &'a DataStruct,
    item: &DeriveInput,
    errors: &mut Errors,
) -> Vec<Field<'a>> {
    let fields = match &data.fields {
        Fields::Named(fields) => &fields.named,
        Fields::Unit => return Vec::new(),
        Fields::Unnamed(fields) => {
            errors.push(Error::new_spanned(
                fields,
                format!(
                    "the fields need names, which are their keys in the context: write \
                     `struct {} {{ amount: ... }}`",
                    item.ident
                ),
            ));
            return Vec::new();
        }
    };
    let parameters: Vec<&Ident> = item
        .generics
        .params
        .iter()
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            _ => None,
        })
        .collect();
    fields
        .iter()
        .filter_map(|field| {
            let ident = field.ident.as_ref()?;
            let attrs = FieldAttrs::read(&field.attrs, errors);
            let key = match (attrs.skip, attrs.rename) {
                (Some(_), _) => None,
                (None, Some((_, rename))) => Some(rename),
                // `r#type` is how Rust spells it, not what a policy reads.
                (None, None) => Some(LitStr::new(&ident.unraw().to_string(), ident.span())),
            };
            Some(Field {
                ident,
                ty: &field.ty,
                key,
                resource: attrs.resource,
                is_generic: mentions(field.ty.to_token_stream(), &parameters),
                is_deprecated: field.attrs.iter().any(is_deprecated),
            })
        })
        .collect()
}

fn check_unique(fields: &[Field<'_>], errors: &mut Errors) {
    for (index, field) in fields.iter().enumerate() {
        let before = fields.get(..index).unwrap_or_default();
        if let Some(mark) = &field.resource
            && before.iter().any(|other| other.resource.is_some())
        {
            errors.push(Error::new(
                mark.span(),
                "a second `#[action(resource)]`: an action has one resource, so mark one field",
            ));
        }
        let Some(key) = &field.key else {
            continue;
        };
        let same = |other: &&Field<'_>| {
            let other = other.key.as_ref();
            other.is_some_and(|other| other.value() == key.value())
        };
        if let Some(other) = before.iter().find(same) {
            errors.push(Error::new(
                key.span(),
                format!(
                    "`{}` is already the context key of the field `{}`: choose another with \
                     `#[action(rename = \"...\")]`",
                    key.value(),
                    other.ident
                ),
            ));
        }
    }
}

fn mentions(tokens: TokenStream, parameters: &[&Ident]) -> bool {
    tokens.into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => parameters.contains(&&ident),
        TokenTree::Group(group) => mentions(group.stream(), parameters),
        _ => false,
    })
}

fn is_deprecated(attr: &Attribute) -> bool {
    attr.path().is_ident("deprecated")
}

#[cfg(test)]
mod tests {
    use super::super::attr::StructAttrs;
    use super::*;
    use quote::quote;

    fn item(tokens: TokenStream) -> DeriveInput {
        syn::parse2(tokens).unwrap()
    }

    fn read(item: &DeriveInput) -> syn::Result<Input<'_>> {
        let mut errors = Errors::default();
        let attrs = StructAttrs::read(&item.ident, &item.attrs, &mut errors);
        Input::read(item, attrs.name, errors)
    }

    fn errors(tokens: TokenStream) -> Vec<String> {
        match read(&item(tokens)) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
        }
    }

    fn one_error(tokens: TokenStream) -> String {
        let mut errors = errors(tokens);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.remove(0)
    }

    fn field_error(attrs: TokenStream) -> String {
        one_error(quote!(#[action("a")] struct A { #attrs field: u8 }))
    }

    #[test]
    fn every_field_is_context_unless_skipped() {
        let item = item(quote! {
            #[action("transfer")]
            struct Transfer<T> {
                #[action(resource, skip)] account: Id<T>,
                r#type: Kind,
                #[action(rename = "sum")] #[deprecated] amount: u64,
            }
        });
        let input = read(&item).unwrap();
        assert_eq!(input.name.value(), "transfer");
        let keys = input
            .fields
            .iter()
            .map(|field| field.key.as_ref().map(LitStr::value));
        assert!(keys.eq([None, Some("type".to_owned()), Some("sum".to_owned())]));
        let [account, kind, amount] = input.fields.as_slice() else {
            panic!("not three fields");
        };
        assert!(account.resource.is_some() && account.is_generic);
        assert!(kind.resource.is_none() && !kind.is_generic);
        assert!(amount.is_deprecated);
    }

    #[test]
    fn an_action_has_one_name() {
        assert!(
            one_error(quote!(
                struct A;
            ))
            .contains("has no name")
        );
        for attr in [quote!(action), quote!(action()), quote!(action = "a")] {
            let error = one_error(quote!(#[#attr] struct A;));
            assert!(error.contains("in parentheses"), "{error}");
        }
        assert!(
            one_error(quote!(
                #[action(NAME)]
                struct A;
            ))
            .contains("string literal")
        );
        assert!(
            one_error(quote!(
                #[action("")]
                struct A;
            ))
            .contains("empty")
        );
        assert!(
            one_error(quote!(
                #[action("a", x)]
                struct A;
            ))
            .contains("unexpected")
        );
        assert!(
            one_error(quote!(
                #[action("a")]
                #[action("b")]
                struct A;
            ))
            .contains("twice")
        );
        assert!(
            one_error(quote!(
                #[action(resource)]
                struct A;
            ))
            .contains("belongs on a field")
        );
    }

    #[test]
    fn the_crate_stands_beside_the_name_or_alone() {
        for attrs in [
            quote!(#[action("a", crate = facade::guard)]),
            quote!(#[action(crate = facade::guard, "a",)]),
            quote!(#[action("a")] #[action(crate = facade::guard)]),
        ] {
            let item = item(quote!(#attrs struct A;));
            let mut errors = Errors::default();
            let attrs = StructAttrs::read(&item.ident, &item.attrs, &mut errors);
            assert!(errors.is_empty());
            assert_eq!(attrs.name.unwrap().value(), "a");
            let path = attrs.path.unwrap().to_token_stream().to_string();
            assert_eq!(path, "facade :: guard");
        }
        for (attrs, says) in [
            (quote!(#[action(crate = facade)]), "has no name"),
            (quote!(#[action("a", crate = "facade")]), "`crate = facade`"),
            (quote!(#[action("a", crate)]), "expected `=`"),
            (
                quote!(#[action("a", crate = b, crate = c)]),
                "`crate` is given twice",
            ),
            (quote!(#[action("a", crat = b)]), "unexpected `crat`"),
        ] {
            let error = one_error(quote!(#attrs struct A;));
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_action_is_a_struct_with_named_fields() {
        assert!(
            errors(quote!(
                #[action("a")]
                struct A;
            ))
            .is_empty()
        );
        assert!(
            errors(quote!(
                #[action("a")]
                struct A {}
            ))
            .is_empty()
        );
        assert!(
            one_error(quote!(
                #[action("a")]
                struct A(u8);
            ))
            .contains("need names")
        );
        assert!(
            one_error(quote!(
                #[action("a")]
                enum A {
                    B,
                }
            ))
            .contains("each variant")
        );
        assert!(one_error(quote!(#[action("a")] union A { b: u8 })).contains("write a struct"));
        assert!(
            one_error(quote!(
                #[action("a")]
                struct A<'a> {
                    b: &'a str,
                }
            ))
            .contains("owns")
        );
    }

    #[test]
    fn a_wrong_field_attribute_is_explained() {
        for (attrs, says) in [
            (quote!(#[action(resouce)]), "did you mean `resource`?"),
            (
                quote!(#[action(flatten)]),
                "takes `resource`, `skip` and `rename`",
            ),
            (quote!(#[action(skip, skip)]), "`skip` is given twice"),
            (
                quote!(#[action(resource)] #[action(resource)]),
                "`resource` is given twice",
            ),
            (quote!(#[action(skip = true)]), "takes no value"),
            (quote!(#[action(rename)]), "`rename = \"...\"`"),
            (quote!(#[action(rename = 1)]), "`rename = \"...\"`"),
            (quote!(#[action(rename = "")]), "cannot be empty"),
            (quote!(#[action(skip, rename = "b")]), "does nothing"),
            (quote!(#[action("b")]), "above the struct"),
            (quote!(#[action]), "it takes `resource`"),
        ] {
            let error = field_error(attrs);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn keys_and_the_resource_are_unique() {
        let error = one_error(quote!(
            #[action("a")]
            struct A {
                b: u8,
                #[action(rename = "b")]
                c: u8,
            }
        ));
        assert!(error.contains("key of the field `b`"), "{error}");
        let error = one_error(quote! {
            #[action("a")] struct A { #[action(resource)] b: u8, #[action(resource)] c: u8 }
        });
        assert!(error.contains("second `#[action(resource)]`"), "{error}");
        assert!(
            errors(quote!(
                #[action("a")]
                struct A {
                    b: u8,
                    #[action(skip, resource)]
                    c: u8,
                }
            ))
            .is_empty()
        );
    }

    #[test]
    fn independent_errors_come_together() {
        let all = errors(quote!(
            #[action("")]
            struct A<'a> {
                #[action(foo)]
                b: u8,
                #[action(skpi)]
                c: u8,
            }
        ));
        assert_eq!(all.len(), 4, "{all:?}");
    }
}
