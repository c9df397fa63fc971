//! Constants that name actions, compared with the policies while the program compiles.
//!
//! The expansions call these functions in constants. A constant that panics is a compile error,
//! whose message is the text of the panic.

use std::mem::ManuallyDrop;

use crate::agent::MAX_NAME;
use crate::{Action, AnyAction, Error};

/// The value of a constant that an attribute names by its path. A macro sees the path alone, so the
/// value's type tells a name from an action.
///
/// The value is not dropped, since a constant cannot run a destructor.
#[derive(Debug)]
pub struct Constant<T>(ManuallyDrop<T>);

impl<T> Constant<T> {
    /// Wraps the value.
    pub const fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl Constant<&'static str> {
    /// Returns the name.
    pub const fn name(self) -> Option<&'static str> {
        Some(ManuallyDrop::into_inner(self.0))
    }
}

impl<A: Action> Constant<A> {
    /// Returns `None`: the constant is an action, which is checked where it is derived.
    pub const fn name(self) -> Option<&'static str> {
        None
    }
}

/// A constant that `action` can name: a `&str`, or a value that implements [`Action`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name an action",
    label = "this constant is no `&str`, and does not implement `atlasent::Action`",
    note = "name an action by a constant: `const DEPLOY: &str = \"deploy.production\";`"
)]
pub trait ConstantAction {
    /// The type of the action.
    type Action: Action;

    /// Returns the action.
    fn into_action(self) -> Result<Self::Action, Error>;
}

#[diagnostic::do_not_recommend]
impl ConstantAction for &'static str {
    type Action = AnyAction;

    fn into_action(self) -> Result<AnyAction, Error> {
        AnyAction::new(self)
    }
}

#[diagnostic::do_not_recommend]
impl<A: Action> ConstantAction for A {
    type Action = A;

    fn into_action(self) -> Result<A, Error> {
        Ok(self)
    }
}

