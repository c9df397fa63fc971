//! Checks the types of the values against the index, by traits: a macro sees tokens, not types.
//!
//! For the key `replicas: Long`, whose value the code gives as `n`, the expansion has the item
//!
//! ```text
//! #[diagnostic::on_unimplemented(message = "`{Self}` where the schema says `replicas: Long`", …)]
//! trait __atlasent_Value0 { fn value(&self) -> &Self { self } }
//! #[diagnostic::do_not_recommend]
//! impl<T: schema::PolicyValue<schema::LongType> + ?Sized> __atlasent_Value0 for T {}
//! ```
//!
//! and the value `__atlasent_Value0::value(&(n))` in place of `&(n)`. Each key has a trait of its
//! own because only a trait's definition can word the message. `value` is a method of the trait,
//! not a function with a bound, because the compiler would point to the bound as well.

use std::fmt;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

use super::{DeclaredAction, DeclaredKey, Kind};
use crate::runtime::{Runtime, SourceSpan};

/// The checks of the values of one expansion.
#[derive(Clone, Copy)]
pub(crate) struct TypeChecks<'a> {
    pub(crate) action: Option<&'a DeclaredAction>,
    pub(crate) runtime: &'a Runtime,
}

impl TypeChecks<'_> {
    /// Returns the traits for the keys that the code gives, which can be used in the scope of the
    /// runtime's import.
    pub(crate) fn items<'k>(self, keys: impl Iterator<Item = &'k syn::LitStr>) -> TokenStream {
        let declared = keys.filter_map(|key| self.declared(key));
        declared.map(|(index, key)| self.item(index, key)).collect()
    }

    /// Returns a value, which is a reference, with its check.
    pub(crate) fn checked(
        self,
        key: &syn::LitStr,
        span: SourceSpan,
        value: TokenStream,
    ) -> TokenStream {
        let Some((index, _)) = self.declared(key) else {
            return value;
        };
        let check = self.runtime.local(&format!("Value{index}"), span.first);
        let method = Ident::new("value", span.last);
        let value = span.parenthesized(value);
        quote_spanned!(span.first=> #check::#method #value)
    }

    /// Returns the bound of a field's type that mentions a type parameter.
    pub(crate) fn bound(self, key: &syn::LitStr) -> Option<TokenStream> {
        let (_, key) = self.declared(key)?;
        Some(self.fitting(key))
    }

    fn declared(&self, key: &syn::LitStr) -> Option<(usize, &DeclaredKey)> {
        let name = key.value();
        let keys = self.action?.keys.iter().enumerate();
        let mut keys = keys.filter(|(_, key)| key.name == name);
        keys.next()
    }

    fn item(self, index: usize, key: &DeclaredKey) -> TokenStream {
        let site = Span::mixed_site();
        let check = self.runtime.local(&format!("Value{index}"), site);
        let fitting = self.fitting(key);
        // As a schema writes it. Braces are doubled, since the message is a format string.
        let mark = if key.is_required { "" } else { "?" };
        let shown = format!("{}{mark}: {}", key.name, key.kind);
        let shown = shown.replace('{', "{{").replace('}', "}}");
        let message = format!("`{{Self}}` where the schema says `{shown}`");
        let label = key.kind.advice();
        let note = format!(
            "a type of your own fits with `impl atlasent::schema::PolicyValue<{}> for … {{{{}}}}`",
            key.kind.path("atlasent::schema::")
        );
        quote_spanned! {site=>
            #[diagnostic::on_unimplemented(message = #message, label = #label, note = #note)]
            #[allow(non_camel_case_types)]
            trait #check {
                fn value(&self) -> &Self {
                    self
                }
            }
            #[diagnostic::do_not_recommend]
            impl<T: #fitting + ?::core::marker::Sized> #check for T {}
        }
    }

    /// Returns the bound that a value for the key meets.
    fn fitting(self, key: &DeclaredKey) -> TokenStream {
        let site = Span::mixed_site();
        let runtime = self.runtime.name(site);
        let fitting = match key.is_required {
            true => Ident::new("PolicyValue", site),
            false => Ident::new("OptionalValue", site),
        };
        let declared = key.kind.tokens(&runtime);
        quote_spanned!(site=> #runtime::schema::#fitting<#declared>)
    }
}

impl Kind {
    /// Returns the name of the type in the module `atlasent::schema`.
    fn marker(&self) -> &'static str {
        match self {
            Self::Bool => "BoolType",
            Self::Long => "LongType",
            Self::String => "StringType",
            Self::Decimal => "DecimalType",
            Self::Ipaddr => "IpaddrType",
            Self::Datetime => "DatetimeType",
            Self::Duration => "DurationType",
            Self::Set(_) => "SetType",
            Self::Record => "RecordType",
            Self::Entity(_) => "EntityType",
        }
    }

    fn path(&self, module: &str) -> String {
        match self {
            Self::Set(element) => format!("{module}SetType<{}>", element.path(module)),
            other => format!("{module}{}", other.marker()),
        }
    }

    fn tokens(&self, runtime: &Ident) -> TokenStream {
        let site = Span::mixed_site();
        let marker = Ident::new(self.marker(), site);
        let element = match self {
            Self::Set(element) => {
                let element = element.tokens(runtime);
                Some(quote_spanned!(site=> <#element>))
            }
            _ => None,
        };
        quote_spanned!(site=> #runtime::schema::#marker #element)
    }

    /// Returns what to write for a value of the type.
    fn advice(&self) -> String {
        match self {
            Self::Bool => "pass a `bool`".to_owned(),
            Self::Long => "pass an integer".to_owned(),
            Self::String => "pass a string".to_owned(),
            Self::Decimal => "pass a number, or a string such as `\"19.99\"`".to_owned(),
            Self::Ipaddr => {
                "pass a `std::net::IpAddr`, or a string such as `\"10.0.0.0/8\"`".to_owned()
            }
            Self::Datetime => "pass a string such as `\"2026-01-31T12:00:00Z\"`".to_owned(),
            Self::Duration => "pass a string such as `\"1h30m\"`".to_owned(),
            Self::Set(element) => format!("pass a collection of values for `{element}`"),
            Self::Record => "pass a value that serializes as an object".to_owned(),
            Self::Entity(name) => format!("pass the id of the `{name}` as a string"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("Bool"),
            Self::Long => f.write_str("Long"),
            Self::String => f.write_str("String"),
            Self::Decimal => f.write_str("decimal"),
            Self::Ipaddr => f.write_str("ipaddr"),
            Self::Datetime => f.write_str("datetime"),
            Self::Duration => f.write_str("duration"),
            Self::Set(element) => write!(f, "Set<{element}>"),
            Self::Record => f.write_str("a record"),
            Self::Entity(name) => f.write_str(name),
        }
    }
}
