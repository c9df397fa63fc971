//! Suggesting the name that was probably meant in place of an unknown one.

use strsim::damerau_levenshtein;

/// The longest list of names that is searched: a refusal must not cost more than a decision.
const MAX_NAMES: usize = 4_096;

/// The longest name that is compared, since the distance of two names takes time with their
/// product.
const MAX_NAME: usize = 128;

/// Returns the name that `written` is probably a misspelling of; of several, the nearest.
pub(super) fn nearest<'n>(
    written: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    if written.len() > MAX_NAME {
        return None;
    }
    let mut found: Option<(usize, &str)> = None;
    for (n, name) in names.into_iter().enumerate() {
        if n == MAX_NAMES {
            return None;
        }
        if name.len() <= MAX_NAME && looks_like(written, name) {
            let this = (damerau_levenshtein(written, name), name);
            found = Some(found.map_or(this, |best| best.min(this)));
        }
    }
    found.map(|(_, name)| name)
}

/// Returns whether one name is probably the other, misspelled. Names are compared word by word, so
/// `file.read` and `file.load` differ. The shorter a word, the fewer edits are accepted.
fn looks_like(a: &str, b: &str) -> bool {
    // `deploy.eu1` and `deploy.eu2` differ on purpose.
    if without_digits(a).eq(without_digits(b)) || !may_be_within(a, b, 2) {
        return false;
    }
    let (a_words, b_words) = (words(a), words(b));
    if a_words.concat() == b_words.concat() {
        return true;
    }
    if a_words.len() != b_words.len() {
        return false;
    }
    let mut distance = 0;
    for (a, b) in a_words.iter().zip(&b_words).filter(|(a, b)| a != b) {
        let length = a.chars().count().max(b.chars().count());
        let allowed = match length {
            0..4 => 0,
            4..8 => 1,
            _ => 2,
        };
        if !may_be_within(a, b, allowed) {
            return false;
        }
        let found = damerau_levenshtein(a, b);
        // `install` and `uninstall` are opposites.
        let has_prefix = found > 1 && (a.ends_with(b) || b.ends_with(a));
        if found > allowed || has_prefix {
            return false;
        }
        distance += found;
    }
    distance <= 2
}

fn without_digits(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|byte| !byte.is_ascii_digit())
}

fn words(name: &str) -> Vec<&str> {
    name.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Returns whether two texts can be so few edits apart, judged by the bytes in them. An edit adds,
/// removes or replaces one character, so it removes at most four bytes and adds at most four. This
/// test is far cheaper than the distance itself, and excludes almost all of a long list of names.
fn may_be_within(a: &str, b: &str, edits: usize) -> bool {
    let mut surplus = [0_i32; 256];
    let mut count = |word: &str, by: i32| {
        let of_words = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        for byte in word.bytes().filter(of_words) {
            if let Some(count) = surplus.get_mut(usize::from(byte)) {
                *count += by;
            }
        }
    };
    count(a, 1);
    count(b, -1);
    let differing: u32 = surplus.iter().map(|count| count.unsigned_abs()).sum();
    let widest = if a.is_ascii() && b.is_ascii() { 2 } else { 8 };
    differing as usize <= edits * widest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_near_word_is_ruled_out(a in "[a-dé日]{0,9}", b in "[a-dé日]{0,9}") {
            let distance = damerau_levenshtein(&a, &b);
            prop_assert!(may_be_within(&a, &b, distance));
        }
    }

    #[test]
    fn the_nearest_name_is_suggested_and_no_other() {
        let names = ["wire.transfer", "wire.transfers", "wire.refund"];
        assert_eq!(nearest("wire.transfre", names), Some("wire.transfer"));
        assert_eq!(nearest("wire.tranfers", names), Some("wire.transfers"));
        assert_eq!(nearest("wire.cancel", names), None);
        assert_eq!(nearest("wire.transfer", ["wire.transfer"]), None);
        let many: Vec<String> = (0..=MAX_NAMES).map(|n| format!("wire.{n}")).collect();
        let many = many.iter().map(String::as_str).chain(["wire.transfer"]);
        assert_eq!(nearest("wire.transfre", many), None);
        let long = "transfer".repeat(100);
        assert_eq!(nearest(&format!("{long}x"), [long.as_str()]), None);
    }

    #[test]
    fn misspellings_are_told_from_other_names() {
        for (a, b) in [
            ("deploy.production", "deploy.producton"),
            ("deploy.production", "deploy.prodcution"),
            ("deploy.production", "deploy.produktions"),
            ("deploy.production", "deploy_production"),
            ("deploy.production", "depoly.production"),
            ("deploy.production", "Deploy.production"),
            ("modify_patient_record", "modify_pateint_record"),
            ("read", "raed"),
            ("deployProduction", "deploy.Production"),
        ] {
            assert!(looks_like(a, b) && looks_like(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("read", "read"),
            ("read", "load"),
            ("file.read", "file.load"),
            ("lock", "unlock"),
            ("install", "uninstall"),
            ("deploy.eu1", "deploy.eu2"),
            ("deploy.v9", "deploy.v10"),
            ("get", "set"),
            ("user.add", "user.ack"),
            ("deploy.production", "deploy.staging"),
            ("deploy", "deploy.production"),
            ("", "a"),
        ] {
            assert!(!looks_like(a, b) && !looks_like(b, a), "{a} {b}");
        }
    }
}
