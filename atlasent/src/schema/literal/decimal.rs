//! [`Decimal`]

use std::fmt;
use std::str::FromStr;

use super::{invalid, written_as_text};
use crate::Error;

/// The number of digits after the point.
const DIGITS: usize = 4;
/// The value of one in the unit of a decimal.
const ONE: i64 = 10_i64.pow(4);

/// A value of the schema type `decimal`: a number with at most four digits after the point, from
/// -922337203685477.5808 to 922337203685477.5807.
///
/// ```
/// use atlasent::schema::Decimal;
///
/// let price: Decimal = "19.99".parse()?;
/// assert_eq!(price.to_string(), "19.99");
/// assert_eq!(price, Decimal::from_ten_thousandths(199_900));
/// assert_eq!(Decimal::from(7).to_string(), "7.0");
/// assert_eq!(Decimal::try_from(0.1)?.to_string(), "0.1");
/// assert!("0.12345".parse::<Decimal>().is_err()); // not rounded
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i64);

impl Decimal {
    /// Creates the decimal of a number of ten-thousandths: `199_900` is 19.99.
    #[must_use]
    pub const fn from_ten_thousandths(units: i64) -> Self {
        Self(units)
    }

    /// Returns the value in ten-thousandths.
    #[must_use]
    pub const fn ten_thousandths(self) -> i64 {
        self.0
    }
}

written_as_text!(Decimal, DecimalType);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        let (whole, fraction) = (units / ONE.unsigned_abs(), units % ONE.unsigned_abs());
        let fraction = format!("{fraction:04}");
        // A decimal has at least one digit after the point.
        let fraction = match fraction.trim_end_matches('0') {
            "" => "0",
            digits => digits,
        };
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// Reads digits with or without a point, with at most four digits after it.
impl FromStr for Decimal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let unsigned = text.strip_prefix('-').unwrap_or(text);
            let (whole, fraction) = match unsigned.split_once('.') {
                Some((_, "")) => return None,
                Some(parts) => parts,
                None => (unsigned, ""),
            };
            let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            if whole.is_empty()
                || fraction.len() > DIGITS
                || !is_digits(whole)
                || !is_digits(fraction)
            {
                return None;
            }
            let units: i128 = format!("{whole}{fraction:0<DIGITS$}").parse().ok()?;
            let units = if unsigned.len() < text.len() {
                -units
            } else {
                units
            };
            i64::try_from(units).ok().map(Self)
        };
        read().ok_or_else(|| invalid(text, "decimal", "19.99"))
    }
}

macro_rules! from_integer {
    ($($integer:ty),+) => {
        $(
            impl From<$integer> for Decimal {
                fn from(whole: $integer) -> Self {
                    // The product fits: these integers have at most 32 bits.
                    Self(i64::from(whole).saturating_mul(ONE))
                }
            }
        )+
    };
}

from_integer!(i8, i16, i32, u8, u16, u32);

/// Takes a float whose shortest text has at most four digits after the point.
impl TryFrom<f64> for Decimal {
    type Error = Error;

    fn try_from(float: f64) -> Result<Self, Error> {
        float.to_string().parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_a_decimal_or_an_error() {
        for (text, units) in [
            ("0", 0),
            ("-0.0", 0),
            ("19.99", 199_900),
            ("007.5", 75_000),
            ("-0.0001", -1),
            ("922337203685477.5807", i64::MAX),
            ("-922337203685477.5808", i64::MIN),
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().ten_thousandths(), units);
        }
        for wrong in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "--1",
            "1.23456",
            "1e3",
            "١",
            "1 ",
            "922337203685477.5808",
            "NaN",
        ] {
            let error = wrong.parse::<Decimal>().unwrap_err().to_string();
            assert!(error.contains("such as `19.99`"), "{error}");
        }
        for wrong in [f64::NAN, f64::INFINITY, 1e300, 0.12345] {
            assert!(Decimal::try_from(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Decimal::from(u32::MAX).to_string(), "4294967295.0");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(units: i64) {
            let decimal = Decimal::from_ten_thousandths(units);
            prop_assert_eq!(decimal.to_string().parse::<Decimal>().unwrap(), decimal);
        }
    }
}
