//! Builds the calls that expansions make into the hidden module of the `atlasent` crate, and
//! locates them for the compiler's messages.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::Path;
use syn::parse::ParseStream;

/// The import by which one expansion reaches the hidden module: `use ::atlasent::… as __atlasent;`.
///
/// Where the crate is not in scope, one import is one error. The import's name does not occur in
/// the user's tokens, so it hides nothing of theirs. It is the only name that an expansion
/// introduces, beside the traits and the constants of `policy_index`, because `let agent = …` is a
/// comparison, not a binding, where the user has a constant `agent`.
pub(crate) struct Runtime {
    /// The path of the `atlasent` crate, if the user wrote `crate = path`.
    path: Option<Path>,
    /// The import's name.
    name: String,
}

impl Runtime {
    /// Chooses the import's name. `written` is the user's code that can see the import.
    ///
    /// The name is `__atlasent`, or `__atlasent_` where the code mentions `__atlasent`, and so on.
    pub(crate) fn new(path: Option<Path>, written: &[&TokenStream]) -> Self {
        let is_free = |name: &String| {
            let local = format!("{name}_Value");
            let clashes = |ident: &str| ident == name || ident.starts_with(&local);
            !written.iter().any(|tokens| contains(tokens, &clashes))
        };
        let mut name = "__atlasent".to_owned();
        while !is_free(&name) {
            name.push('_');
        }
        Self { path, name }
    }

    /// Returns the `use` declaration, which comes first in the expansion.
    pub(crate) fn import(&self) -> TokenStream {
        let site = Span::mixed_site();
        let (private, name) = (private(), self.name(site));
        match &self.path {
            Some(path) => quote_spanned!(site=> use #path::#private as #name;),
            None => quote_spanned!(site=> use ::atlasent::#private as #name;),
        }
    }

    /// Returns the import's name, located at `span`.
    pub(crate) fn name(&self, span: Span) -> Ident {
        Ident::new(&self.name, span)
    }

    /// Returns the name of an item of the expansion, which the user's tokens do not contain if it
    /// starts with `Value`.
    pub(crate) fn local(&self, name: &str, span: Span) -> Ident {
        Ident::new(&format!("{}_{name}", self.name), span)
    }

    /// Returns a call of a function of the hidden module. `function` may be a path, such as
    /// `LiteralAction::field`.
    ///
    /// For `agent = user.name`, the call and its spans are
    ///
    /// ```text
    /// __atlasent::agent(&(user.name))
    /// ^^^^^^^^^^^^      ^                first: the location of `user`
    ///             ^^^^^^ ^         ^^    last: the location of `name`
    /// ```
    ///
    /// where a token without a mark is the user's own. [`SourceSpan`] says why.
    pub(crate) fn call(
        &self,
        span: SourceSpan,
        function: &str,
        generics: Option<TokenStream>,
        arguments: TokenStream,
    ) -> TokenStream {
        let runtime = self.name(span.first);
        let path = function
            .split("::")
            .map(|segment| Ident::new(segment, span.last));
        let arguments = span.parenthesized(arguments);
        quote_spanned!(span.first=> #runtime #(::#path)* #generics #arguments)
    }
}

/// The name of the hidden module. It holds the whole version, so that a macro of one version never
/// meets the runtime of another. `atlasent/build.rs` makes the same name.
pub(crate) fn private() -> Ident {
    let version = env!("CARGO_PKG_VERSION").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    Ident::new(&format!("__private_{version}"), Span::mixed_site())
}

/// Parses the value of a `crate` argument: the path of the `atlasent` crate.
pub(crate) fn parse_crate(input: ParseStream<'_>) -> syn::Result<Path> {
    if let Ok(text) = input.fork().parse::<syn::LitStr>() {
        input.parse::<syn::LitStr>()?;
        return Err(syn::Error::new(
            text.span(),
            format!(
                "the path of the `atlasent` crate takes no quotes: write `crate = {}`",
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

/// Whether an identifier occurs in `tokens`, at any depth.
pub(crate) fn mentions(tokens: &TokenStream, name: &str) -> bool {
    contains(tokens, &|ident| ident == name)
}

fn contains(tokens: &TokenStream, matches: &impl Fn(&str) -> bool) -> bool {
    tokens.clone().into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => matches(&ident.to_string()),
        TokenTree::Group(group) => contains(&group.stream(), matches),
        _ => false,
    })
}

/// The location of generated tokens: the first and the last token of the user's code that the
/// compiler's messages about them point to.
///
/// The user writes `agent = user.name`, whose type is `Option<String>`. The expansion is
/// `__atlasent::agent(&(user.name))`, and the bound on the parameter of `agent` fails. rustc
/// underlines an expression from the start of its first token to the end of its last token: the
/// function from `__atlasent` to `agent`, the argument from `&` to `)`. As the first token has the
/// location of `user` and the last token that of `name`, it underlines what the user wrote:
///
/// ```text
/// error[E0277]: `Option<String>` does not name an agent
///    |
/// 14 | #[protect(action = "deploy", agent = user.name)]
///    |                                      ^^^^^^^^^ an agent is named by a string or an …
/// ```
///
/// (`tests/ui/fail/agent_not_a_name.stderr`.) Other locations give worse messages:
///
/// - the attribute's, on every token: rustc underlines the whole `#[protect(…)]`;
/// - `first`, on every token: rustc underlines `user`, which may well name an agent;
/// - one span from `first` to `last`: `Span::join` returns `None` on a stable compiler.
///
/// Only the location is the user's. The names in the tokens have the hygiene of this crate
/// (`mixed_site`).
#[derive(Clone, Copy)]
pub(crate) struct SourceSpan {
    /// The location of the first token.
    pub(crate) first: Span,
    /// The location of the last token.
    pub(crate) last: Span,
}

impl SourceSpan {
    /// The location of the attribute, for tokens that belong to no argument.
    pub(crate) fn attribute() -> Self {
        Self {
            first: Span::mixed_site(),
            last: Span::mixed_site(),
        }
    }

    /// The location of the user's code: of `user` and `id` for `user.id`. Of the attribute, if the
    /// code is empty.
    pub(crate) fn from_tokens(written: &impl ToTokens) -> Self {
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

    /// Returns `&(value)`. The reference keeps the value in place, and the parentheses keep `a + b`
    /// one operand: `&a + b` would borrow `a` alone.
    pub(crate) fn borrowed(self, value: &impl ToTokens) -> TokenStream {
        let value = self.parenthesized(value.to_token_stream());
        quote_spanned!(self.first=> &#value)
    }

    /// Returns `{ tokens }`. The block drops the temporaries of `tokens`, such as a lock's guard in
    /// `{ agent(&(names.lock().unwrap().first)) }`, before the next argument is evaluated.
    pub(crate) fn block(self, tokens: TokenStream) -> TokenStream {
        self.group(Delimiter::Brace, tokens).into_token_stream()
    }

    /// Returns `(tokens)`.
    pub(crate) fn parenthesized(self, tokens: TokenStream) -> Group {
        self.group(Delimiter::Parenthesis, tokens)
    }

    /// Puts `tokens` between delimiters. A group has one span: rustc takes its last character for
    /// the end of an expression, so the span is that of the last token.
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
        assert_eq!(name(quote!(__atlasent_Value7)), "__atlasent_");
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
