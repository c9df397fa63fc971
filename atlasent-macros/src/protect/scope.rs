//! Validates the arguments `scope` and `claims`: the verified claims of the agent's token, and the
//! ATI scope that they have to grant.

use proc_macro2::Ident;
use syn::{Error, Expr, Lit};

use crate::errors::Errors;

/// The arguments `scope = …, claims = …`.
pub(crate) struct TokenClaims {
    /// The value of `claims`.
    pub(crate) claims: Expr,
    /// The value of `scope`. Unset where no scope is required.
    pub(crate) scope: Option<Expr>,
}

impl TokenClaims {
    /// Joins the two arguments. A scope needs claims. `missing` says whether absent claims are an
    /// error of their own: a misspelt key has been reported already.
    pub(crate) fn from_arguments(
        scope: Option<(Ident, Expr)>,
        claims: Option<(Ident, Expr)>,
        missing: impl Fn(&str) -> bool,
        errors: &mut Errors,
    ) -> Option<Self> {
        match (scope, claims) {
            (scope, Some((_, claims))) => {
                let scope = scope.map(|(_, required)| required);
                errors.take(scope.as_ref().map_or(Ok(()), check_scope));
                Some(Self { claims, scope })
            }
            (Some((key, _)), None) if missing("claims") => {
                errors.push(Error::new(
                    key.span(),
                    "`scope` needs `claims`: pass the verified claims that have to grant it, such as `claims = claims`",
                ));
                None
            }
            _ => None,
        }
    }
}

/// Rejects a literal scope that no token can grant. The runtime checks scopes that are not
/// literals.
fn check_scope(required: &Expr) -> syn::Result<()> {
    let Expr::Lit(literal) = required else {
        return Ok(());
    };
    let Lit::Str(scope) = &literal.lit else {
        return Err(Error::new_spanned(
            literal,
            "a scope is a string: write one in quotes, such as `scope = \"tool:github:search\"`",
        ));
    };
    let text = scope.value();
    if text.is_empty() {
        return Err(Error::new(
            scope.span(),
            "the scope is empty: write one, such as \"tool:github:search\"",
        ));
    }
    // Python also splits scopes at the four information separators, so `ati-client` refuses them.
    let separates = |c: char| c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}');
    if text.contains(separates) {
        return Err(Error::new(
            scope.span(),
            "a scope contains no white space: write one scope, such as \"tool:github:search\"",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use crate::errors::testing;
    use crate::protect::args::Args;

    fn errors(tokens: proc_macro2::TokenStream) -> Vec<String> {
        testing::texts(Args::parse(quote!(action = "deploy", agent = "a", #tokens)))
    }

    #[test]
    fn a_scope_needs_claims() {
        assert!(errors(quote!(scope = "tool:github:search", claims = claims)).is_empty());
        assert!(errors(quote!(scope = format!("tool:{name}"), claims = self.claims)).is_empty());
        let alone = errors(quote!(scope = "tool:a"));
        assert!(alone[0].contains("`scope` needs `claims`"), "{alone:?}");
        assert!(errors(quote!(claims = claims)).is_empty());
    }

    #[test]
    fn a_misspelt_partner_is_one_error() {
        let errors = errors(quote!(scope = "tool:a", claim = claims));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("did you mean `claims`?"), "{errors:?}");
    }

    #[test]
    fn a_scope_that_nobody_can_grant_is_an_error() {
        for (scope, says) in [
            (quote!(""), "empty"),
            (quote!("tool:a tool:b"), "white space"),
            (quote!("tool:a\u{1f}tool:b"), "white space"),
            (quote!(7), "is a string"),
        ] {
            let errors = errors(quote!(scope = #scope, claims = claims));
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains(says), "{errors:?}");
        }
    }
}
