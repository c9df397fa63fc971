//! Parses the `#[action(…)]` attributes of a struct and of its fields.

use proc_macro2::Ident;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Error, Lit, LitStr, Meta, Path, Token};

use crate::action_name::{self, ActionName};
use crate::errors::Errors;
use crate::runtime::parse_crate;
use crate::suggest;

/// The attributes of a struct.
pub(crate) struct StructAttrs {
    /// The action's name. `None` after an error.
    pub(crate) name: Option<ActionName>,
    /// The path of the `atlasent` crate.
    pub(crate) path: Option<Path>,
    /// Whether the struct is not checked against the policy index.
    pub(crate) is_unchecked: bool,
}

const SHAPE: &str =
    "write the action's name in parentheses, such as `#[action(\"modify_patient_record\")]`";

impl StructAttrs {
    /// Parses the attributes. Errors go to `errors`.
    pub(crate) fn parse(item: &Ident, attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut parsed = Self {
            name: None,
            path: None,
            is_unchecked: false,
        };
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("action")) {
            let result = parsed.parse_one(attr, errors);
            errors.take(result);
        }
        if parsed.name.is_none() && errors.is_empty() {
            errors.push(Error::new(
                item.span(),
                "this action has no name: write one above the struct, such as `#[action(\"modify_patient_record\")]`",
            ));
        }
        parsed
    }

    fn parse_one(&mut self, attr: &Attribute, errors: &mut Errors) -> syn::Result<()> {
        let Meta::List(list) = &attr.meta else {
            return Err(Error::new_spanned(&attr.meta, SHAPE));
        };
        let parse = |input: ParseStream<'_>| {
            if input.is_empty() {
                return Err(Error::new_spanned(&attr.meta, SHAPE));
            }
            while !input.is_empty() {
                self.parse_part(input, attr, errors)?;
                if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                    return Err(input.error(
                        "unexpected token: above the struct, `#[action(...)]` takes the name, `crate = path` and `unchecked_policy`",
                    ));
                }
            }
            Ok(())
        };
        parse.parse2(list.tokens.clone())
    }

    /// Parses the name, `crate = path` or `unchecked_policy`.
    fn parse_part(
        &mut self,
        input: ParseStream<'_>,
        attr: &Attribute,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        if let Some(name) = parse_name(input)? {
            if self.name.is_some() {
                return Err(Error::new_spanned(
                    &attr.meta,
                    "`#[action(...)]` names the action twice: keep one name",
                ));
            }
            if let ActionName::Literal(name) = &name {
                errors.take(action_name::check(name));
            }
            self.name = Some(name);
            return Ok(());
        }
        let Ok(key) = input.call(Ident::parse_any) else {
            return Err(input.error(format!("expected a string literal: {SHAPE}")));
        };
        let written = key.unraw().to_string();
        if written == "unchecked_policy" {
            self.is_unchecked = true;
            return Ok(());
        }
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
                    "unexpected `{key}`: above the struct, `#[action(...)]` takes the name, as a string literal or \
                     a constant, `crate = path` and `unchecked_policy`"
                ),
            ));
        }
        input.parse::<Token![=]>()?;
        let path = parse_crate(input)?;
        put(&mut self.path, path, &key)
    }
}

/// Parses the name, if one follows: a literal, or the path of a constant. Unlike the keys, a path
/// has several names or is in capitals.
fn parse_name(input: ParseStream<'_>) -> syn::Result<Option<ActionName>> {
    if let Ok(name) = input.parse::<LitStr>() {
        return Ok(Some(ActionName::Literal(name)));
    }
    let ahead = input.fork();
    ahead.parse::<Option<Token![::]>>()?;
    let Ok(first) = ahead.call(Ident::parse_any) else {
        return Ok(None);
    };
    let has_more = input.peek(Token![::]) || ahead.peek(Token![::]);
    if !has_more && !action_name::is_capital(&first) {
        return Ok(None);
    }
    let path = input.call(Path::parse_mod_style)?;
    if first == "Self" {
        return Err(Error::new(
            first.span(),
            "`Self` has no meaning here: write the name of the type that has the constant",
        ));
    }
    Ok(Some(ActionName::Constant(path)))
}

