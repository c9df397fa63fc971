//! The exact value of a JSON number, however it is written. It uses no float, and the cost of an
//! exponent of any size is that of its text.

/// A JSON number in its parts. Two are equal when their values are: `3`, `3.0` and `30e-1` are
/// equal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numeral<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    /// The power of ten of the last digit. It saturates.
    exponent: i64,
}

/// The number of digits after the point of a Cedar `decimal`.
const DECIMAL_DIGITS: i64 = 4;

impl<'a> Numeral<'a> {
    /// Parses the text of a JSON number. Returns `None` for any other text.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix('-');
        let (mantissa, exponent) = match unsigned.unwrap_or(text).split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned.unwrap_or(text), 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let is_number = is_digits(whole) && (whole.len() == 1 || !whole.starts_with('0'));
        is_number.then_some(Self {
            negative: unsigned.is_some(),
            whole,
            fraction,
            exponent,
        })
    }

    /// Parses a number that a string holds: the text of a JSON number without an exponent.
    ///
    /// The program behind a permit parses the string itself, and many parsers stop at the `e`: they
    /// read `5e-4` as 5.
    pub(super) fn parse_in_string(text: &'a str) -> Option<Self> {
        match text.contains(['e', 'E']) {
            true => None,
            false => Self::parse(text),
        }
    }

    /// Returns whether the value is below zero.
    pub(super) fn is_negative(&self) -> bool {
        self.negative && self.significant().0.next().is_some()
    }

    /// Returns the value, if it is integral and within the range of a Cedar `Long`.
    pub(crate) fn long(&self) -> Option<i64> {
        self.scaled(0)
    }

    /// Returns the text of the Cedar `decimal` with exactly this value, if there is one.
    pub(crate) fn decimal(&self) -> Option<String> {
        let scaled = self.scaled(DECIMAL_DIGITS)?;
        let sign = if scaled < 0 { "-" } else { "" };
        let (whole, fraction) = (
            scaled.unsigned_abs() / 10_000,
            scaled.unsigned_abs() % 10_000,
        );
        let mut text = format!("{sign}{whole}.{fraction:04}");
        while text.ends_with('0') && !text.ends_with(".0") {
            text.pop();
        }
        Some(text)
    }

    /// Returns the value times a power of ten, if that is integral and fits 64 bits.
    pub(super) fn scaled(&self, power: i64) -> Option<i64> {
        const MAX_DIGITS: i64 = 19;
        let (digits, exponent) = self.significant();
        let count = i64::try_from(digits.clone().count()).ok()?;
        if count == 0 {
            return Some(0);
        }
        let zeros = exponent.saturating_add(power);
        if zeros < 0 || count.saturating_add(zeros) > MAX_DIGITS {
            return None;
        }
        let digits = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
        let value = digits * 10_i128.pow(u32::try_from(zeros).ok()?);
        i64::try_from(if self.negative { -value } else { value }).ok()
    }

    /// Returns the digits without leading and trailing zeros, and the power of ten of the last one.
    /// Zero has no digit.
    fn significant(&self) -> (impl Iterator<Item = u8> + Clone + 'a, i64) {
        let fraction = self.fraction.trim_end_matches('0');
        let (whole, zeros) = match fraction {
            "" => {
                let whole = self.whole.trim_end_matches('0');
                (whole, self.whole.len() - whole.len())
            }
            _ => (self.whole, 0),
        };
        let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let exponent = self.exponent.saturating_add(length(zeros));
        let exponent = exponent.saturating_sub(length(fraction.len()));
        let digits = whole.bytes().chain(fraction.bytes());
        (digits.skip_while(|digit| *digit == b'0'), exponent)
    }
}

impl PartialEq for Numeral<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (digits, exponent) = self.significant();
        let (other_digits, other_exponent) = other.significant();
        if digits.clone().next().is_none() {
            return other_digits.clone().next().is_none();
        }
        let is_same_scale = self.negative == other.negative && exponent == other_exponent;
        is_same_scale && digits.eq(other_digits)
    }
}

