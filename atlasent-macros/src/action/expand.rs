//! Quotes the implementation of `Action`. Every decision has been made before.
//!
//! ```text
//! const _: () = {
//!     use ::atlasent::__private_X_Y_Z as __atlasent;
//!     impl __atlasent::DerivedAction for Transfer {
//!         const DERIVED_NAME: &'static str = "transfer";
//!     }
//!     impl __atlasent::Action for Transfer {
//!         fn name(&self) -> &str {
//!             <Self as __atlasent::DerivedAction>::DERIVED_NAME
//!         }
//!         fn name_for_request(&self) -> Cow<'static, str> {
//!             __atlasent::static_name::<Self>()
//!         }
//!         fn resource(&self) -> Option<Cow<'_, str>> {
//!             __atlasent::resource(&self.account)
//!         }
//!         fn context(&self) -> Result<Context, Error> {
//!             __atlasent::DerivedContext::empty().field("amount", &self.amount).finish()
//!         }
//!     }
//! };
//! ```
//!
//! Whether a generic struct is an action depends on its type arguments. The compiler names the one
//! that does not fit, since no other implementation is between `Action` and the bounds.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;
use syn::{Type, WhereClause, parse_quote};

use super::valid::{ActionStruct, Field};
use crate::action_name::ActionName;
use crate::policy_index::{ConstantName, TypeChecks};
use crate::runtime::{Runtime, SourceSpan};
use crate::site::{Site, SiteAction};

/// Returns the implementation for a struct.
pub(crate) fn expand(input: &ActionStruct<'_>, runtime: &Runtime) -> TokenStream {
    let site = Span::mixed_site();
    let (impl_generics, ty_generics, _) = input.generics.split_for_impl();
    let checks = TypeChecks {
        declaration: input.declared.as_ref(),
        runtime,
    };
    let check_items = checks.items(input.fields.iter().filter_map(Field::checked_key));
    let where_clause = where_clause(input, runtime, checks);
    let (name, constant) = match &input.name {
        ActionName::Literal(name) => (name.to_token_stream(), None),
        ActionName::Constant(path) => {
            let declared = input.declared.as_ref();
            let constant = ConstantName {
                path,
                checks: declared.and_then(|declared| declared.constant.as_ref()),
            };
            (path.to_token_stream(), Some(constant.items(runtime)))
        }
    };
    let atlasent = runtime.name(site);
    let context = context_method(&input.fields, runtime, checks);
    let resource = input
        .fields
        .iter()
        .find(|field| field.resource.is_some())
        .map(|field| resource_method(field, runtime));
    // The implementation must use deprecated fields and structs, so it silences the lint.
    let mut ident = input.ident.clone();
    ident.set_span(site.located_at(ident.span()));
    let deprecated = input
        .fields
        .iter()
        .any(|field| field.is_deprecated)
        .then(|| quote_spanned!(site=> #[allow(deprecated)]));
    let registered = Site {
        action: SiteAction::Derived(
            match &input.name {
                ActionName::Literal(name) => Some(name.value()),
                ActionName::Constant(_) => None,
            },
            input.ident.unraw().to_string(),
        ),
        function: None,
        scope: None,
        is_checked: input.declared.is_some(),
    }
    .register(runtime);
    in_a_scope(
        runtime,
        &quote_spanned! {site=>
            #constant
            #check_items
            #registered
            #deprecated
            #[automatically_derived]
            impl #impl_generics #atlasent::DerivedAction for #ident #ty_generics #where_clause {
                const DERIVED_NAME: &'static ::core::primitive::str = #name;
            }
            #deprecated
            #[automatically_derived]
            impl #impl_generics #atlasent::Action for #ident #ty_generics #where_clause {
                fn name(&self) -> &::core::primitive::str {
                    <Self as #atlasent::DerivedAction>::DERIVED_NAME
                }
                fn name_for_request(&self) -> #atlasent::Cow<'static, ::core::primitive::str> {
                    #atlasent::static_name::<Self>()
                }
                #resource
                #context
            }
        },
    )
}

/// Puts an implementation into a scope of its own, with the import that it uses.
pub(crate) fn in_a_scope(runtime: &Runtime, implementation: &TokenStream) -> TokenStream {
    let import = runtime.import();
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #import
            #implementation
        };
    }
}

/// Returns the method for the field that is the resource.
fn resource_method(field: &Field<'_>, runtime: &Runtime) -> TokenStream {
    let site = Span::mixed_site();
    let atlasent = runtime.name(site);
    let resource = runtime.call(
        SourceSpan::from_tokens(field.ty),
        "resource",
        None,
        value(field),
    );
    quote_spanned! {site=>
        fn resource(
            &self,
        ) -> ::core::option::Option<#atlasent::Cow<'_, ::core::primitive::str>> {
            #resource
        }
    }
}

/// Returns the method that puts the fields into the context.
fn context_method(fields: &[Field<'_>], runtime: &Runtime, checks: TypeChecks<'_>) -> TokenStream {
    let site = Span::mixed_site();
    let atlasent = runtime.name(site);
    let inserts = fields.iter().filter_map(|field| {
        let key = field.key.as_ref()?;
        let span = SourceSpan::from_tokens(field.ty);
        // An inherent method by value comes before a method of any trait that the user imports.
        let method = Ident::new("field", span.last);
        let value = match field.is_unchecked {
            true => value(field),
            false => checks.checked(key, span, value(field)),
        };
        let arguments = span.parenthesized(quote_spanned!(site=> #key, #value));
        Some(quote_spanned!(span.first=> .#method #arguments))
    });
    quote_spanned! {site=>
        fn context(&self) -> ::core::result::Result<#atlasent::Context, #atlasent::Error> {
            #atlasent::DerivedContext::empty() #(#inserts)* .finish()
        }
    }
}

/// Returns `&self.field`, located at the field's type, where the compiler reports a type that does
/// not serialize.
fn value(field: &Field<'_>) -> TokenStream {
    let span = SourceSpan::from_tokens(field.ty);
    let mut ident = field.ident.clone();
    ident.set_span(span.last);
    quote_spanned!(span.first=> &self.#ident)
}

/// Returns the `where` clause, with the bounds that the fields of a generic struct need.
fn where_clause(
    input: &ActionStruct<'_>,
    runtime: &Runtime,
    checks: TypeChecks<'_>,
) -> Option<WhereClause> {
    let atlasent = runtime.name(Span::mixed_site());
    let mut clause = input.generics.where_clause.clone();
    if input.generics.type_params().next().is_none() {
        return clause;
    }
    let clause = clause.get_or_insert_with(|| parse_quote!(where));
    clause.predicates.push(parse_quote! {
        Self: ::core::marker::Send + ::core::marker::Sync + 'static
    });
    for field in input.fields.iter().filter(|field| field.is_generic) {
        let ty: &Type = field.ty;
        if field.key.is_some() {
            clause
                .predicates
                .push(parse_quote!(#ty: #atlasent::Serialize));
        }
        if let Some(bound) = field.checked_key().and_then(|key| checks.bound(key)) {
            clause.predicates.push(parse_quote!(#ty: #bound));
        }
        if field.resource.is_some() {
            clause
                .predicates
                .push(parse_quote!(#ty: ::core::fmt::Display));
        }
    }
    Some(clause.clone())
}
