//! The `#[action(...)]` attributes of a struct and of its fields, as written.

use proc_macro2::Ident;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Error, Lit, LitStr, Meta, Path, Token};

use crate::errors::Errors;
use crate::runtime::parse_crate;
use crate::{name, suggest};

/// What a struct's attributes say.
pub(crate) struct StructAttrs {
    /// The action's name. None after an error.
    pub(crate) name: Option<LitStr>,
    /// Where the `atlasent` crate is.
    pub(crate) path: Option<Path>,
}

const SHAPE: &str =
    "write the action's name in parentheses, such as `#[action(\"modify_patient_record\")]`";

impl StructAttrs {
    pub(crate) fn read(item: &Ident, attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut read = Self {
            name: None,
            path: None,
        };
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("action")) {
            let result = read.read_one(attr, errors);
            errors.take(result);
        }
        if read.name.is_none() && errors.is_empty() {
            errors.push(Error::new(
                item.span(),
                "this action has no name: write one above the struct, such as `#[action(\"modify_patient_record\")]`",
            ));
        }
        read
    }

    fn read_one(&mut self, attr: &Attribute, errors: &mut Errors) -> syn::Result<()> {
        let Meta::List(list) = &attr.meta else {
            return Err(Error::new_spanned(&attr.meta, SHAPE));
        };
        let read = |input: ParseStream<'_>| {
            if input.is_empty() {
                return Err(Error::new_spanned(&attr.meta, SHAPE));
            }
            while !input.is_empty() {
                self.read_part(input, attr, errors)?;
                if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                    return Err(input.error(
                        "unexpected token: above the struct, `#[action(...)]` takes the name and `crate = path`",
                    ));
                }
            }
            Ok(())
        };
        read.parse2(list.tokens.clone())
    }

    fn read_part(
        &mut self,
        input: ParseStream<'_>,
        attr: &Attribute,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        if let Ok(name) = input.parse::<LitStr>() {
            if self.name.is_some() {
                return Err(Error::new_spanned(
                    &attr.meta,
                    "`#[action(...)]` names the action twice: keep one name",
                ));
            }
            errors.take(name::check(&name));
            self.name = Some(name);
            return Ok(());
        }
        let Ok(key) = input.call(Ident::parse_any) else {
            return Err(input.error(format!("expected a string literal: {SHAPE}")));
        };
        let written = key.unraw().to_string();
        if FIELD_KEYS.contains(&written.as_str()) {
            return Err(Error::new(
                key.span(),
                format!("`{key}` belongs on a field of the struct: {SHAPE}"),
            ));
        }
        if written != "crate" {
            return Err(Error::new(
                key.span(),
                format!(
                    "unexpected `{key}`: above the struct, `#[action(...)]` takes the name, as a string literal, and \
                     `crate = path`"
                ),
            ));
        }
        input.parse::<Token![=]>()?;
        let path = parse_crate(input)?;
        put(&mut self.path, path, &key)
    }
}

/// What a field's attributes say.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) resource: Option<Ident>,
    pub(crate) skip: Option<Ident>,
    pub(crate) rename: Option<(Ident, LitStr)>,
}

const FIELD_KEYS: [&str; 3] = ["resource", "skip", "rename"];

impl FieldAttrs {
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut read = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("action")) {
            let result = read.read_one(attr, errors);
            errors.take(result);
        }
        if let (Some(_), Some((key, _))) = (&read.skip, &read.rename) {
            errors.push(Error::new(
                key.span(),
                "`rename` does nothing here, because `skip` leaves the field out of the context: keep one",
            ));
        }
        read
    }

    fn read_one(&mut self, attr: &Attribute, errors: &mut Errors) -> syn::Result<()> {
        let Meta::List(list) = &attr.meta else {
            return Err(Error::new_spanned(
                &attr.meta,
                format!(
                    "`#[action]` needs an argument: on a field, it takes {}",
                    suggest::list(&FIELD_KEYS)
                ),
            ));
        };
        (|input: ParseStream<'_>| {
            while !input.is_empty() {
                self.read_key(input, errors)?;
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        })
        .parse2(list.tokens.clone())
    }

    /// Reads one key. An error that the next key does not suffer from goes to `errors`.
    fn read_key(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
        let Ok(key) = input.call(Ident::parse_any) else {
            return Err(input.error(format!(
                "`#[action(...)]` on a field takes {}; the action's name goes above the struct",
                suggest::list(&FIELD_KEYS)
            )));
        };
        let value = if input.parse::<Option<Token![=]>>()?.is_some() {
            Some(input.parse::<Lit>()?)
        } else {
            None
        };
        let written = key.unraw().to_string();
        let unique = match (written.as_str(), value) {
            ("resource", None) => put(&mut self.resource, key.clone(), &key),
            ("skip", None) => put(&mut self.skip, key.clone(), &key),
            ("resource" | "skip", Some(value)) => Err(Error::new(
                value.span(),
                format!("`{key}` takes no value: write `#[action({key})]`"),
            )),
            ("rename", Some(Lit::Str(name))) => {
                if name.value().is_empty() {
                    errors.push(Error::new(name.span(), "a context key cannot be empty: write a name, such as `rename = \"amount\"`"));
                }
                put(&mut self.rename, (key.clone(), name), &key)
            }
            ("rename", _) => Err(Error::new(
                key.span(),
                "`rename` needs the key as a string: write `rename = \"...\"`",
            )),
            _ => {
                let meant = suggest::nearest(&written, &FIELD_KEYS);
                let place = "`#[action(...)]` on a field";
                Err(suggest::unknown(&key, meant, &FIELD_KEYS, place))
            }
        };
        errors.take(unique);
        Ok(())
    }
}

fn put<T>(slot: &mut Option<T>, value: T, key: &Ident) -> syn::Result<()> {
    if slot.is_some() {
        return Err(Error::new(
            key.span(),
            format!("`{key}` is given twice: keep one"),
        ));
    }
    *slot = Some(value);
    Ok(())
}