/// Parses the exponent. Returns `None` for an invalid one. It saturates far beyond what the digits
/// of any text can compensate.
fn parse_exponent(text: &str) -> Option<i64> {
    const FAR: i64 = i64::MAX / 4;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !is_digits(unsigned) {
        return None;
    }
    let digits = unsigned.trim_start_matches('0');
    let size = match digits {
        "" => 0,
        digits => digits.parse().map_or(FAR, |size: i64| size.min(FAR)),
    };
    Some(if text.starts_with('-') { -size } else { size })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numeral(text: &str) -> Numeral<'_> {
        Numeral::parse(text).unwrap_or_else(|| panic!("`{text}` is a JSON number"))
    }

    #[test]
    fn an_integral_number_is_a_long_in_every_spelling() {
        for (text, long) in [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("3e0", Some(3)),
            ("3.000E+000", Some(3)),
            ("30e-1", Some(3)),
            ("0.3e1", Some(3)),
            ("0.03E+02", Some(3)),
            ("300e-2", Some(3)),
            ("-0", Some(0)),
            ("-0.0", Some(0)),
            ("0e99999999999999999999", Some(0)),
            ("-0.00e-99999999999999999999", Some(0)),
            ("1e18", Some(1_000_000_000_000_000_000)),
            ("1e19", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775807.0", Some(i64::MAX)),
            ("9223372036854775807000e-3", Some(i64::MAX)),
            ("0.9223372036854775807e19", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808.000", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("1e1000000000", None),
            ("1e99999999999999999999", None),
            ("1e-99999999999999999999", None),
            ("1e000000000000000000000000000000", Some(1)),
            ("3.5", None),
            ("3.00000000000000000000000000000000001", None),
        ] {
            assert_eq!(numeral(text).long(), long, "{text}");
        }
    }

    #[test]
    fn a_fraction_of_four_digits_is_a_decimal_in_every_spelling() {
        for (text, decimal) in [
            ("1.5", Some("1.5")),
            ("15e-1", Some("1.5")),
            ("0.15E1", Some("1.5")),
            ("1.50000000000000000000000", Some("1.5")),
            ("-0.0001", Some("-0.0001")),
            ("0.00001", None),
            ("922337203685477.5807", Some("922337203685477.5807")),
            ("-922337203685477.5808", Some("-922337203685477.5808")),
            ("922337203685477.5808", None),
            ("-922337203685477.5809", None),
            ("7", Some("7.0")),
            ("1e15", None),
            ("1e1000000000", None),
        ] {
            assert_eq!(numeral(text).decimal().as_deref(), decimal, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_json_number_has_no_value() {
        for text in [
            "", "-", "+1", "01", "-01", ".5", "5.", "1.e1", "1e", "1e+", "1e1.0", "0x1", "1_0",
            " 1", "1 ", "NaN", "inf", "--1", "1e--1", "१",
        ] {
            assert!(Numeral::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_long_text_costs_its_length() {
        let zeros = "0".repeat(1 << 20);
        assert_eq!(numeral(&format!("3.{zeros}")).long(), Some(3));
        assert_eq!(numeral(&format!("1{zeros}e-1048576")).long(), Some(1));
        assert_eq!(numeral(&format!("0.{zeros}1e1048577")).long(), Some(1));
        assert_eq!(numeral(&format!("1e{}", "9".repeat(1 << 20))).long(), None);
    }

    /// Returns a spelling of `digits × 10^exponent` with its point and its exponent moved about.
    fn spelling() -> impl Strategy<Value = (i64, i64, String)> {
        let parts = (
            -99_999_999_i64..99_999_999,
            0_usize..6,
            0_usize..9,
            -6_i64..6,
        );
        (parts, any::<bool>(), 0_usize..3).prop_map(
            |((digits, places, zeros, power), upper, pad)| {
                let sign = if digits < 0 { "-" } else { "" };
                let all = format!("{:0>width$}", digits.unsigned_abs(), width = places + 1);
                let (whole, fraction) = all.split_at(all.len() - places);
                let fraction = format!("{fraction}{}", "0".repeat(zeros));
                let point = if fraction.is_empty() { "" } else { "." };
                let e = if upper { "E" } else { "e" };
                let direction = if power < 0 { "-" } else { "+" };
                let exponent = format!("{}{}", "0".repeat(pad), power.unsigned_abs());
                let text = format!("{sign}{whole}{point}{fraction}{e}{direction}{exponent}");
                (digits, power - places as i64, text)
            },
        )
    }

    proptest! {
        #[test]
        fn every_spelling_has_the_exact_value((digits, exponent, text) in spelling()) {
            let value = |power: i64| {
                let exponent = exponent + power;
                let digits = i128::from(digits);
                let scale = 10_i128.pow(exponent.unsigned_abs() as u32);
                let scaled = if exponent < 0 {
                    (digits % scale == 0).then_some(digits / scale)?
                } else {
                    digits * scale
                };
                i64::try_from(scaled).ok()
            };
            prop_assert_eq!(numeral(&text).long(), value(0), "{}", text);
            let decimal = numeral(&text).decimal();
            prop_assert_eq!(decimal.is_some(), value(4).is_some(), "{}", text);
            if let Some(decimal) = decimal {
                prop_assert!(numeral(&decimal) == numeral(&text), "{} is {}", text, decimal);
                prop_assert!(decimal.split_once('.').unwrap().1.len() <= 4, "{}", decimal);
            }
            let same = format!("{digits}e{exponent}");
            let other = format!("{digits}1e{exponent}");
            prop_assert!(numeral(&text) == numeral(&same), "{} is not {}", text, same);
            prop_assert!(numeral(&text) != numeral(&other), "{} is {}", text, other);
        }

        #[test]
        fn what_is_read_is_what_serde_json_reads(text in "-?[0-9]{0,3}[.]?[0-9]{0,3}[eE]?[+-]?[0-9]{0,2}") {
            prop_assert_eq!(
                Numeral::parse(&text).is_some(),
                serde_json::from_str::<f64>(&text).is_ok()
            );
        }
    }
}
