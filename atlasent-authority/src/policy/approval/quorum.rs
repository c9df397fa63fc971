//! How many approvals release a hold: a number, or a share of a pool of approvers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest quorum, and the largest pool of a tier.
const MAX: u32 = 100;

/// How many approvals release a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Quorum {
    /// So many approvals.
    Number(u32),
    /// A share of a pool.
    Tier {
        /// The share.
        tier: QuorumTier,
        /// The number of approvers in the pool.
        of: u32,
        /// The least number of approvals, whatever the share is. Unset where the share alone
        /// counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<u32>,
    },
}

/// A share of a pool of approvers (contract, part D).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuorumTier {
    /// One approver, whatever the pool.
    SingleApprover,
    /// More than half of the pool.
    SimpleMajority,
    /// At least two thirds of the pool.
    TwoThirds,
    /// Everyone in the pool.
    Unanimous,
}

/// The tier as the contract names it, whose type also holds words that this version does not know.
impl From<QuorumTier> for atlasent::wire::QuorumTier {
    fn from(tier: QuorumTier) -> Self {
        match tier {
            QuorumTier::SingleApprover => Self::SingleApprover,
            QuorumTier::SimpleMajority => Self::SimpleMajority,
            QuorumTier::TwoThirds => Self::TwoThirds,
            QuorumTier::Unanimous => Self::Unanimous,
        }
    }
}

const TIERS: [(&str, QuorumTier); 4] = [
    ("single_approver", QuorumTier::SingleApprover),
    ("simple_majority", QuorumTier::SimpleMajority),
    ("two_thirds", QuorumTier::TwoThirds),
    ("unanimous", QuorumTier::Unanimous),
];

/// One approval.
impl Default for Quorum {
    fn default() -> Self {
        Self::Number(1)
    }
}

impl Quorum {
    /// Parses a number from 1 to 100, or a tier with its pool: `2`, `two_thirds of 5`.
    ///
    /// ```
    /// use atlasent_authority::policy::Quorum;
    ///
    /// assert_eq!(Quorum::parse("2")?.required(), 2);
    /// assert_eq!(Quorum::parse("two_thirds of 5")?.required(), 4);
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A message that says what is wrong with the quorum and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_for(text, None)
    }

    /// Parses a quorum. `people` is the number of people in a list of approvers that names only
    /// people; a tier is then a share of them.
    pub(super) fn parse_for(text: &str, people: Option<usize>) -> Result<Self, String> {
        let people = people.map(|people| u32::try_from(people).unwrap_or(u32::MAX));
        let mut words = text.split_whitespace();
        let quorum = match (words.next(), words.next(), words.next(), words.next()) {
            (Some(word), None, None, None) => match (number(word), tier(word), people) {
                (Some(number), ..) => Some(Self::Number(number)),
                (None, Some(tier), Some(of)) => Some(Self::share(tier, of)),
                (None, Some(tier @ QuorumTier::SingleApprover), None) => Some(Self::share(tier, 1)),
                (None, Some(_), None) => {
                    return Err(format!(
                        "`{text}` needs a number of approvers, since `@approvers` does not list \
                         people only: write it as in `{text} of 5`"
                    ));
                }
                (None, None, _) => None,
            },
            (Some(word), Some("of"), Some(pool), None) => {
                let found = tier(word).zip(number(pool));
                found.map(|(tier, of)| Self::share(tier, of))
            }
            _ => None,
        };
        let Some(quorum) = quorum else {
            let tiers = TIERS.map(|(word, _)| word).join("`, `");
            return Err(format!(
                "`{text}` is no quorum: use a number from `1` to `{MAX}`, or one of `{tiers}` with \
                 the number of approvers, as in `two_thirds of 5`"
            ));
        };
        match (quorum, people) {
            (Self::Tier { of, .. }, Some(people)) if of != people => Err(format!(
                "`{text}` contradicts `@approvers`, which lists {people}: leave `of {of}` out"
            )),
            (_, Some(people)) if quorum.required() > people => Err(format!(
                "`{text}` is more than the {people} that `@approvers` lists: lower the quorum, or \
                 list more"
            )),
            _ => Ok(quorum),
        }
    }

    /// Returns a share of a pool, which alone counts.
    const fn share(tier: QuorumTier, of: u32) -> Self {
        Self::Tier {
            tier,
            of,
            at_least: None,
        }
    }

    /// Returns how many approvals release the hold. At least 1.
    #[must_use]
    pub fn required(&self) -> u32 {
        let required = match *self {
            Self::Number(number) => number,
            Self::Tier { tier, of, at_least } => {
                let share = match tier {
                    QuorumTier::SingleApprover => 1,
                    QuorumTier::SimpleMajority => (of / 2).saturating_add(1),
                    // Rounded up, without multiplying a number that may be large.
                    QuorumTier::TwoThirds => of - of / 3,
                    QuorumTier::Unanimous => of,
                };
                share.max(at_least.unwrap_or(0))
            }
        };
        required.max(1)
    }
}

