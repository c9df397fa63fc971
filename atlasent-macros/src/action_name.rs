//! The name of an action in an attribute: a string literal, or a constant.

use proc_macro2::{Ident, Span};
use syn::{Error, Expr, LitStr, Path, PathArguments};

use crate::runtime::SourceSpan;

/// The maximum length of an action's name in Unicode scalar values, not bytes (contract, part B: 1
/// to 256).
const MAX_NAME: usize = 256;

/// The name of an action.
pub(crate) enum ActionName {
    Literal(LitStr),
    /// The path of a constant. Its value is checked where the compiler knows it: in a constant of
    /// the expansion.
    Constant(Path),
}

impl ActionName {
    /// The place of an error about the name.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Literal(name) => name.span(),
            Self::Constant(path) => SourceSpan::from_tokens(path).first,
        }
    }
}

/// Checks the length of an action's name that is a literal.
pub(crate) fn check(literal: &LitStr) -> syn::Result<()> {
    let length = literal.value().chars().count();
    if length == 0 {
        return Err(Error::new(
            literal.span(),
            "the action's name is empty: write one, such as \"deploy.production\"",
        ));
    }
    if length > MAX_NAME {
        return Err(Error::new(
            literal.span(),
            format!("the action's name has {length} characters: shorten it to {MAX_NAME} or fewer"),
        ));
    }
    Ok(())
}

/// Returns the path of a constant: `names::DEPLOY`.
///
/// | expression | constant? | because |
/// |---|---|---|
/// | `names::DEPLOY`, `Bank::TRANSFER` | yes | the last name is in capitals |
/// | `Flush`, `bank::Flush` | no | a unit struct |
/// | `action`, `names::deploy` | no | a variable; constants are in capitals |
/// | `A`, `T::NAME`, `Self::NAME`, `Queue::<T>::NAME` | no | the constant may depend on a type parameter, which a constant of the expansion cannot name |
pub(crate) fn constant(expr: &Expr) -> Option<&Path> {
    match expr {
        Expr::Path(path) if path.qself.is_none() && path.attrs.is_empty() => {
            let path = &path.path;
            let is_capital = path
                .segments
                .last()
                .is_some_and(|last| is_capital(&last.ident));
            let is_concrete = path.segments.iter().all(|segment| {
                let name = segment.ident.to_string();
                let is_parameter = name.len() == 1 && name.starts_with(char::is_uppercase);
                matches!(segment.arguments, PathArguments::None) && name != "Self" && !is_parameter
            });
            (is_capital && is_concrete).then_some(path)
        }
        // A path that comes through a `macro_rules!` macro.
        Expr::Group(group) => constant(&group.expr),
        Expr::Paren(paren) => constant(&paren.expr),
        _ => None,
    }
}

/// Whether a name is in capitals, as the names of constants are.
pub(crate) fn is_capital(name: &Ident) -> bool {
    let name = name.to_string();
    name.contains(char::is_uppercase) && !name.contains(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;
    use syn::parse_quote;

    fn check_text(text: &str) -> Result<(), String> {
        check(&LitStr::new(text, Span::call_site())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_has_1_to_256_characters_not_bytes() {
        assert!(check_text("").unwrap_err().contains("empty"));
        assert!(check_text("ü").is_ok());
        assert!(check_text(&"ü".repeat(256)).is_ok());
        assert!(
            check_text(&"ü".repeat(257))
                .unwrap_err()
                .contains("257 characters")
        );
    }

    #[test]
    fn a_path_in_capitals_is_a_constant() {
        for expr in [
            parse_quote!(DEPLOY),
            parse_quote!(names::DEPLOY_2),
            parse_quote!(::a::Bank::TRANSFER),
            parse_quote!((crate::DEPLOY)),
        ] {
            assert!(constant(&expr).is_some());
        }
        for expr in [
            parse_quote!(Flush),
            parse_quote!(A),
            parse_quote!(action),
            parse_quote!(names::deploy),
            parse_quote!(T::NAME),
            parse_quote!(Self::NAME),
            parse_quote!(Queue::<T>::NAME),
            parse_quote!(<Q as Named>::NAME),
            parse_quote!(DEPLOY.trim()),
        ] {
            assert!(constant(&expr).is_none());
        }
    }
}
