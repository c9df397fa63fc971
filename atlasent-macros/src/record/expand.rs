//! Quotes the implementation of `PolicyValue` for a record. Every decision has been made before.
//!
//! ```text
//! const _: () = {
//!     use ::atlasent::__private_X_Y_Z as __atlasent;
//!     // The trait of each key, as in `policy_index/types.rs`.
//!     fn __atlasent_ValueCheck(__atlasent_ValueRecord: &Client) {
//!         __atlasent_Value0::value(&__atlasent_ValueRecord.ip);
//!     }
//!     impl __atlasent::schema::PolicyValue<__atlasent::schema::RecordType<7>> for Client {}
//! };
//! ```

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{DeriveInput, Error, WhereClause, parse_quote};

use super::fields::{Field, Record};
use crate::action::{in_a_scope, mentions_parameter};
use crate::policy_index::TypeChecks;
use crate::runtime::{Runtime, SourceSpan};

/// Returns the implementation for one record that the struct is.
pub(super) fn expand(
    item: &DeriveInput,
    fields: &[Field<'_>],
    record: &Record,
    runtime: &Runtime,
) -> TokenStream {
    let site = Span::mixed_site();
    let checks = TypeChecks {
        declaration: Some(&record.declared),
        runtime,
    };
    let items = checks.items(fields.iter().map(|field| &field.key));
    let (impl_generics, ty_generics, _) = item.generics.split_for_impl();
    let where_clause = where_clause(item, fields, checks);
    let [atlasent, check, value] = [
        runtime.name(site),
        runtime.local("ValueCheck", site),
        runtime.local("ValueRecord", site),
    ];
    let values = fields.iter().map(|field| {
        let span = SourceSpan::from_tokens(field.ty);
        let mut ident = field.ident.clone();
        ident.set_span(span.last);
        let record = runtime.local("ValueRecord", span.first);
        let reference = quote_spanned!(span.first=> &#record.#ident);
        checks.checked(&field.key, span, reference)
    });
    let (ident, shape) = (&item.ident, record.shape);
    in_a_scope(
        runtime,
        &quote_spanned! {site=>
            #items
            #[allow(dead_code, deprecated, non_snake_case, clippy::all, clippy::pedantic)]
            fn #check #impl_generics (#value: &#ident #ty_generics) #where_clause {
                #(#values;)*
            }
            #[automatically_derived]
            impl #impl_generics #atlasent::schema::PolicyValue<#atlasent::schema::RecordType<#shape>>
                for #ident #ty_generics #where_clause {}
        },
    )
}

/// Returns the errors, and an implementation for every record, so that the errors stand alone.
pub(super) fn stub(error: &Error, item: &DeriveInput, runtime: &Runtime) -> TokenStream {
    let error = error.to_compile_error();
    let atlasent = runtime.name(Span::mixed_site());
    let ident = &item.ident;
    let mut generics = item.generics.clone();
    generics
        .params
        .push(parse_quote!(const __ATLASENT_SHAPE: ::core::primitive::u64));
    let (impl_generics, ..) = generics.split_for_impl();
    let (_, ty_generics, where_clause) = item.generics.split_for_impl();
    let implementation = in_a_scope(
        runtime,
        &quote! {
            #[automatically_derived]
            impl #impl_generics #atlasent::schema::PolicyValue<
                #atlasent::schema::RecordType<__ATLASENT_SHAPE>
            > for #ident #ty_generics #where_clause {}
        },
    );
    quote!(#error #implementation)
}

/// Returns the `where` clause, with the bounds that the fields of a generic struct need.
fn where_clause(
    item: &DeriveInput,
    fields: &[Field<'_>],
    checks: TypeChecks<'_>,
) -> Option<WhereClause> {
    let mut clause = item.generics.where_clause.clone();
    for field in fields {
        if !mentions_parameter(field.ty.to_token_stream(), &item.generics) {
            continue;
        }
        if let Some(bound) = checks.bound(&field.key) {
            let ty = field.ty;
            let clause = clause.get_or_insert_with(|| parse_quote!(where));
            clause.predicates.push(parse_quote!(#ty: #bound));
        }
    }
    clause
}