/// For people: `1 approval`, `4 approvals (two thirds of 5)`, or `5 approvals (two thirds of 5, at
/// least 5)`.
impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = self.required();
        let noun = if required == 1 {
            "approval"
        } else {
            "approvals"
        };
        write!(f, "{required} {noun}")?;
        match self {
            Self::Number(_)
            | Self::Tier {
                tier: QuorumTier::SingleApprover,
                ..
            } => Ok(()),
            Self::Tier { tier, of, at_least } => {
                let share = match tier {
                    QuorumTier::SingleApprover => "one",
                    QuorumTier::SimpleMajority => "more than half",
                    QuorumTier::TwoThirds => "two thirds",
                    QuorumTier::Unanimous => "all",
                };
                write!(f, " ({share} of {of}")?;
                if let Some(least) = at_least.filter(|least| *least == required) {
                    write!(f, ", at least {least}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Digits only, where Rust would accept `+2` as well.
fn number(word: &str) -> Option<u32> {
    let only_digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.parse().ok().filter(|_| only_digits)?;
    (1..=MAX).contains(&number).then_some(number)
}

fn tier(word: &str) -> Option<QuorumTier> {
    let mut tiers = TIERS.into_iter();
    tiers.find_map(|(name, tier)| (name == word).then_some(tier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_requires_its_share_of_the_pool() {
        for (pool, majority, two_thirds) in [
            (1, 1, 1),
            (2, 2, 2),
            (3, 2, 2),
            (4, 3, 3),
            (5, 3, 4),
            (6, 4, 4),
            (7, 4, 5),
            (100, 51, 67),
        ] {
            let required = |tier| Quorum::share(tier, pool).required();
            assert_eq!(required(QuorumTier::SingleApprover), 1);
            assert_eq!(required(QuorumTier::SimpleMajority), majority, "{pool}");
            assert_eq!(required(QuorumTier::TwoThirds), two_thirds, "{pool}");
            assert_eq!(required(QuorumTier::Unanimous), pool);
        }
        for pool in 0..=MAX {
            let tier = QuorumTier::TwoThirds;
            let ceiling = (2 * pool).div_ceil(3).max(1);
            assert_eq!(Quorum::share(tier, pool).required(), ceiling);
        }
    }

    #[test]
    fn a_share_can_have_a_least_number_of_approvals() {
        let quorum = |at_least| Quorum::Tier {
            tier: QuorumTier::TwoThirds,
            of: 5,
            at_least: Some(at_least),
        };
        for (at_least, required, shown) in [
            (0, 4, "4 approvals (two thirds of 5)"),
            (3, 4, "4 approvals (two thirds of 5)"),
            (5, 5, "5 approvals (two thirds of 5, at least 5)"),
            (7, 7, "7 approvals (two thirds of 5, at least 7)"),
        ] {
            let quorum = quorum(at_least);
            assert_eq!((quorum.required(), &*quorum.to_string()), (required, shown));
            let stored = serde_json::to_string(&quorum).unwrap();
            assert_eq!(serde_json::from_str::<Quorum>(&stored).unwrap(), quorum);
        }
    }

    #[test]
    fn a_stored_quorum_never_asks_for_no_approval() {
        for stored in [
            "0",
            r#"{"tier":"unanimous","of":0}"#,
            r#"{"tier":"two_thirds","of":0}"#,
        ] {
            let quorum: Quorum = serde_json::from_str(stored).unwrap();
            assert_eq!(quorum.required(), 1, "{stored}");
        }
    }

    #[test]
    fn a_tier_of_listed_people_needs_no_number() {
        let required = |text, people| Quorum::parse_for(text, people).unwrap().required();
        assert_eq!(required("unanimous", Some(3)), 3);
        assert_eq!(required("two_thirds", Some(5)), 4);
        assert_eq!(required("two_thirds of 5", Some(5)), 4);
        assert_eq!(required("single_approver", None), 1);
        assert_eq!(required("simple_majority  of 9", None), 5);
        assert_eq!(required("3", Some(3)), 3);
    }

    #[test]
    fn a_quorum_that_is_wrong_is_refused_with_advice() {
        for (text, people, message) in [
            (
                "0",
                None,
                "`0` is no quorum: use a number from `1` to `100`",
            ),
            ("101", None, "`101` is no quorum"),
            ("+2", None, "`+2` is no quorum"),
            ("two", None, "`two` is no quorum"),
            ("2 of 5", None, "`2 of 5` is no quorum"),
            ("two_thirds of 0", None, "`two_thirds of 0` is no quorum"),
            ("two_thirds 5", None, "`two_thirds 5` is no quorum"),
            (
                "two_thirds of 5 5",
                None,
                "`two_thirds of 5 5` is no quorum",
            ),
            (
                "unanimous",
                None,
                "`unanimous` needs a number of approvers, since `@approvers` does not list people \
                 only: write it as in `unanimous of 5`",
            ),
            (
                "3",
                Some(2),
                "`3` is more than the 2 that `@approvers` lists",
            ),
            (
                "two_thirds of 5",
                Some(2),
                "`two_thirds of 5` contradicts `@approvers`, which lists 2: leave `of 5` out",
            ),
        ] {
            let error = Quorum::parse_for(text, people).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn a_quorum_is_shown_as_a_person_would_say_it() {
        for (text, shown) in [
            ("1", "1 approval"),
            ("2", "2 approvals"),
            ("single_approver of 7", "1 approval"),
            ("simple_majority of 5", "3 approvals (more than half of 5)"),
            ("two_thirds of 5", "4 approvals (two thirds of 5)"),
            ("unanimous of 1", "1 approval (all of 1)"),
        ] {
            assert_eq!(Quorum::parse(text).unwrap().to_string(), shown);
        }
    }
}
