//! Checks the name of an action that is a string literal.

use syn::{Error, LitStr};

/// The maximum length of an action's name in Unicode scalar values, not bytes (contract, part B: 1
/// to 256).
const MAX_NAME: usize = 256;

/// Checks the length of an action's name. The runtime checks names that are not literals.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

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
}
