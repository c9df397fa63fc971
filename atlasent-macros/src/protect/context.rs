//! Parses the `context` argument: fields in braces, or one expression.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprPath, Ident, LitStr, Token, braced, token};

use crate::errors::Errors;

/// The value of the `context` argument.
pub(crate) enum Context {
    /// `{ commit, approver: &user.name, "cost-centre": 7 }`
    Fields(Vec<Field>),
    /// An expression that serializes as an object.
    Value(Box<Expr>),
}

/// One entry of the form in braces.
pub(crate) struct Field {
    pub(crate) key: LitStr,
    pub(crate) value: Expr,
}

impl Context {
    /// Parses the value. An error that leaves the next field readable goes to `errors`.
    pub(crate) fn parse(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Self> {
        if !input.peek(token::Brace) {
            return Ok(Self::Value(input.parse()?));
        }
        let content;
        let braces = braced!(content in input);
        if is_code(&content) {
            // Consumes the block, so that the next argument can be read.
            content.parse::<TokenStream>()?;
            return Err(Error::new(
                braces.span.join(),
                "these braces hold context fields, such as `{ commit, approver: user.name }`: to compute the context in a \
                 block, put the block in parentheses, `context = ({ ... })`",
            ));
        }
        let mut fields: Vec<Field> = Vec::new();
        while !content.is_empty() {
            let field = Field::parse(&content)?;
            let key = field.key.value();
            if key.is_empty() {
                errors.push(Error::new(
                    field.key.span(),
                    "a context key cannot be empty: write a name, such as `commit`",
                ));
            }
            if fields.iter().any(|other| other.key.value() == key) {
                errors.push(Error::new(
                    field.key.span(),
                    format!("the context has two fields `{key}`: keep one"),
                ));
            }
            fields.push(field);
            if !content.is_empty() && content.parse::<Token![,]>().is_err() {
                return Err(content.error("expected `,` between the fields of the context"));
            }
        }
        Ok(Self::Fields(fields))
    }
}

/// Whether braces hold a block of code instead of fields.
///
/// | braces | code? | because |
/// |---|---|---|
/// | `{ commit, n: 1 }` | no | |
/// | `{ for: user }` | no | a keyword before `:` is a key |
/// | `{ if big { 1 } else { 2 } }` | yes | a keyword begins it |
/// | `{ tally(); q }` | yes | it contains `;` |
fn is_code(content: ParseStream<'_>) -> bool {
    let ahead = content.fork();
    let keyword = ahead.peek(Token![let])
        || ahead.peek(Token![if])
        || ahead.peek(Token![match])
        || ahead.peek(Token![for])
        || ahead.peek(Token![while])
        || ahead.peek(Token![loop])
        || ahead.peek(Token![return])
        || ahead.peek(Token![unsafe])
        || ahead.peek(Token![use]);
    let begins = keyword && !ahead.peek2(Token![:]);
    let mut trees = ahead.parse::<TokenStream>().into_iter().flatten();
    begins || trees.any(|tree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ';'))
}

impl Field {
    /// Parses `name`, `name: value` or `"key": value`.
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            let key: LitStr = input.parse()?;
            if input.parse::<Token![:]>().is_err() {
                let text = key.token();
                return Err(Error::new(
                    key.span(),
                    format!("{text} needs a value: write `{text}: ...`"),
                ));
            }
            let value = input.parse()?;
            return Ok(Self { key, value });
        }
        let name = input.call(Ident::parse_any).map_err(|error| {
            Error::new(
                error.span(),
                "expected a field of the context: `name`, `name: value` or `\"key\": value`",
            )
        })?;
        // Policies read `r#type` as `type`.
        let key = LitStr::new(&name.unraw().to_string(), name.span());
        let value = if input.peek(Token![:]) && !input.peek(Token![::]) {
            input.parse::<Token![:]>()?;
            input.parse()?
        } else if input.is_empty() || input.peek(Token![,]) {
            Expr::Path(ExprPath {
                attrs: Vec::new(),
                qself: None,
                path: name.into(),
            })
        } else {
            return Err(Error::new(
                name.span(),
                "a context field that is not a plain name needs a key: write `key: value`",
            ));
        };
        Ok(Self { key, value })
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;
    use crate::errors::testing;
    use crate::protect::args::Args;

    fn one_error(tokens: TokenStream) -> String {
        testing::one_text(Args::parse(tokens))
    }

    #[test]
    fn the_fields_of_a_context_are_checked() {
        let context = |fields: TokenStream| {
            one_error(quote!(action = "a", agent = "a", context = { #fields }))
        };
        assert!(context(quote!(a, "a": 1)).contains("two fields `a`"));
        assert!(context(quote!("a")).contains("write `\"a\": ...`"));
        assert!(context(quote!(user.name)).contains("write `key: value`"));
        assert!(context(quote!(1)).contains("expected a field of the context"));
        assert!(context(quote!(a b)).contains("needs a key"));
        for block in [
            quote!(let q = 1; q),
            quote!(tally(); q),
            quote!(if q { 1 } else { 2 }),
            quote!(match q {
                _ => 1,
            }),
            quote!(return),
        ] {
            let error = context(block);
            assert!(error.contains("in parentheses"), "{error}");
        }
    }
}
