//! Reads the fields of a record as `serde` writes them, and checks them against the policy index.

use proc_macro2::Ident;
use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Data, DeriveInput, Error, Fields, LitStr, Token, Type};

use crate::errors::Errors;
use crate::policy_index::{self, Declaration, Given, Subject};

/// A field that is serialized.
pub(super) struct Field<'a> {
    pub(super) ident: &'a Ident,
    pub(super) ty: &'a Type,
    pub(super) key: LitStr,
    /// Whether `skip_serializing_if` may leave the field out.
    may_be_absent: bool,
}

/// A record that a struct is.
pub(super) struct Record {
    pub(super) declared: Declaration,
    pub(super) shape: u64,
}

/// Checks the keys against the record at `path`, and returns its declaration. Without an index, it
/// returns `None`. Errors go to `errors`.
pub(super) fn check(
    fields: &[Field<'_>],
    item: &Ident,
    path: &[LitStr],
    errors: &mut Errors,
) -> Option<Record> {
    let given = fields.iter().map(|field| Given {
        key: &field.key,
        value: None,
    });
    let subject = Subject {
        fields: Some(given.collect()),
        context: item.span(),
        may_have_fields: false,
    };
    let (declared, shape) = policy_index::check_record(path, &subject, errors)?;
    for field in fields.iter().filter(|field| field.may_be_absent) {
        if let Some(required) = declared.required(&field.key.value()) {
            errors.push(Error::new(
                field.key.span(),
                format!(
                    "`skip_serializing_if` may leave out the key `{required}`, which the schema requires: remove \
                     `skip_serializing_if`"
                ),
            ));
        }
    }
    Some(Record { declared, shape })
}

/// Returns the fields that are serialized. Errors go to `errors`.
pub(super) fn read<'a>(item: &'a DeriveInput, errors: &mut Errors) -> Vec<Field<'a>> {
    let container = errors.take(Container::parse(&item.attrs));
    let fields = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            Fields::Unit => return Vec::new(),
            Fields::Unnamed(fields) => {
                errors.push(Error::new_spanned(
                    fields,
                    "the fields need names, which are the keys of the record",
                ));
                return Vec::new();
            }
        },
        Data::Enum(_) | Data::Union(_) => {
            errors.push(Error::new(
                item.ident.span(),
                "a record has the same keys in every request: write a struct",
            ));
            return Vec::new();
        }
    };
    let case = container.and_then(|container| container.case);
    let fields = fields.iter().filter_map(|field| {
        let ident = field.ident.as_ref()?;
        let attrs = errors.take(FieldAttrs::parse(&field.attrs))?;
        if attrs.is_skipped {
            return None;
        }
        let plain = ident.unraw().to_string();
        let renamed = || case.map_or_else(|| plain.clone(), |case| case.apply(&plain));
        let key = attrs
            .rename
            .unwrap_or_else(|| LitStr::new(&renamed(), ident.span()));
        Some(Field {
            ident,
            ty: &field.ty,
            key,
            may_be_absent: attrs.may_be_absent,
        })
    });
    let fields: Vec<Field<'_>> = fields.collect();
    for (place, field) in fields.iter().enumerate() {
        let key = field.key.value();
        let mut before = fields.iter().take(place);
        if before.any(|other| other.key.value() == key) {
            errors.push(Error::new(
                field.key.span(),
                format!("the record has two fields `{key}`: keep one"),
            ));
        }
    }
    fields
}

/// What the `#[serde(…)]` attributes of the struct say about the keys.
#[derive(Default)]
struct Container {
    case: Option<Case>,
}

impl Container {
    fn parse(attrs: &[Attribute]) -> syn::Result<Self> {
        let mut parsed = Self::default();
        for_each(attrs, |meta| {
            if meta.path.is_ident("rename_all") {
                if let Some(case) = text(meta, "serialize")? {
                    parsed.case = Some(Case::parse(&case)?);
                }
                return Ok(());
            }
            let hidden = [
                "transparent",
                "into",
                "tag",
                "content",
                "untagged",
                "remote",
            ];
            refuse(meta, &hidden, "keys")
        })?;
        Ok(parsed)
    }
}

/// What the `#[serde(…)]` attributes of a field say about it.
#[derive(Default)]
struct FieldAttrs {
    rename: Option<LitStr>,
    is_skipped: bool,
    may_be_absent: bool,
}

