//! Where expansions lead: the hidden module of the `atlasent` crate that has the same version as
//! this one.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::Path;
use syn::parse::ParseStream;

/// How one expansion reaches the runtime: by a name of its own, which it imports first.
///
/// One import is one error where the crate is not in scope. The name occurs nowhere in what the
/// user wrote, so the import takes nothing away from it. An import is also the only name that an
/// expansion introduces: a `let` or a closure's parameter would be a comparison where the user has
/// a constant of that name.
pub(crate) struct Runtime {
    /// The `atlasent` crate, where the user says where it is.
    path: Option<Path>,
    name: String,
}

impl Runtime {
    /// Chooses the name. `written` is everything of the user's that the import can be seen from.
    pub(crate) fn new(path: Option<Path>, written: &[&TokenStream]) -> Self {
        let is_free = |name: &String| !written.iter().any(|tokens| mentions(tokens, name));
        let mut name = "__atlasent".to_owned();
        while !is_free(&name) {
            name.push('_');
        }
        Self { path, name }
    }

    /// The import that everything else of the expansion goes through.
    pub(crate) fn import(&self) -> TokenStream {
        let site = Span::mixed_site();
        let (private, name) = (private(), self.name(site));
        match &self.path {
            Some(path) => quote_spanned!(site=> use #path::#private as #name;),
            None => quote_spanned!(site=> use ::atlasent::#private as #name;),
        }
    }

    /// What the import is called, at `span`.
    pub(crate) fn name(&self, span: Span) -> Ident {
        Ident::new(&self.name, span)
    }

    /// A call of a function of the runtime. `function` may be a path, such as `Draft::field`.
    pub(crate) fn call(
        &self,
        place: Place,
        function: &str,
        generics: Option<TokenStream>,
        arguments: TokenStream,
    ) -> TokenStream {
        let runtime = self.name(place.first);
        let path = function
            .split("::")
            .map(|segment| Ident::new(segment, place.last));
        let arguments = place.parenthesized(arguments);
        quote_spanned!(place.first=> #runtime #(::#path)* #generics #arguments)
    }
}

/// The name of the hidden module. It holds the whole version, so that a macro of one version never
/// meets the runtime of another. `atlasent/build.rs` makes the same name.
pub(crate) fn private() -> Ident {
    let version = env!("CARGO_PKG_VERSION").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    Ident::new(&format!("__private_{version}"), Span::mixed_site())
}

/// Reads the value of a `crate` argument: the path of the `atlasent` crate.
pub(crate) fn parse_crate(input: ParseStream<'_>) -> syn::Result<Path> {
    if let Ok(text) = input.fork().parse::<syn::LitStr>() {
        input.parse::<syn::LitStr>()?;
        return Err(syn::Error::new(
            text.span(),
            format!(
                "the path of the `atlasent` crate has no quotes: write `crate = {}`",
                text.value()
            ),
        ));
    }
    input.call(Path::parse_mod_style).map_err(|error| {
        syn::Error::new(
            error.span(),
            "expected the path of the `atlasent` crate, such as `crate = my_facade::atlasent`",
        )
    })
}

/// Whether an identifier occurs in `tokens`, at whatever depth.
pub(crate) fn mentions(tokens: &TokenStream, name: &str) -> bool {
    tokens.clone().into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Group(group) => mentions(&group.stream(), name),
        _ => false,
    })
}

/// Where generated tokens are for the compiler's messages. Wherever that is, their names have the
/// hygiene of this crate.
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

    /// A reference to `value`, which is not moved, and of which nothing becomes part of a larger
    /// expression.
    pub(crate) fn borrowed(self, value: &impl ToTokens) -> TokenStream {
        let value = self.parenthesized(value.to_token_stream());
        quote_spanned!(self.first=> &#value)
    }

    /// `tokens` in a block, at whose end the temporaries in them are dropped.
    pub(crate) fn block(self, tokens: TokenStream) -> TokenStream {
        self.group(Delimiter::Brace, tokens).into_token_stream()
    }

    pub(crate) fn parenthesized(self, tokens: TokenStream) -> Group {
        self.group(Delimiter::Parenthesis, tokens)
    }

    fn group(self, delimiter: Delimiter, tokens: TokenStream) -> Group {
        let mut group = Group::new(delimiter, tokens);
        group.set_span(self.last);
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn the_name_of_the_import_is_one_that_the_user_did_not_write() {
        let name = |written| Runtime::new(None, &[&quote!(a), &written]).name;
        assert_eq!(name(quote!(f(atlasent))), "__atlasent");
        assert_eq!(name(quote!(f({ __atlasent }))), "__atlasent_");
        assert_eq!(name(quote!(__atlasent::__atlasent_!())), "__atlasent__");
    }

    #[test]
    fn the_import_begins_where_the_user_says() {
        let private = private();
        let import = |path| Runtime::new(path, &[]).import().to_string();
        assert_eq!(
            import(None),
            quote!(use ::atlasent::#private as __atlasent;).to_string()
        );
        assert_eq!(
            import(Some(syn::parse_quote!(facade::guard))),
            quote!(use facade::guard::#private as __atlasent;).to_string()
        );
    }

    #[test]
    fn the_path_of_the_crate_is_a_path() {
        use syn::parse::Parser as _;
        let read = |tokens: TokenStream| parse_crate.parse2(tokens);
        for path in [
            quote!(renamed),
            quote!(::a::b),
            quote!(crate::a),
            quote!(super::a),
        ] {
            assert!(read(path).is_ok());
        }
        let error = read(quote!("renamed")).err().unwrap().to_string();
        assert!(error.contains("write `crate = renamed`"), "{error}");
        let error = read(quote!(5)).err().unwrap().to_string();
        assert!(error.contains("expected the path"), "{error}");
    }
}
