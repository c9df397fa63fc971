//! Validates the argument `wait`: how long a held call waits for approvers.

use syn::{Error, Expr, ExprLit, Lit, LitStr};

/// The longest time of a literal, in milliseconds: a year.
const LONGEST: u64 = 365 * 24 * 3_600_000;

/// The units of a literal, with their milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 24 * 3_600_000),
];

/// The value of `wait`.
pub(crate) enum Wait {
    /// A literal such as `"10m"`, in milliseconds.
    Literal { millis: u64, literal: LitStr },
    /// An expression of the type `Duration`.
    Value(Expr),
}

impl Wait {
    /// Reads the value. A literal is checked here, and the type of any other expression by the
    /// compiler.
    pub(crate) fn from_value(value: Expr) -> syn::Result<Self> {
        match value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(literal),
                ..
            }) => match millis(&literal.value()) {
                Ok(millis) => Ok(Self::Literal { millis, literal }),
                Err(why) => Err(Error::new(literal.span(), why)),
            },
            Expr::Lit(other) => Err(Error::new_spanned(
                other,
                "`wait` takes a time with its unit: write one in quotes, such as `wait = \"10m\"`, or a `Duration`",
            )),
            // Literals that come through a `macro_rules!` macro, or in parentheses.
            Expr::Group(group) => Self::from_value(*group.expr),
            Expr::Paren(paren) => Self::from_value(*paren.expr),
            value => Ok(Self::Value(value)),
        }
    }
}

/// Returns the milliseconds of a text such as `10m` or `1h30m`.
fn millis(text: &str) -> Result<u64, String> {
    let malformed = || {
        format!(
            "`{}` is not a time: write whole numbers with the units `ms`, `s`, `m`, `h` or `d`, such as `10m` or `1h30m`",
            text.escape_debug()
        )
    };
    let too_long = || "the wait is longer than a year: write a shorter one".to_owned();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let letters = after.find(|c: char| c.is_ascii_digit());
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        let unit = UNITS.iter().find(|(name, _)| *name == unit);
        let (false, Some((_, unit))) = (number.is_empty(), unit) else {
            return Err(malformed());
        };
        // Only a number that is too large does not parse.
        let part = number.parse::<u64>().ok();
        let part = part.and_then(|number| number.checked_mul(*unit));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= LONGEST)
            .ok_or_else(too_long)?;
        rest = after;
    }
    match (text, total) {
        ("", _) => Err(malformed()),
        (_, 0) => Err("the wait is zero: leave `wait` out, or write a longer one".to_owned()),
        (_, total) => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;
    use crate::errors::testing;
    use crate::protect::args::Args;

    #[test]
    fn a_time_is_read_with_its_units() {
        for (text, expected) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1h0m1ms", 3_600_001),
            ("365d", LONGEST),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn any_other_text_is_an_error_that_says_what_to_write() {
        for text in [
            "", "10", "m", "10 m", " 10m", "10m ", "10min", "10M", "-10m", "1.5h", "10mm", "10m5",
            "١m",
        ] {
            let error = millis(text).unwrap_err();
            assert!(error.contains("is not a time"), "{text}: {error}");
        }
        for text in ["0s", "0ms0h"] {
            assert!(millis(text).unwrap_err().contains("zero"), "{text}");
        }
        for text in [
            "366d",
            "365d1ms",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(millis(text).unwrap_err().contains("year"), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_no_time_and_an_expression_may_be_one() {
        let wait = |wait| {
            let tokens = quote!(action = "deploy", agent = "a", wait = #wait);
            testing::texts(Args::parse(tokens))
        };
        for number in [quote!(600), quote!(1.5), quote!(true), quote!((600))] {
            let errors = wait(number);
            assert!(errors[0].contains("with its unit"), "{errors:?}");
        }
        for value in [
            quote!("10m"),
            quote!(("10m")),
            quote!(Duration::from_secs(600)),
            quote!(self.patience),
            quote!(PATIENCE),
        ] {
            assert!(wait(value).is_empty());
        }
    }
}
