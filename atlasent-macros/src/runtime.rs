//! Where expansions lead: the hidden module of the `atlasent` crate that has the same version as this one.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};

/// The name of the hidden module. It holds the patch version, so that a macro of one version never meets the
/// runtime of another.
pub(crate) fn private() -> Ident {
    Ident::new(
        concat!("__private", env!("CARGO_PKG_VERSION_PATCH")),
        Span::mixed_site(),
    )
}

/// Where generated tokens are for the compiler's messages. Wherever that is, their names have the hygiene of
/// this crate: code around them can neither see nor shadow them.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) first: Span,
    pub(crate) last: Span,
}

impl Place {
    /// At the attribute.
    pub(crate) fn attribute() -> Self {
        Self {
            first: Span::mixed_site(),
            last: Span::mixed_site(),
        }
    }

    /// At what the user wrote, so that the compiler points there.
    pub(crate) fn of(written: &impl ToTokens) -> Self {
        let mut trees = written.to_token_stream().into_iter();
        let Some(first) = trees.next() else {
            return Self::attribute();
        };
        let last = trees.last().unwrap_or_else(|| first.clone());
        let located = |tree: TokenTree| Span::mixed_site().located_at(tree.span());
        Self {
            first: located(first),
            last: located(last),
        }
    }

    /// A call of a function of the runtime.
    pub(crate) fn call(
        self,
        function: &str,
        generics: Option<TokenStream>,
        arguments: TokenStream,
    ) -> TokenStream {
        let private = private();
        let function = Ident::new(function, self.last);
        let arguments = self.parenthesized(arguments);
        quote_spanned!(self.first=> ::atlasent::#private::#function #generics #arguments)
    }

    /// A reference to `value`, which is not moved, and of which nothing becomes part of a larger expression.
    pub(crate) fn borrowed(self, value: &impl ToTokens) -> TokenStream {
        let value = self.parenthesized(value.to_token_stream());
        quote_spanned!(self.first=> &#value)
    }

    pub(crate) fn parenthesized(self, tokens: TokenStream) -> Group {
        let mut group = Group::new(Delimiter::Parenthesis, tokens);
        group.set_span(self.last);
        group
    }
}
