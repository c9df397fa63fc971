//! Parses the arguments of `#[boundary]`: the defaults of its methods, `all`, `front` and `crate`.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Expr, Ident, Path, Token};

use crate::errors::Errors;
use crate::protect::written_args::WrittenArgs;
use crate::runtime::parse_crate;
use crate::suggest;

const KEYS: [&str; 9] = [
    "authority",
    "agent",
    "request",
    "scope",
    "claims",
    "wait",
    "all",
    "front",
    "crate",
];

/// The arguments of `#[protect]` that belong to one method.
const OF_A_METHOD: [&str; 3] = ["action", "context", "resource"];

/// The arguments of `#[boundary]`.
#[derive(Default)]
pub(crate) struct Args {
    /// Whether private methods belong to the boundary, too.
    pub(crate) all: bool,
    /// The trait that receives the protected methods of a trait.
    pub(crate) front: Option<Ident>,
    /// The path of the `atlasent` crate.
    pub(crate) path: Option<Path>,
    defaults: Vec<Default>,
}

/// A default for one argument of `#[protect]`.
struct Default {
    key: Ident,
    value: Expr,
}

impl Args {
    /// Parses the arguments. Errors go to `errors`.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let parsed = (|input: ParseStream<'_>| args.parse_all(input, errors)).parse2(tokens);
        errors.take(parsed);
        args
    }

    fn parse_all(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let Ok(key) = input.call(Ident::parse_any) else {
                return Err(input
                    .error("expected a default such as `authority = self.authority`, or `all`"));
            };
            let written = key.unraw().to_string();
            if seen.contains(&written) {
                errors.push(Error::new(
                    key.span(),
                    format!("`{written}` is given twice: keep one"),
                ));
            }
            self.parse_one(&key, &written, input, errors)?;
            seen.push(written);
            if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                return Err(input.error("expected `,` between the arguments of `#[boundary]`"));
            }
        }
        Ok(())
    }

    /// Parses what follows a key.
    fn parse_one(
        &mut self,
        key: &Ident,
        written: &str,
        input: ParseStream<'_>,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        let Some(known) = KEYS.into_iter().find(|known| *known == written) else {
            errors.push(unknown(key, written));
            return skip_value(input);
        };
        if known == "all" {
            self.all = true;
            if input.peek(Token![=]) {
                errors.push(Error::new(key.span(), "`all` takes no value: write `all`"));
            }
            return skip_value(input);
        }
        if input.parse::<Token![=]>().is_err() || input.is_empty() {
            return Err(Error::new(
                key.span(),
                format!("`{written}` needs a value: write `{written} = ...`"),
            ));
        }
        match known {
            "front" => self.front = Some(input.parse()?),
            "crate" => self.path = Some(parse_crate(input)?),
            _ => self.defaults.push(Default {
                key: key.clone(),
                value: input.parse()?,
            }),
        }
        Ok(())
    }

    /// Returns the arguments of a method's `#[protect]`, with each default whose key the method
    /// does not set, and the path of the crate.
    ///
    /// Arguments with a syntax error come back unchanged: `#[protect]` reports that error.
    pub(crate) fn merge(&self, own: &TokenStream) -> (TokenStream, Option<Path>) {
        let mut written = WrittenArgs::default();
        let parsed = (|input: ParseStream<'_>| {
            // `#[protect]` reports these errors, when it expands.
            written.parse_all(input, &mut Errors::default())
        })
        .parse2(own.clone());
        if parsed.is_err() {
            return (own.clone(), self.path.clone());
        }
        let has_scope = written.has("scope") || self.defaults.iter().any(|d| d.key == "scope");
        let mut merged = own.clone();
        let mut push = |argument: TokenStream| {
            let ends_with_comma = matches!(
                merged.clone().into_iter().last(),
                Some(TokenTree::Punct(last)) if last.as_char() == ','
            );
            if !merged.is_empty() && !ends_with_comma {
                merged.extend(quote!(,));
            }
            merged.extend(argument);
        };
        for Default { key, value } in &self.defaults {
            // The claims of the boundary are for the methods that require a scope.
            let applies = key != "claims" || has_scope;
            if applies && !written.has(&key.unraw().to_string()) {
                push(quote!(#key = #value));
            }
        }
        let path = match (written.path, &self.path) {
            (Some((_, path)), _) => Some(path),
            (None, Some(path)) => {
                let key = Ident::new("crate", Span::mixed_site());
                push(quote!(#key = #path));
                Some(path.clone())
            }
            (None, None) => None,
        };
        (merged, path)
    }
}

/// Skips the rest of an argument that is an error.
fn skip_value(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// Builds the error for an unknown key.
fn unknown(key: &Ident, written: &str) -> Error {
    if OF_A_METHOD.contains(&written) {
        return Error::new(
            key.span(),
            format!(
                "`{written}` differs from method to method: write it in the `#[protect]` of each method"
            ),
        );
    }
    suggest::unknown(
        key,
        suggest::nearest(written, &KEYS),
        &KEYS,
        "`#[boundary]`",
    )
}
