//! The labels of the metrics, and their escaping.

use std::borrow::Cow;
use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DecisionLabels {
    pub(super) action: Label,
    pub(super) decision: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OrgDecisionLabels {
    pub(super) organization: Label,
    pub(super) decision: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ShadowLabels {
    pub(super) action: Label,
    pub(super) outcome: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    pub(super) outcome: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DigestLabel {
    pub(super) digest: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResponseLabels {
    pub(super) endpoint: Label,
    pub(super) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    pub(super) code: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OrgLabel {
    pub(super) organization: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndpointLabel {
    pub(super) endpoint: Label,
}

#[cfg(feature = "webhooks")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WebhookLabels {
    pub(super) endpoint: Label,
    pub(super) outcome: Label,
}

/// The value of a label, escaped by the rules of OpenMetrics, which `prometheus-client` leaves to
/// its users: an unescaped quote or line break would end the value, and let a caller forge a line.
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
    /// Creates a label. Replaces the characters at which some readers break lines although
    /// OpenMetrics does not escape them.
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
