//! Spells JSON numbers as Python's `json` module writes them.

use std::io;

/// Returns the spelling that Python's `json` gives this number when it reads and writes it. `None`
/// if that spelling equals `text`.
///
/// Numbers count as they were written (contract, part C). But the Python SDK verifies a bundle by
/// reading its numbers and writing them again, so hashes made by Python are over Python's spelling,
/// even if another program rewrote the file. Both spellings denote the same integer, or round to
/// the same double. A number beyond the range of a double (`1e400`) has no second spelling here.
pub(crate) fn python_spelling(text: &str) -> Option<String> {
    let is_float = text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let spelled = match (is_float, text) {
        (true, _) => float(text.parse().ok()?)?,
        // Python's integers have no negative zero.
        (false, "-0") => "0".to_owned(),
        (false, _) => return None,
    };
    (spelled != text).then_some(spelled)
}

/// Writes compact JSON with floats as Python spells them. An authority hashes a context as it was
/// written, so the client sends exactly the text that it hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PythonFloats;

impl serde_json::ser::Formatter for PythonFloats {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, number: f64) -> io::Result<()> {
        let spelled = float(number).ok_or(io::ErrorKind::InvalidData)?;
        writer.write_all(spelled.as_bytes())
    }
}

/// Returns Python's `repr` of a finite double: the shortest digits that read back as the same
/// number, in scientific notation below 1e-4 and from 1e16 on, with at least two digits of
/// exponent.
///
/// The shortest digits of `0.00012` are `12`, with the exponent -4 of the first digit: `0.` + three
/// zeros + `12`. Those of `1.5e-7` are `15` with exponent -7, which is written `1.5e-07`.
fn float(number: f64) -> Option<String> {
    if !number.is_finite() {
        return None;
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let (digits, exponent) = shortest(number.abs())?;
    let (first, rest) = digits.split_at_checked(1)?;
    Some(match exponent {
        -4..0 => {
            let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
            format!("{sign}0.{zeros}{digits}")
        }
        0..16 => {
            let whole = exponent.unsigned_abs() as usize + 1;
            let (whole, fraction) = match digits.split_at_checked(whole) {
                Some((whole, fraction)) => (whole.to_owned(), fraction),
                None => (format!("{digits:0<whole$}"), ""),
            };
            let fraction = if fraction.is_empty() { "0" } else { fraction };
            format!("{sign}{whole}.{fraction}")
        }
        _ => {
            let point = if rest.is_empty() { "" } else { "." };
            let direction = if exponent < 0 { '-' } else { '+' };
            let exponent = exponent.unsigned_abs();
            format!("{sign}{first}{point}{rest}e{direction}{exponent:02}")
        }
    })
}

/// Returns the shortest digits of a number, without leading and trailing zeros, and the power of
/// ten of the first digit: `("12", -4)` for `0.00012`.
///
/// Where two digit strings are equally short and equally near, Python takes the even one.
/// `serde_json` does the same; the standard library does not.
fn shortest(number: f64) -> Option<(String, i32)> {
    let text = serde_json::to_string(&number).ok()?;
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let zeros = i32::try_from(all.len() - significant.len()).ok()?;
    let digits = significant.trim_end_matches('0');
    if digits.is_empty() {
        return Some(("0".to_owned(), 0));
    }
    let exponent = power.parse::<i32>().ok()? + i32::try_from(whole.len()).ok()? - 1 - zeros;
    Some((digits.to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_python_spells_them() {
        // Each pair is what `json.dumps(json.loads(text))` answers in Python 3.
        for (text, spelled) in [
            ("1e2", "100.0"),
            ("1E5", "100000.0"),
            ("1.50", "1.5"),
            ("-0", "0"),
            ("-0e0", "-0.0"),
            ("1e-7", "1e-07"),
            ("1.25e-10", "1.25e-10"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("12345678901234567.0", "1.2345678901234568e+16"),
            ("123456789012345.6", "123456789012345.6"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("1e-400", "0.0"),
            ("0.1000000000000000055", "0.1"),
            ("1e23", "1e+23"),
            ("-2083638177939617.2", "-2083638177939617.2"),
            ("123.0", "123.0"),
            ("0.00012", "0.00012"),
            ("9007199254740993.0", "9007199254740992.0"),
        ] {
            let found = python_spelling(text);
            assert_eq!(found.as_deref().unwrap_or(text), spelled, "{text}");
        }
    }

    #[test]
    fn integers_keep_their_digits() {
        for text in [
            "0",
            "-7",
            "18446744073709551616",
            "123456789012345678901234567890",
        ] {
            assert_eq!(python_spelling(text), None, "{text}");
        }
    }

    #[test]
    fn what_no_double_holds_has_no_other_spelling() {
        assert_eq!(python_spelling("1e400"), None);
        assert_eq!(python_spelling("-1e400"), None);
    }
}