impl FieldAttrs {
    fn parse(attrs: &[Attribute]) -> syn::Result<Self> {
        let mut parsed = Self::default();
        for_each(attrs, |meta| {
            if meta.path.is_ident("rename") {
                if let Some(name) = text(meta, "serialize")? {
                    parsed.rename = Some(name);
                }
                return Ok(());
            }
            parsed.is_skipped |=
                meta.path.is_ident("skip") || meta.path.is_ident("skip_serializing");
            parsed.may_be_absent |= meta.path.is_ident("skip_serializing_if");
            refuse(meta, &["flatten"], "keys")?;
            refuse(meta, &["with", "serialize_with", "getter"], "type")
        })?;
        Ok(parsed)
    }
}

/// Calls `each` with the entries of all `#[serde(…)]` attributes, which may leave their values.
fn for_each(
    attrs: &[Attribute],
    mut each: impl FnMut(&ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        attr.parse_nested_meta(|meta| {
            each(&meta)?;
            // The value that `each` did not read.
            while !meta.input.is_empty() && !meta.input.peek(Token![,]) {
                meta.input.parse::<proc_macro2::TokenTree>()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Returns the text of `rename = "…"`, or of `rename(serialize = "…")`.
fn text(meta: &ParseNestedMeta<'_>, key: &str) -> syn::Result<Option<LitStr>> {
    if meta.input.peek(Token![=]) {
        return meta.value()?.parse().map(Some);
    }
    let mut found = None;
    meta.parse_nested_meta(|inner| {
        let text: LitStr = inner.value()?.parse()?;
        if inner.path.is_ident(key) {
            found = Some(text);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Rejects attributes that hide what is serialized.
fn refuse(meta: &ParseNestedMeta<'_>, names: &[&str], hidden: &str) -> syn::Result<()> {
    match names.iter().find(|name| meta.path.is_ident(name)) {
        Some(name) => Err(meta.error(format!(
            "`{name}` hides the {hidden} from `PolicyRecord`: remove it, or derive nothing, and pass the record with \
             `atlasent::schema::unchecked_policy(...)`"
        ))),
        None => Ok(()),
    }
}

/// How `rename_all` writes the names of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Snake,
    Screaming,
    Pascal,
    Camel,
    Kebab,
    ScreamingKebab,
}

impl Case {
    fn parse(written: &LitStr) -> syn::Result<Self> {
        Ok(match written.value().as_str() {
            "lowercase" | "snake_case" => Self::Snake,
            "UPPERCASE" | "SCREAMING_SNAKE_CASE" => Self::Screaming,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            other => {
                let message = format!("unknown case `{other}`");
                return Err(Error::new(written.span(), message));
            }
        })
    }

    fn apply(self, field: &str) -> String {
        match self {
            Self::Snake => field.to_owned(),
            Self::Screaming => field.to_ascii_uppercase(),
            Self::Pascal => field.split('_').map(capitalized).collect(),
            Self::Camel => {
                let pascal = Self::Pascal.apply(field);
                let mut letters = pascal.chars();
                let first = letters.next().map(|letter| letter.to_ascii_lowercase());
                first.into_iter().chain(letters).collect()
            }
            Self::Kebab => field.replace('_', "-"),
            Self::ScreamingKebab => field.to_ascii_uppercase().replace('_', "-"),
        }
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn keys(item: proc_macro2::TokenStream) -> Vec<String> {
        let item: DeriveInput = syn::parse2(item).unwrap();
        let mut errors = Errors::default();
        let fields = read(&item, &mut errors);
        assert!(errors.is_empty());
        fields.iter().map(|field| field.key.value()).collect()
    }

    #[test]
    fn the_keys_are_those_that_serde_writes() {
        let item = quote! {
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            struct Client<'a, T> {
                ip_address: T,
                r#type: u8,
                #[serde(rename = "the port", default = "d", skip_serializing_if = "f::<A, B>")] port: &'a u8,
                #[serde(rename(serialize = "out", deserialize = "in"))] x: u8,
                #[serde(rename(deserialize = "in"), alias = "z")] y_z: u8,
                #[serde(skip)] secret: u8,
                #[serde(skip_serializing)] #[doc = ""] other: u8,
            }
        };
        assert_eq!(keys(item), ["ipAddress", "type", "the port", "out", "yZ"]);
        for (case, key) in [
            ("lowercase", "a_bc"),
            ("SCREAMING_SNAKE_CASE", "A_BC"),
            ("PascalCase", "ABc"),
            ("kebab-case", "a-bc"),
            ("SCREAMING-KEBAB-CASE", "A-BC"),
        ] {
            let item = quote!(
                #[serde(rename_all(serialize = #case))]
                struct A {
                    a_bc: u8,
                }
            );
            assert_eq!(keys(item), [key]);
        }
    }
}
