//! Parses the `#[record(…)]` attributes of a struct.

use proc_macro2::Ident;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Error, LitStr, Meta, Path, Token};

use crate::errors::Errors;
use crate::runtime::parse_crate;

/// The attributes of a struct.
#[derive(Default)]
pub(super) struct RecordAttrs {
    /// The records that the struct is: the action, the context key, and the keys of the records
    /// inside.
    pub(super) records: Vec<Vec<LitStr>>,
    /// The path of the `atlasent` crate.
    pub(super) path: Option<Path>,
}

const SHAPE: &str = "write an action and a key of its context as string literals in parentheses, such as \
    `#[record(\"site.visit\", \"client\")]`";

impl RecordAttrs {
    /// Parses the attributes. Errors go to `errors`.
    pub(super) fn parse(item: &Ident, attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("record")) {
            let result = parsed.parse_one(attr);
            errors.take(result);
        }
        if parsed.records.is_empty() && errors.is_empty() {
            errors.push(Error::new(
                item.span(),
                format!("this struct names no record of the policies: {SHAPE}"),
            ));
        }
        parsed
    }

    fn parse_one(&mut self, attr: &Attribute) -> syn::Result<()> {
        let Meta::List(list) = &attr.meta else {
            return Err(Error::new_spanned(&attr.meta, SHAPE));
        };
        let parse = |input: ParseStream<'_>| {
            let mut names: Vec<LitStr> = Vec::new();
            while !input.is_empty() {
                if input.peek(Token![crate]) && input.peek2(Token![=]) {
                    input.parse::<Token![crate]>()?;
                    input.parse::<Token![=]>()?;
                    self.path = Some(parse_crate(input)?);
                } else {
                    let name = input.parse::<LitStr>();
                    names.push(name.map_err(|error| Error::new(error.span(), SHAPE))?);
                }
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            match names.as_slice() {
                [] if self.path.is_some() => {}
                [] | [_] => {
                    return Err(Error::new_spanned(
                        &attr.meta,
                        format!("this record is incomplete: {SHAPE}"),
                    ));
                }
                _ => self.records.push(names),
            }
            Ok(())
        };
        parse.parse2(list.tokens.clone())
    }
}
