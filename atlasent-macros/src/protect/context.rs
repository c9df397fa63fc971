//! The `context` argument: fields in braces, or one expression.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprPath, Ident, LitStr, Token, braced, token};

use crate::errors::Errors;

/// Under which circumstances.
pub(crate) enum Context {
    /// `{ commit, approver: &user.name, "cost-centre": 7 }`
    Fields(Vec<Field>),
    /// Anything that serializes as an object.
    Value(Box<Expr>),
}

/// One entry of the fields form.
pub(crate) struct Field {
    pub(crate) key: LitStr,
    pub(crate) value: Expr,
}

impl Context {
    pub(crate) fn parse(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Self> {
        if !input.peek(token::Brace) {
            return Ok(Self::Value(input.parse()?));
        }
        let content;
        let braces = braced!(content in input);
        if is_code(&content) {
            // What follows in the braces is none of ours.
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

/// Whether braces hold a block of code: one of its statements ends, or it begins as no field does.
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
    // A keyword may be a key, as in `{ for: user }`.
    let begins = keyword && !ahead.peek2(Token![:]);
    let mut trees = ahead.parse::<TokenStream>().into_iter().flatten();
    begins || trees.any(|tree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ';'))
}

impl Field {
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
        // `r#type` is how Rust spells it, not what a policy reads.
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
