//! How Python writes a number that it has read.

/// How Python's `json` writes this number after reading it, where that is not how it stands here.
///
/// Numbers count as they were written (contract, part C). But the Python SDK verifies what it gets by writing its
/// numbers anew, so what was sealed by Python holds its spelling, whoever wrote the file since. It denotes the
/// same integer, or rounds to the same double: a number that a double cannot hold has no other spelling here.
pub(crate) fn python_spelling(text: &str) -> Option<String> {
    let is_float = text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let spelled = match (is_float, text) {
        (true, _) => float(text.parse().ok()?)?,
        // Its integers have no negative zero.
        (false, "-0") => "0".to_owned(),
        (false, _) => return None,
    };
    (spelled != text).then_some(spelled)
}

/// Python's `repr` of a finite double: the shortest digits that read back as the same number, in scientific
/// notation below 1e-4 and from 1e16 on, with two digits of exponent at least.
fn float(number: f64) -> Option<String> {
    if !number.is_finite() {
        return None;
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    Some(match exponent {
        // The same digits, written out; an integer keeps its `.0`.
        -4..16 => format!("{number:?}"),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
    })
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
