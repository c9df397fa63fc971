//! Validates the struct under `#[derive(Action)]` and its attributes.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::{Attribute, Data, DataStruct, DeriveInput, Error, Fields, Generics, LitStr, Type};

use super::attr::FieldAttrs;
use crate::action_name::ActionName;
use crate::errors::Errors;
use crate::policy_index::{self, Declaration, Given, Subject};

/// A struct that passed every check.
pub(crate) struct ActionStruct<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) name: ActionName,
    pub(crate) fields: Vec<Field<'a>>,
    /// The declaration in the schema, if the package has a policy index.
    pub(crate) declared: Option<Declaration>,
}

/// One field of an [`ActionStruct`].
pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    /// The key in the context. `None` for a skipped field.
    pub(crate) key: Option<LitStr>,
    /// The keyword `resource`, if the field is the action's resource.
    pub(crate) resource: Option<Ident>,
    /// Whether the type mentions a type parameter of the struct.
    pub(crate) is_generic: bool,
    pub(crate) is_deprecated: bool,
    /// Whether the type is not checked against the policy index.
    pub(crate) is_unchecked: bool,
}

impl Field<'_> {
    /// The key in the context, if the type is checked.
    pub(crate) fn checked_key(&self) -> Option<&LitStr> {
        self.key.as_ref().filter(|_| !self.is_unchecked)
    }
}

impl<'a> ActionStruct<'a> {
    /// Validates a struct and its parsed attributes. The error is all errors of both: `errors` has
    /// those of the attributes.
    pub(crate) fn validate(
        item: &'a DeriveInput,
        name: Option<ActionName>,
        is_unchecked: bool,
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
        let declared = match &name {
            Some(name) if !is_unchecked => declared(name, &fields, &mut errors),
            _ => None,
        };
        errors.finish()?;
        Ok(Self {
            ident: &item.ident,
            generics: &item.generics,
            // Not reached: a missing name has left an error.
            name: name.ok_or_else(|| Error::new(item.ident.span(), "this action has no name"))?,
            fields,
            declared,
        })
    }
}

/// Checks the name and the keys against the policy index.
fn declared(name: &ActionName, fields: &[Field<'_>], errors: &mut Errors) -> Option<Declaration> {
    let given = fields.iter().filter_map(|field| {
        let key = field.key.as_ref()?;
        Some(Given { key, value: None })
    });
    let subject = Subject {
        fields: Some(given.collect()),
        context: name.span(),
        may_have_fields: true,
    };
    policy_index::check_action(name, &subject, errors)
}

/// Rejects lifetimes: an action outlives the call, so it owns its values.
fn check_lifetimes(generics: &Generics, errors: &mut Errors) {
    for param in generics.lifetimes() {
        errors.push(Error::new(
            param.lifetime.span(),
            "an action owns its values: hold a `String` instead of a `&str`, and drop the lifetime",
        ));
    }
}

/// Validates the fields.
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
    fields
        .iter()
        .filter_map(|field| {
            let ident = field.ident.as_ref()?;
            let attrs = FieldAttrs::parse(&field.attrs, errors);
            let key = match (attrs.skip, attrs.rename) {
                (Some(_), _) => None,
                (None, Some((_, rename))) => Some(rename),
                // Policies read `r#type` as `type`.
                (None, None) => Some(LitStr::new(&ident.unraw().to_string(), ident.span())),
            };
            Some(Field {
                ident,
                ty: &field.ty,
                key,
                resource: attrs.resource,
                is_generic: mentions_parameter(field.ty.to_token_stream(), &item.generics),
                is_deprecated: field.attrs.iter().any(is_deprecated),
                is_unchecked: attrs.unchecked.is_some(),
            })
        })
        .collect()
}

/// Rejects a second resource, and a second field of one key.
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

/// Whether a type parameter occurs in `tokens`, at any depth.
pub(crate) fn mentions_parameter(tokens: TokenStream, generics: &Generics) -> bool {
    tokens.into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => generics.type_params().any(|param| param.ident == ident),
        TokenTree::Group(group) => mentions_parameter(group.stream(), generics),
        _ => false,
    })
}

/// Whether an attribute is `#[deprecated]`.
fn is_deprecated(attr: &Attribute) -> bool {
    attr.path().is_ident("deprecated")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::testing::{errors, item, one_error, read};
    use quote::quote;

    #[test]
    fn every_field_is_context_unless_skipped() {
        let item = item(quote! {
            #[action("transfer")]
            struct Transfer<T> {
                #[action(resource, skip)] account: Id<T>,
                r#type: Kind,
                #[action(rename = "sum", unchecked_policy)] #[deprecated] amount: u64,
            }
        });
        let input = read(&item).unwrap();
        assert!(matches!(&input.name, ActionName::Literal(name) if name.value() == "transfer"));
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
        assert!(amount.is_deprecated && amount.checked_key().is_none());
        assert!(kind.checked_key().is_some());
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
