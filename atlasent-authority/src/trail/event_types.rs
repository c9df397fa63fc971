//! The types of events, and suggestions for misspelt ones.

/// The types of the audit chain's events, in the order of the contract (part B).
pub const EVENT_TYPES: [&str; 23] = [
    "evaluate.allow",
    "evaluate.deny",
    "evaluate.hold",
    "evaluate.escalate",
    "evaluate.replayed",
    "permit.verified",
    "permit.verify_failed",
    "permit.revoked",
    "permit.completed",
    "permit.failed",
    "permit.cancelled",
    "policy.loaded",
    "policy.error",
    "approval.requested",
    "approval.voted",
    "approval.granted",
    "approval.rejected",
    "approval.expired",
    "stop.set",
    "stop.lifted",
    "key.created",
    "key.revoked",
    "audit.archived",
];

/// Returns the type that a text is probably a misspelling of.
pub(crate) fn most_like(text: &str) -> Option<&'static str> {
    let likeness = |kind: &&str| strsim::jaro_winkler(kind, text);
    let best = EVENT_TYPES
        .into_iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&best) > 0.85).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_word() {
        assert_eq!(most_like("evaluate.denied"), Some("evaluate.deny"));
        assert_eq!(most_like("permit_verified"), Some("permit.verified"));
        assert_eq!(most_like("nothing"), None);
        assert_eq!(most_like(""), None);
    }
}
