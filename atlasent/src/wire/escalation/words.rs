//! The words of an escalation: its status, its quorum, and how it ends.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares an enum of words on the wire. A word that this version does not know is kept, so that
/// it costs no answer; each use says what such a word counts as.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_doc])* $variant,)*
            /// A word that this version does not know.
            Unknown(String),
        }

        impl $name {
            /// Returns the word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Unknown(word) => word,
                }
            }

            /// Returns whether this version knows the word. A server refuses a request with one
            /// that it does not know.
            #[must_use]
            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Unknown(_))
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => Self::$variant,)*
                    _ => Self::Unknown(word),
                }
            }
        }

        /// Writes the word on the wire. An unknown one is escaped and shortened.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&crate::text::redact::excerpt(self.as_str()), f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

words! {
    /// The status of an escalation.
    ///
    /// Only [`Approved`](Self::Approved) counts as approved: see
    /// [`is_approved`](Self::is_approved).
    EscalationStatus {
        /// The escalation waits for votes.
        Pending = "pending",
        /// The escalation was passed on to other approvers, and waits for votes.
        Escalated = "escalated",
        /// Enough approvers approved.
        Approved = "approved",
        /// The approvers rejected.
        Rejected = "rejected",
        /// A service approved without a person. It does not count as approved.
        AutoApproved = "auto_approved",
        /// The time for votes is over.
        TimedOut = "timed_out",
    }
}

impl EscalationStatus {
    /// Returns whether people approved. False for `auto_approved` and for unknown words.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        matches!(self, Self::Approved)
    }

    /// Returns whether the escalation still waits for votes: `pending` or `escalated`.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Pending | Self::Escalated)
    }
}

words! {
    /// How many approvers of a pool have to approve.
    QuorumTier {
        /// One approver.
        SingleApprover = "single_approver",
        /// More than half of the approvers.
        SimpleMajority = "simple_majority",
        /// At least two thirds of the approvers.
        TwoThirds = "two_thirds",
        /// All approvers.
        Unanimous = "unanimous",
    }
}

impl QuorumTier {
    /// Returns how many of `pool` approvers have to approve (contract, part D). An empty pool
    /// counts as one approver. An unknown tier needs all of them.
    ///
    /// ```
    /// use atlasent::wire::QuorumTier;
    ///
    /// assert_eq!(QuorumTier::SingleApprover.required(5), 1);
    /// assert_eq!(QuorumTier::SimpleMajority.required(4), 3);
    /// assert_eq!(QuorumTier::TwoThirds.required(5), 4);
    /// assert_eq!(QuorumTier::Unanimous.required(5), 5);
    /// ```
    #[must_use]
    pub fn required(&self, pool: u32) -> u32 {
        let pool = pool.max(1);
        match self {
            Self::SingleApprover => 1,
            Self::SimpleMajority => pool / 2 + 1,
            // Two thirds, rounded up, without an overflow: the pool minus a third, rounded down.
            Self::TwoThirds => pool - pool / 3,
            Self::Unanimous | Self::Unknown(_) => pool,
        }
    }
}

words! {
    /// What happens to an escalation whose time is over.
    FallbackDecision {
        /// The action stays refused.
        Reject = "reject",
        /// A service approves without a person. `atlasent serve` refuses this.
        Approve = "approve",
    }
}

words! {
    /// Why an escalation timed out.
    ExpiredReason {
        /// The time for votes was over.
        SlaExpired = "sla_expired",
        /// There were no further approvers to pass it on to.
        EscalationChainExhausted = "escalation_chain_exhausted",
        /// A person ended it.
        ManualExpire = "manual_expire",
    }
}

words! {
    /// The decision of one approver.
    VoteDecision {
        /// The approver approved.
        Approve = "approve",
        /// The approver rejected.
        Reject = "reject",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_approved_counts_as_approved() {
        for word in [
            "pending",
            "escalated",
            "rejected",
            "auto_approved",
            "timed_out",
            "APPROVED",
            "approved ",
            "approved\n",
            "",
            "granted",
        ] {
            let status = EscalationStatus::from(word.to_owned());
            assert!(!status.is_approved(), "{word:?}");
            assert_eq!(status.is_open(), matches!(word, "pending" | "escalated"));
        }
        assert!(EscalationStatus::from("approved".to_owned()).is_approved());
        assert!(!EscalationStatus::Approved.is_open());
    }

    #[test]
    fn a_word_is_kept_as_it_was_written_and_displays_on_one_line() {
        for word in ["two_thirds", "weighted", "a\nb", ""] {
            let tier = QuorumTier::from(word.to_owned());
            assert_eq!(serde_json::to_value(&tier).unwrap(), word);
            assert_eq!(tier.is_known(), word == "two_thirds");
            assert!(!tier.to_string().contains('\n'));
        }
        let text = serde_json::from_value::<VoteDecision>(serde_json::json!(1));
        assert!(text.is_err());
    }

    #[test]
    fn a_quorum_is_counted_as_the_contract_says() {
        use QuorumTier::{SimpleMajority, SingleApprover, TwoThirds, Unanimous};
        for pool in 0..200_u32 {
            let size = pool.max(1);
            assert_eq!(SingleApprover.required(pool), 1);
            assert_eq!(SimpleMajority.required(pool), size / 2 + 1);
            assert_eq!(TwoThirds.required(pool), (2 * size).div_ceil(3), "{pool}");
            assert_eq!(Unanimous.required(pool), size);
            assert_eq!(QuorumTier::Unknown("any".to_owned()).required(pool), size);
        }
        let all = [SimpleMajority, TwoThirds, Unanimous];
        assert!(
            all.iter()
                .all(|tier| tier.required(u32::MAX) > u32::MAX / 2)
        );
    }
}
