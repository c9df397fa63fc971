//! The words of the contract that a client reads in a successful answer.

/// The words that are as long as a secret that is removed from a successful answer. Shorter words,
/// such as `allow`, need no entry, because short secrets are not removed.
const WORDS: [&str; 28] = [
    // Decisions, outcomes and codes of a verification.
    "escalate",
    "permit_already_used",
    "permit_consumed",
    "permit_expired",
    "permit_not_found",
    "permit_revoked",
    "verified",
    // The codes of errors in a batch.
    "bad_request",
    "bad_response",
    "forbidden",
    "invalid_api_key",
    "rate_limited",
    "server_error",
    // Permits and receipts.
    "cancelled",
    "completed",
    "consumed",
    // Escalations.
    "approved",
    "auto_approved",
    "escalated",
    "escalation_chain_exhausted",
    "manual_expire",
    "rejected",
    "simple_majority",
    "single_approver",
    "sla_expired",
    "timed_out",
    "two_thirds",
    "unanimous",
];

/// Returns whether a text is a word of the contract. Showing such a word reveals nothing, even if a
/// secret of the request is the same word.
pub(super) fn is_contract_word(text: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decision;
    use crate::error::{Code, PermitOutcome};
    use crate::wire::{EscalationStatus, ExpiredReason, PermitStatus, QuorumTier, ReceiptOutcome};

    #[test]
    fn every_long_word_that_a_client_reads_is_listed() {
        let mut words = vec![
            Decision::Escalate.as_str().to_owned(),
            "verified".to_owned(),
        ];
        for outcome in [
            PermitOutcome::Consumed,
            PermitOutcome::Expired,
            PermitOutcome::Revoked,
            PermitOutcome::NotFound,
        ] {
            words.extend([outcome.as_str(), outcome.error_code()].map(str::to_owned));
        }
        let codes = [
            Code::InvalidApiKey,
            Code::Forbidden,
            Code::RateLimited,
            Code::BadRequest,
            Code::ServerError,
            Code::BadResponse,
        ];
        words.extend(codes.map(|code| code.as_str().to_owned()));
        let ends = [ReceiptOutcome::Completed, ReceiptOutcome::Cancelled];
        words.extend(ends.map(|end| end.as_str().to_owned()));
        let permits = [PermitStatus::Verified, PermitStatus::Consumed];
        words.extend(permits.map(|status| status.as_str().to_owned()));
        let rows = [
            EscalationStatus::Escalated,
            EscalationStatus::Approved,
            EscalationStatus::Rejected,
            EscalationStatus::AutoApproved,
            EscalationStatus::TimedOut,
        ];
        words.extend(rows.map(|status| status.as_str().to_owned()));
        let tiers = [
            QuorumTier::SingleApprover,
            QuorumTier::SimpleMajority,
            QuorumTier::TwoThirds,
            QuorumTier::Unanimous,
        ];
        words.extend(tiers.map(|tier| tier.as_str().to_owned()));
        let reasons = [
            ExpiredReason::SlaExpired,
            ExpiredReason::EscalationChainExhausted,
            ExpiredReason::ManualExpire,
        ];
        words.extend(reasons.map(|reason| reason.as_str().to_owned()));
        for word in words {
            assert!(is_contract_word(&word), "{word}");
        }
        assert!(!is_contract_word("escalate it"));
    }
}
