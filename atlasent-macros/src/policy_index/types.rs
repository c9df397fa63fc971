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
//!
//! Where a constant names the action, the actions that it could name may declare different types.
//! Then the trait has a number for each type, `__atlasent_Value0<const KIND: usize>`, and the value
//! is `__atlasent_Value0::<__atlasent_ValueKind0>::value(&(n))`, where the constant
//! `__atlasent_ValueKind0` is the number of the action's type.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

use super::constant::ConstantName;
use super::declaration::{Declaration, KeyType, TypedKey};
use super::kind::Kind;
use crate::runtime::{Runtime, SourceSpan};

/// How many types of one key a message lists.
const LISTED: usize = 4;

/// The checks of the values of one expansion.
#[derive(Clone, Copy)]
pub(crate) struct TypeChecks<'a> {
    pub(crate) declaration: Option<&'a Declaration>,
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
        let Some((index, declared)) = self.declared(key) else {
            return value;
        };
        let check = self.check(index, declared, span.first);
        let method = Ident::new("value", span.last);
        let value = span.parenthesized(value);
        quote_spanned!(span.first=> #check::#method #value)
    }

    fn declared(&self, key: &syn::LitStr) -> Option<(usize, &TypedKey)> {
        let name = key.value();
        let keys = self.declaration?.keys.iter().enumerate();
        let mut keys = keys.filter(|(_, key)| key.name == name);
        keys.next()
    }

    /// Returns the bound of a field's type that mentions a type parameter.
    pub(crate) fn bound(self, key: &syn::LitStr) -> Option<TokenStream> {
        let (index, declared) = self.declared(key)?;
        Some(self.check(index, declared, Span::mixed_site()))
    }

    /// Returns the trait of a key, with the number of the type if there are several.
    fn check(self, index: usize, key: &TypedKey, span: Span) -> TokenStream {
        let check = self.runtime.local(&format!("Value{index}"), span);
        match key.types.as_slice() {
            [_] => quote_spanned!(span=> #check),
            _ => {
                let kind = self.kind(index, span);
                quote_spanned!(span=> #check::<#kind>)
            }
        }
    }

    /// Returns the name of the constant that numbers the type of the constant's action.
    fn kind(self, index: usize, span: Span) -> Ident {
        self.runtime.local(&format!("ValueKind{index}"), span)
    }

    fn item(self, index: usize, key: &TypedKey) -> TokenStream {
        let site = Span::mixed_site();
        let check = self.runtime.local(&format!("Value{index}"), site);
        let (message, label, note) = explanation(key);
        let note = note.map(|note| quote_spanned!(site=> , note = #note));
        let (parameter, kind) = match key.types.as_slice() {
            [_] => (None, None),
            types => (
                Some(quote_spanned!(site=> <const KIND: ::core::primitive::usize>)),
                Some(self.kind_item(index, types)),
            ),
        };
        let implementations = key.types.iter().enumerate().map(|(number, declared)| {
            let fitting = self.fitting(declared);
            let argument = parameter
                .is_some()
                .then(|| quote_spanned!(site=> <#number>));
            quote_spanned! {site=>
                #[diagnostic::do_not_recommend]
                impl<T: #fitting + ?::core::marker::Sized> #check #argument for T {}
            }
        });
        // Another action has been reported, and its values are not.
        let other = parameter.is_some().then(|| {
            let number = key.types.len();
            quote_spanned!(site=> impl<T: ?::core::marker::Sized> #check<#number> for T {})
        });
        quote_spanned! {site=>
            #[diagnostic::on_unimplemented(message = #message, label = #label #note)]
            #[allow(non_camel_case_types)]
            trait #check #parameter {
                fn value(&self) -> &Self {
                    self
                }
            }
            #(#implementations)*
            #other
            #kind
        }
    }

    /// Returns the constant that numbers the type of the action that the site's constant names.
    fn kind_item(self, index: usize, types: &[KeyType]) -> TokenStream {
        let site = Span::mixed_site();
        let (atlasent, name) = (self.runtime.name(site), ConstantName::value(self.runtime));
        let kind = self.kind(index, site);
        let other = types.len();
        let numbered = types.iter().enumerate().flat_map(|(number, declared)| {
            let actions = declared.actions.iter();
            actions.map(move |action| quote_spanned!(site=> (#action, #number)))
        });
        quote_spanned! {site=>
            #[allow(non_upper_case_globals)]
            const #kind: ::core::primitive::usize =
                #atlasent::constant::kind(#name, &[#(#numbered),*], #other);
        }
    }

    /// Returns the bound that a value of the type meets.
    fn fitting(self, declared: &KeyType) -> TokenStream {
        let site = Span::mixed_site();
        let runtime = self.runtime.name(site);
        let fitting = match declared.is_required {
            true => Ident::new("PolicyValue", site),
            false => Ident::new("OptionalValue", site),
        };
        let declared = declared.kind.tokens(&runtime);
        quote_spanned!(site=> #runtime::schema::#fitting<#declared>)
    }
}

/// Returns the message, the label and the note of a key's trait. They are format strings, in which
/// `{Self}` is the value's type.
fn explanation(key: &TypedKey) -> (String, String, Option<String>) {
    let literal = |text: String| text.replace('{', "{{").replace('}', "}}");
    // As a schema writes it.
    let shown = |declared: &KeyType| {
        let mark = if declared.is_required { "" } else { "?" };
        literal(format!("{}{mark}: {}", key.name, declared.kind))
    };
    if let [declared] = key.types.as_slice() {
        let message = format!("`{{Self}}` where the schema says `{}`", shown(declared));
        let label = literal(declared.kind.advice());
        return (message, label, declared.kind.note().map(literal));
    }
    let types = key.types.iter().take(LISTED).map(|declared| {
        let action = declared.actions.first().map_or("", String::as_str);
        format!("`{}` for `{}`", shown(declared), literal(action.to_owned()))
    });
    let types: Vec<String> = types.collect();
    let message = format!("`{{Self}}` where the schema says {}", types.join(", "));
    let label = "pass what the action of the constant requires".to_owned();
    (message, label, None)
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
            Self::Record(_) | Self::LargeRecord => "RecordType",
            Self::Entity(_) => "EntityType",
        }
    }

    fn path(&self, module: &str) -> String {
        match self {
            Self::Set(element) => format!("{module}SetType<{}>", element.path(module)),
            other => format!("{module}{}", other.marker()),
        }
    }

    /// Returns the type of the module `schema`.
    pub(super) fn tokens(&self, runtime: &Ident) -> TokenStream {
        let site = Span::mixed_site();
        let marker = Ident::new(self.marker(), site);
        let argument = match self {
            Self::Set(element) => {
                let element = element.tokens(runtime);
                Some(quote_spanned!(site=> <#element>))
            }
            Self::Record(record) => {
                let shape = record.shape;
                Some(quote_spanned!(site=> <#shape>))
            }
            // No derived record has this shape.
            Self::LargeRecord => Some(quote_spanned!(site=> <0>)),
            _ => None,
        };
        quote_spanned!(site=> #runtime::schema::#marker #argument)
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
            Self::Record(_) => "pass a struct with `#[derive(PolicyRecord)]`".to_owned(),
            Self::LargeRecord => {
                "pass `atlasent::schema::unchecked_policy(value)`: this record is too large to check"
                    .to_owned()
            }
            Self::Entity(name) => format!("pass the id of the `{name}` as a string"),
        }
    }

    /// Returns how a type of the user's fits.
    fn note(&self) -> Option<String> {
        match self.innermost() {
            Self::Record(_) => Some(
                "derive it: `#[derive(atlasent::PolicyRecord)]` with `#[record(\"the.action\", \"the_key\")]` above \
                 the struct; `atlasent::schema::unchecked_policy(value)` skips the check of a value"
                    .to_owned(),
            ),
            Self::LargeRecord => None,
            _ => Some(format!(
                "a type of your own fits with `impl atlasent::schema::PolicyValue<{}> for … {{}}`; \
                 `atlasent::schema::unchecked_policy(value)` skips the check of a value",
                self.path("atlasent::schema::")
            )),
        }
    }

    fn innermost(&self) -> &Self {
        match self {
            Self::Set(element) => element.innermost(),
            other => other,
        }
    }
}
