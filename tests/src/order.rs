//! Asserts the order of texts within a page.
#![allow(clippy::panic, reason = "what tests call may panic as tests do")]

/// Asserts that a text holds these parts, one after the other.
///
/// # Panics
///
/// If a part is missing behind the ones before it.
pub fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let found = rest.split_once(part);
        rest = found.unwrap_or_else(|| panic!("{part}: {text}")).1;
    }
}
