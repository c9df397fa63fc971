//! The labels of the metrics, and their escaping.

use std::borrow::Cow;
use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Decided {
    pub(super) action: Label,
    pub(super) decision: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) outcome: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PolicyDigest {
    pub(super) digest: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answered {
    pub(super) endpoint: Label,
    pub(super) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Code {
    pub(super) code: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Endpoint {
    pub(super) endpoint: Label,
}

/// The value of a label. It is escaped as OpenMetrics asks for, which the exposition crate leaves
/// to its callers: a quote or a line break would end the value, and begin a line of the caller's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Label(Cow<'static, str>);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                other => encoder.write_char(other)?,
            }
        }
        Ok(())
    }
}

impl Label {
    /// A label with characters replaced at which some readers break lines, and which OpenMetrics
    /// does not escape.
    pub(super) fn new(text: &str) -> Self {
        let breaks_lines = |character: char| {
            character != '\n' && (character.is_control() || "\u{2028}\u{2029}".contains(character))
        };
        Self(Cow::Owned(text.replace(breaks_lines, "\u{fffd}")))
    }
}

impl From<&'static str> for Label {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}
