//! Parses the item under `#[boundary]`: an `impl` or a `trait`, split into its methods and the
//! rest. The bodies of methods are not parsed, and pass through unchanged.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, Generics, Ident, ItemImpl, ItemTrait, LitStr, Token, Visibility, token,
};

use crate::errors::Errors;
use crate::protect::item::Function;

/// An `impl` or a `trait`.
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// The tokens before the braces.
    pub(crate) header: TokenStream,
    /// The braces, with the tokens that they hold.
    pub(crate) braces: Group,
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) members: Vec<Member>,
}

/// The kind of an item, by its header. The members are left out.
pub(crate) enum Kind {
    Impl(Box<ItemImpl>),
    Trait(Box<ItemTrait>),
}

/// A member of an `impl` or a `trait`.
pub(crate) enum Member {
    Function(Box<Function>),
    /// A constant or a type.
    Other(TokenStream),
}

impl Item {
    /// Parses an item. The error of a member goes to `errors`, and the member is left out.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> syn::Result<Self> {
        let mut trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let braces = match trees.pop() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => group,
            _ => return Err(misplaced(&tokens)),
        };
        let header: TokenStream = trees.into_iter().collect();
        let kind = Kind::parse(&header, &tokens)?;
        let mut item = Self {
            kind,
            header,
            inner_attrs: Vec::new(),
            members: Vec::new(),
            braces: braces.clone(),
        };
        let parsed = (|input: ParseStream<'_>| {
            item.inner_attrs = input.call(Attribute::parse_inner)?;
            while !input.is_empty() {
                item.members.extend(parse_member(input, errors)?);
            }
            Ok(())
        })
        .parse2(braces.stream());
        errors.take(parsed);
        Ok(item)
    }
}

impl Kind {
    /// Parses a header, with empty braces in place of the members.
    fn parse(header: &TokenStream, item: &TokenStream) -> syn::Result<Self> {
        let empty = quote!(#header {});
        if let Ok(found) = syn::parse2::<ItemTrait>(empty.clone()) {
            return Ok(Self::Trait(Box::new(found)));
        }
        match syn::parse2::<ItemImpl>(empty) {
            Ok(found) => Ok(Self::Impl(Box::new(found))),
            Err(_) => Err(misplaced(item)),
        }
    }

    /// Whether the item is an `impl` without a trait, whose methods have a visibility.
    pub(crate) fn is_inherent_impl(&self) -> bool {
        matches!(self, Self::Impl(item) if item.trait_.is_none())
    }

    /// Returns the parameters of the `impl` or the `trait`.
    pub(crate) fn generics(&self) -> &Generics {
        match self {
            Self::Impl(item) => &item.generics,
            Self::Trait(item) => &item.generics,
        }
    }
}

/// Builds the error for an item that is neither an `impl` nor a `trait`.
fn misplaced(item: &TokenStream) -> Error {
    let written = (|input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        let span = input.span();
        input.parse::<TokenStream>()?;
        Ok(span)
    })
    .parse2(item.clone());
    Error::new(
        written.unwrap_or_else(|_| item.span()),
        "`#[boundary]` checks the methods of an `impl` or a `trait`: write it above one, and `#[protect]` above a \
         single function",
    )
}

/// Parses one member. A macro is an error, and left out.
fn parse_member(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Option<Member>> {
    let ahead = input.fork();
    ahead.call(Attribute::parse_outer)?;
    ahead.parse::<Visibility>()?;
    let span = ahead.span();
    match keyword(&ahead)?.as_str() {
        "fn" => Function::parse(input).map(|function| Some(Member::Function(Box::new(function)))),
        "const" | "type" => rest_of_member(input, false).map(|tokens| Some(Member::Other(tokens))),
        _ => {
            let is_macro = ahead.peek(Token![!]) || ahead.peek(Token![::]);
            errors.push(Error::new(
                span,
                if is_macro {
                    "a macro here can expand to methods that `#[boundary]` does not see: write the methods out, or move \
                     the macro to another `impl`"
                } else {
                    "expected a method, a constant or a type"
                },
            ));
            rest_of_member(input, true)?;
            Ok(None)
        }
    }
}

/// Returns the keyword that decides what a member is: `fn`, `const` or `type`. For a macro, returns
/// the first segment of its path.
fn keyword(ahead: ParseStream<'_>) -> syn::Result<String> {
    let mut first = None;
    while ahead.peek(Ident::peek_any) {
        let text = ahead.call(Ident::parse_any)?.to_string();
        match text.as_str() {
            "fn" => return Ok(text),
            "async" | "const" | "default" | "extern" | "gen" | "safe" | "unsafe" => {
                if ahead.peek(Token![!]) {
                    return Ok(String::new());
                }
                ahead.parse::<Option<LitStr>>()?;
                if text == "const" {
                    first = first.or(Some(text));
                }
            }
            _ => return Ok(first.unwrap_or(text)),
        }
    }
    Ok(first.unwrap_or_default())
}

/// Returns the tokens up to the member's `;`, or up to the braces of a macro.
fn rest_of_member(input: ParseStream<'_>, ends_with_braces: bool) -> syn::Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() {
        let braces = ends_with_braces && input.peek(token::Brace);
        let tree = input.parse::<TokenTree>()?;
        let ends = braces || matches!(&tree, TokenTree::Punct(punct) if punct.as_char() == ';');
        tree.to_tokens(&mut tokens);
        if ends {
            break;
        }
    }
    Ok(tokens)
}