/// Returns the type's name, if the constant is an action and not a name.
pub const fn type_name(name: Option<&str>, written: &'static str) -> Option<&'static str> {
    match name {
        Some(_) => None,
        None => Some(written),
    }
}

/// Why a site does not fit the action that its constant names.
#[allow(
    clippy::large_enum_variant,
    reason = "a constant cannot allocate, and no value exists at run time"
)]
#[derive(Debug)]
pub enum Problem {
    /// It fits.
    None,
    /// A text that the macro wrote.
    Text(&'static str),
    /// A text that holds the name.
    Name(Message),
}

impl Problem {
    /// Whether there is a problem.
    pub const fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Returns the text of the compiler's error.
    pub const fn text(&self) -> &str {
        match self {
            Self::None => "",
            Self::Text(text) => text,
            Self::Name(message) => message.as_str(),
        }
    }
}

/// Returns why a text cannot be the name of an action.
pub const fn invalid_name(name: Option<&str>) -> Problem {
    match name {
        Some(name) if name.is_empty() => {
            Problem::Text("the action's name is empty: write one, such as \"deploy.production\"")
        }
        Some(name) if characters(name) > MAX_NAME => Problem::Text(
            "the action's name has more than 256 characters: shorten it to 256 or fewer",
        ),
        _ => Problem::None,
    }
}

/// Returns why the policies do not know a name. `actions` are the names that they know, and
/// `advice` lists some of them.
pub const fn unknown_action(name: Option<&str>, actions: &[&str], advice: &str) -> Problem {
    let Some(name) = name else {
        return Problem::None;
    };
    // An invalid name is reported as such.
    if invalid_name(Some(name)).is_some() {
        return Problem::None;
    }
    let mut nearest = "";
    let mut most = 0;
    let mut rest = actions;
    while let [action, others @ ..] = rest {
        if same(action, name) {
            return Problem::None;
        }
        let common = common_ends(action.as_bytes(), name.as_bytes());
        if common > most {
            (nearest, most) = (action, common);
        }
        rest = others;
    }
    let message = Message::new().with("unknown action `").with(name);
    let longest = if nearest.len() > name.len() {
        nearest.len()
    } else {
        name.len()
    };
    // At most a third of the letters may differ. With more, the suggestion would mislead.
    Problem::Name(match most > 0 && (longest - most) * 3 <= longest {
        true => message.with("`: did you mean `").with(nearest).with("`?"),
        false => message.with("`: ").with(advice),
    })
}

/// Returns the error of a site that names an action, from the errors of some actions.
pub const fn misfit(name: Option<&str>, errors: &[(&str, &'static str)]) -> Problem {
    match entry(name, errors) {
        Some(error) => Problem::Text(error),
        None => Problem::None,
    }
}

/// Returns the entry of a table for an action.
const fn entry<T: Copy>(name: Option<&str>, entries: &[(&str, T)]) -> Option<T> {
    let Some(name) = name else {
        return None;
    };
    let mut rest = entries;
    while let [(action, entry), others @ ..] = rest {
        if same(action, name) {
            return Some(*entry);
        }
        rest = others;
    }
    None
}

/// Returns the number of an action's type of value, or `other` for an action that is not listed.
pub const fn kind(name: Option<&str>, kinds: &[(&str, usize)], other: usize) -> usize {
    match entry(name, kinds) {
        Some(kind) => kind,
        None => other,
    }
}

/// The text of an error, made while the program compiles.
#[derive(Debug)]
pub struct Message {
    text: [u8; Self::LONGEST],
    length: usize,
}

impl Message {
    /// How many bytes a message has at most. The rest is cut off.
    const LONGEST: usize = 4096;

    const fn new() -> Self {
        Self {
            text: [0; Self::LONGEST],
            length: 0,
        }
    }

    /// Adds a text.
    const fn with(mut self, text: &str) -> Self {
        let mut bytes = text.as_bytes();
        let (_, mut free) = self.text.split_at_mut(self.length);
        while let ([byte, others @ ..], [place, unused @ ..]) = (bytes, free) {
            *place = *byte;
            self.length += 1;
            (bytes, free) = (others, unused);
        }
        self
    }

    /// Returns the text.
    pub const fn as_str(&self) -> &str {
        let (text, _) = self.text.split_at(self.length);
        match std::str::from_utf8(text) {
            Ok(text) => text,
            // Cut off within a character.
            Err(error) => match std::str::from_utf8(text.split_at(error.valid_up_to()).0) {
                Ok(text) => text,
                Err(_) => "",
            },
        }
    }
}

/// Returns the number of characters.
const fn characters(text: &str) -> usize {
    let mut bytes = text.as_bytes();
    let mut count = 0;
    while let [byte, rest @ ..] = bytes {
        // Not the second, third or fourth byte of a character.
        if *byte & 0b1100_0000 != 0b1000_0000 {
            count += 1;
        }
        bytes = rest;
    }
    count
}

const fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && common_start(one.as_bytes(), other.as_bytes()) == one.len()
}

/// Returns how many bytes two texts have in common at the start and at the end. One slip of the
/// hand, wherever it is, leaves all but two.
const fn common_ends(one: &[u8], other: &[u8]) -> usize {
    let start = common_start(one, other);
    let (_, mut one) = one.split_at(start);
    let (_, mut other) = other.split_at(start);
    let mut end = 0;
    while let ([before @ .., a], [other_before @ .., b]) = (one, other) {
        if *a != *b {
            break;
        }
        end += 1;
        (one, other) = (before, other_before);
    }
    start + end
}

const fn common_start(mut one: &[u8], mut other: &[u8]) -> usize {
    let mut start = 0;
    while let ([a, rest @ ..], [b, other_rest @ ..]) = (one, other) {
        if *a != *b {
            break;
        }
        start += 1;
        (one, other) = (rest, other_rest);
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIONS: [&str; 2] = ["deploy.production", "look"];

    fn unknown(name: &str) -> Option<String> {
        let problem = unknown_action(Some(name), &ACTIONS, "the schema declares these");
        problem.is_some().then(|| problem.text().to_owned())
    }

    #[test]
    fn a_slip_of_a_constant_gets_a_suggestion() {
        for slip in [
            "deploy.prodcution",
            "deploy.productio",
            "eploy.production",
            "deploy.productionn",
            "deploi.production",
        ] {
            assert_eq!(
                unknown(slip).unwrap(),
                format!("unknown action `{slip}`: did you mean `deploy.production`?")
            );
        }
        assert_eq!(
            unknown("colour").unwrap(),
            "unknown action `colour`: the schema declares these"
        );
        assert_eq!(unknown("look"), None);
        assert!(!unknown_action(None, &ACTIONS, "").is_some());
        assert!(unknown_action(Some("look"), &[], "none").is_some());
    }

    #[test]
    fn a_name_has_1_to_256_characters_not_bytes() {
        assert!(invalid_name(Some("")).text().contains("empty"));
        assert!(!invalid_name(Some(&"ü".repeat(MAX_NAME))).is_some());
        let long = "ü".repeat(MAX_NAME + 1);
        assert!(invalid_name(Some(&long)).text().contains("256"));
        assert!(unknown(&long).is_none() && unknown("").is_none());
        assert!(!invalid_name(None).is_some());
    }

    #[test]
    fn a_long_message_is_cut_off_between_characters() {
        let message = Message::new().with("a").with(&"ü".repeat(5000));
        assert_eq!(message.as_str().len(), Message::LONGEST - 1);
    }

    #[test]
    fn an_entry_is_that_of_the_action() {
        let errors = [("a", "one"), ("ab", "two")];
        assert_eq!(misfit(Some("ab"), &errors).text(), "two");
        assert!(!misfit(Some("b"), &errors).is_some());
        assert!(!misfit(None, &errors).is_some());
        let kinds = [("a", 1), ("ab", 2)];
        assert_eq!(kind(Some("ab"), &kinds, 3), 2);
        assert_eq!(kind(Some("b"), &kinds, 3), 3);
    }
}