/// The attributes of a field.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    /// The keyword `resource`.
    pub(crate) resource: Option<Ident>,
    /// The keyword `skip`.
    pub(crate) skip: Option<Ident>,
    /// The keyword `rename`, and the new key.
    pub(crate) rename: Option<(Ident, LitStr)>,
    /// The keyword `unchecked_policy`.
    pub(crate) unchecked: Option<Ident>,
}

const FIELD_KEYS: [&str; 4] = ["resource", "skip", "rename", "unchecked_policy"];

impl FieldAttrs {
    /// Parses the attributes. Errors go to `errors`.
    pub(crate) fn parse(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("action")) {
            let result = parsed.parse_one(attr, errors);
            errors.take(result);
        }
        if let (Some(_), Some((key, _))) = (&parsed.skip, &parsed.rename) {
            errors.push(Error::new(
                key.span(),
                "`rename` does nothing here, because `skip` leaves the field out of the context: keep one",
            ));
        }
        parsed
    }

    fn parse_one(&mut self, attr: &Attribute, errors: &mut Errors) -> syn::Result<()> {
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
                self.parse_key(input, errors)?;
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        })
        .parse2(list.tokens.clone())
    }

    /// Parses one key. An error that leaves the next key readable goes to `errors`.
    fn parse_key(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
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
            ("unchecked_policy", None) => put(&mut self.unchecked, key.clone(), &key),
            ("resource" | "skip" | "unchecked_policy", Some(value)) => Err(Error::new(
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
                let holder = "`#[action(...)]` on a field";
                Err(suggest::unknown(&key, meant, &FIELD_KEYS, holder))
            }
        };
        errors.take(unique);
        Ok(())
    }
}

/// Stores a value, or rejects the second value of a key.
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

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::{ToTokens as _, quote};

    use super::*;
    use crate::action::testing::{item, one_error, read};

    fn field_error(attrs: TokenStream) -> String {
        one_error(quote!(#[action("a")] struct A { #attrs field: u8 }))
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
        for (attr, says) in [
            (quote!(#[action(5)]), "string literal"),
            (quote!(#[action(name)]), "string literal"),
            (quote!(#[action(Deploy)]), "string literal"),
            (quote!(#[action(Self::NAME)]), "name of the type"),
            (quote!(#[action(NAME, OTHER)]), "twice"),
        ] {
            let error = one_error(quote!(#attr struct A;));
            assert!(error.contains(says), "{error}");
        }
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
    fn a_constant_can_name_the_action() {
        for (attr, path) in [
            (quote!(#[action(NAME)]), "NAME"),
            (
                quote!(#[action(names::deploy, unchecked_policy)]),
                "names :: deploy",
            ),
            (
                quote!(#[action(crate = facade, crate::names::DEPLOY)]),
                "crate :: names :: DEPLOY",
            ),
            (quote!(#[action(::a::B)]), ":: a :: B"),
        ] {
            let item = item(quote!(#attr struct A;));
            let ActionName::Constant(name) = read(&item).unwrap().name else {
                panic!("{path} is no constant");
            };
            assert_eq!(name.to_token_stream().to_string(), path);
        }
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
            let attrs = StructAttrs::parse(&item.ident, &item.attrs, &mut errors);
            assert!(errors.is_empty());
            assert!(matches!(attrs.name, Some(ActionName::Literal(name)) if name.value() == "a"));
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
    fn a_wrong_field_attribute_is_explained() {
        for (attrs, says) in [
            (quote!(#[action(resouce)]), "did you mean `resource`?"),
            (
                quote!(#[action(flatten)]),
                "takes `resource`, `skip`, `rename` and `unchecked_policy`",
            ),
            (quote!(#[action(skip, skip)]), "`skip` is given twice"),
            (
                quote!(#[action(resource)] #[action(resource)]),
                "`resource` is given twice",
            ),
            (quote!(#[action(skip = true)]), "takes no value"),
            (quote!(#[action(unchecked_policy = 1)]), "takes no value"),
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
}
