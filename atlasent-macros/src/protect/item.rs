//! Parses the item under `#[protect]`: a function, split into signature and body, or another item,
//! which is an error.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Error, Ident, LitStr, Signature, Token, Visibility, braced, token};

/// The item under `#[protect]`.
pub(crate) enum Item {
    Function(Box<Function>),
    Other {
        error: Error,
        /// The item again if it holds no code that could run unprotected, else nothing.
        inert: TokenStream,
    },
}

/// A function. The tokens of its body are not parsed, and pass through unchanged.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) defaultness: Option<Token![default]>,
    pub(crate) sig: Signature,
    /// `None` for a declaration in a trait.
    pub(crate) body: Option<Body>,
}

/// The body of a function.
pub(crate) struct Body {
    pub(crate) brace: token::Brace,
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) tokens: TokenStream,
}

/// Parses an item, whose kind decides how much of it is read.
pub(crate) fn parse(tokens: TokenStream) -> Item {
    let other = match parse_kind.parse2(tokens.clone()) {
        Ok(ItemKind::Function) => {
            return match Function::parse.parse2(tokens) {
                Ok(function) => Item::Function(Box::new(function)),
                Err(error) => Item::Other {
                    error,
                    inert: TokenStream::new(),
                },
            };
        }
        Ok(ItemKind::Other(other)) => other,
        Err(error) => {
            return Item::Other {
                error,
                inert: TokenStream::new(),
            };
        }
    };
    let inert = if other.holds_no_code() {
        tokens
    } else {
        TokenStream::new()
    };
    Item::Other {
        error: other.error(),
        inert,
    }
}

impl Function {
    /// Parses one function. The input may go on behind it.
    pub(crate) fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let defaultness = input.parse()?;
        let sig: Signature = input.parse()?;
        let body = if input.parse::<Option<Token![;]>>()?.is_some() {
            None
        } else {
            let content;
            Some(Body {
                brace: braced!(content in input),
                inner_attrs: content.call(Attribute::parse_inner)?,
                tokens: content.parse()?,
            })
        };
        Ok(Self {
            attrs,
            vis,
            defaultness,
            sig,
            body,
        })
    }

    /// Returns the function's tokens up to its body: attributes, visibility and signature.
    pub(crate) fn before_body(&self) -> TokenStream {
        let mut head = TokenStream::new();
        for attr in &self.attrs {
            attr.to_tokens(&mut head);
        }
        self.vis.to_tokens(&mut head);
        self.defaultness.to_tokens(&mut head);
        self.sig.to_tokens(&mut head);
        head
    }
}

/// The kind of an item, by its keyword.
enum ItemKind {
    Function,
    Other(OtherItem),
}

/// An item that is not a function.
struct OtherItem {
    keyword: String,
    span: Span,
}

/// Reads an item up to the keyword that decides its kind.
///
/// | item | kind |
/// |---|---|
/// | `pub async unsafe fn f()` | a function |
/// | `unsafe impl Send for S` | `impl` |
/// | `const F: u8 = 1;` | `const`: no `fn` follows |
/// | `extern "C" { … }` | `extern` |
fn parse_kind(input: ParseStream<'_>) -> syn::Result<ItemKind> {
    input.call(Attribute::parse_outer)?;
    input.parse::<Visibility>()?;
    let mut keyword = None;
    while input.peek(Ident::peek_any) {
        let ident = input.call(Ident::parse_any)?;
        let span = ident.span();
        let text = ident.to_string();
        match text.as_str() {
            "fn" => {
                skip_rest(input)?;
                return Ok(ItemKind::Function);
            }
            // Before `fn` these qualify the function, else they begin another item.
            "const" | "async" | "unsafe" | "safe" | "default" | "extern" | "auto" | "gen" => {
                keyword = keyword.or(Some(OtherItem {
                    keyword: text,
                    span,
                }));
                input.parse::<Option<LitStr>>()?;
            }
            _ => {
                let qualified =
                    keyword.filter(|first| matches!(first.keyword.as_str(), "const" | "extern"));
                keyword = Some(qualified.unwrap_or(OtherItem {
                    keyword: text,
                    span,
                }));
                break;
            }
        }
    }
    let other = keyword.unwrap_or_else(|| OtherItem {
        keyword: String::new(),
        span: input.span(),
    });
    skip_rest(input)?;
    Ok(ItemKind::Other(other))
}

