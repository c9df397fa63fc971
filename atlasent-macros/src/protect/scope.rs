//! Validates the arguments `scope` and `claims`: the ATI scope to require, and the claims that have
//! to grant it.

use proc_macro2::Ident;
use syn::{Error, Expr, Lit};

use crate::errors::Errors;

/// The arguments `scope = …, claims = …`.
pub(crate) struct Scope {
    /// The value of `scope`.
    pub(crate) required: Expr,
    /// The value of `claims`.
    pub(crate) claims: Expr,
}

impl Scope {
    /// Joins the two arguments, which are both present or both absent. `missing` says whether an
    /// absent key is an error of its own: a misspelt key has been reported already.
    pub(crate) fn from_arguments(
        scope: Option<(Ident, Expr)>,
        claims: Option<(Ident, Expr)>,
        missing: impl Fn(&str) -> bool,
        errors: &mut Errors,
    ) -> Option<Self> {
        match (scope, claims) {
            (Some((_, required)), Some((_, claims))) => {
                errors.take(check_scope(&required));
                Some(Self { required, claims })
            }
            (Some((key, _)), None) if missing("claims") => {
                errors.push(Error::new(
                    key.span(),
                    "`scope` needs `claims`: pass the verified claims that have to grant it, such as `claims = claims`",
                ));
                None
            }
            (None, Some((key, _))) if missing("scope") => {
                errors.push(Error::new(
                    key.span(),
                    "`claims` needs `scope`: name the scope that the claims have to grant, such as `scope = \"tool:github:search\"`",
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
    if text.contains(char::is_whitespace) {
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
    fn a_scope_and_claims_go_together() {
        assert!(errors(quote!(scope = "tool:github:search", claims = claims)).is_empty());
        assert!(errors(quote!(scope = format!("tool:{name}"), claims = self.claims)).is_empty());
        let alone = errors(quote!(scope = "tool:a"));
        assert!(alone[0].contains("`scope` needs `claims`"), "{alone:?}");
        let alone = errors(quote!(claims = claims));
        assert!(alone[0].contains("`claims` needs `scope`"), "{alone:?}");
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
            (quote!(7), "is a string"),
        ] {
            let errors = errors(quote!(scope = #scope, claims = claims));
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains(says), "{errors:?}");
        }
    }
}