/// Consumes the rest of the input.
fn skip_rest(input: ParseStream<'_>) -> syn::Result<()> {
    input.parse::<TokenStream>().map(|_| ())
}

impl OtherItem {
    /// Builds the error that says where `#[protect]` belongs.
    fn error(&self) -> Error {
        let keyword = &self.keyword;
        let message = match keyword.as_str() {
            "impl" | "trait" => format!(
                "`#[protect]` protects one function, not a whole `{keyword}`: write it on each method that needs it"
            ),
            "mod" | "extern" => format!(
                "`#[protect]` protects one function, not a whole `{keyword}`: write it on each function that needs it"
            ),
            "struct" | "enum" | "union" | "type" | "const" | "static" | "use" | "macro_rules" => {
                format!(
                    "`#[protect]` protects a function, and this is a `{keyword}`: write it on the function that acts"
                )
            }
            _ => "`#[protect]` protects a function: write it above an `fn`".to_owned(),
        };
        Error::new(self.span, message)
    }

    /// Whether the item cannot hold a function's body.
    fn holds_no_code(&self) -> bool {
        matches!(
            self.keyword.as_str(),
            "struct" | "enum" | "union" | "type" | "use"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn function(tokens: TokenStream) -> Function {
        match parse(tokens) {
            Item::Function(function) => *function,
            Item::Other { error, .. } => panic!("{error}"),
        }
    }

    fn other(tokens: TokenStream) -> (String, String) {
        match parse(tokens) {
            Item::Function(function) => panic!("function {}", function.sig.ident),
            Item::Other { error, inert } => (error.to_string(), inert.to_string()),
        }
    }

    #[test]
    fn a_body_need_not_parse() {
        let function = function(quote! {
            #[doc = "d"] pub(crate) default async unsafe fn f<T>(x: T) -> R where T: X { #![allow(a)] claims. }
        });
        let body = function.body.as_ref().unwrap();
        assert_eq!(body.tokens.to_string(), "claims .");
        assert_eq!(body.inner_attrs.len(), 1);
        assert!(function.before_body().to_string().ends_with("where T : X"));
    }

    #[test]
    fn a_declaration_has_no_body() {
        assert!(
            function(quote!(
                fn f();
            ))
            .body
            .is_none()
        );
    }

    #[test]
    fn an_item_without_code_comes_back() {
        let (error, inert) = other(quote!(
            pub struct S {
                a: u8,
            }
        ));
        assert!(error.contains("this is a `struct`"), "{error}");
        assert_eq!(
            inert,
            quote!(
                pub struct S {
                    a: u8,
                }
            )
            .to_string()
        );
    }

    #[test]
    fn an_item_with_code_does_not_come_back() {
        for (item, says) in [
            (quote!(impl S { fn f() {} }), "each method"),
            (
                quote!(
                    unsafe impl Send for S {}
                ),
                "each method",
            ),
            (
                quote!(
                    pub(crate) unsafe trait T {
                        fn f() {}
                    }
                ),
                "each method",
            ),
            (
                quote!(
                    mod m {
                        fn f() {}
                    }
                ),
                "each function",
            ),
            (
                quote!(
                    extern "C" {
                        fn f();
                    }
                ),
                "each function",
            ),
            (
                quote!(
                    const F: fn() = {
                        fn g() {}
                        g
                    };
                ),
                "this is a `const`",
            ),
            (
                quote!(
                    static F: fn() = g;
                ),
                "this is a `static`",
            ),
            (quote!(println!("x");), "write it above an `fn`"),
            (quote!({ run() }), "write it above an `fn`"),
        ] {
            let (error, inert) = other(item);
            assert!(error.contains(says), "{error}");
            assert_eq!(inert, "");
        }
    }

    #[test]
    fn half_a_function_is_an_error_only() {
        let (error, inert) = other(quote!(fn f(x: ) {}));
        assert!(!error.is_empty());
        assert_eq!(inert, "");
    }
}
