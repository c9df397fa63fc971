//! The data of a refusal, and the outcomes of a failed verification.

use std::fmt;
use std::time::Duration;

use crate::text::Escaped;
use crate::{Agent, Decision};

/// The reason why a permit failed its verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PermitOutcome {
    /// The permit was used already.
    Consumed,
    /// The permit expired.
    Expired,
    /// The permit was revoked.
    Revoked,
    /// The authority does not know the permit.
    NotFound,
}

impl PermitOutcome {
    /// Returns the word on the wire, in the field `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consumed => "permit_consumed",
            Self::Expired => "permit_expired",
            Self::Revoked => "permit_revoked",
            Self::NotFound => "permit_not_found",
        }
    }

    /// Returns the code on the wire, in the field `verify_error_code`.
    #[must_use]
    pub const fn error_code(self) -> &'static str {
        match self {
            Self::Consumed => "PERMIT_ALREADY_USED",
            Self::Expired => "PERMIT_EXPIRED",
            Self::Revoked => "PERMIT_REVOKED",
            Self::NotFound => "PERMIT_NOT_FOUND",
        }
    }

    /// Reads the word of `outcome` or the code of `verify_error_code`.
    pub(crate) fn from_wire(word: &str) -> Option<Self> {
        [Self::Consumed, Self::Expired, Self::Revoked, Self::NotFound]
            .into_iter()
            .find(|outcome| word == outcome.as_str() || word == outcome.error_code())
    }
}

/// The data of a refusal: the request reached a decision, and the action must not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    // Private, so that no code can build a refusal whose decision is `allow`.
    pub(crate) decision: Decision,
    pub(crate) action: String,
    pub(crate) agent: Agent,
    pub(crate) reason: String,
    pub(crate) code: Option<String>,
    pub(crate) explanation: Vec<String>,
    pub(crate) evaluation_id: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) escalation_id: Option<String>,
    pub(crate) approval_url: Option<String>,
    pub(crate) audit_hash: Option<String>,
    pub(crate) outcome: Option<PermitOutcome>,
    pub(crate) missing_scope: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl Denied {
    /// Creates a deny with a reason and no further data.
    pub(crate) fn new(action: String, agent: Agent, reason: String) -> Self {
        Self {
            decision: Decision::Deny,
            action,
            agent,
            reason,
            code: None,
            explanation: Vec::new(),
            evaluation_id: None,
            request_id: None,
            escalation_id: None,
            approval_url: None,
            audit_hash: None,
            outcome: None,
            missing_scope: None,
            retry_after: None,
        }
    }

    /// Returns `deny`, `hold` or `escalate`, never `allow`. It is `deny` for a permit that failed
    /// its verification.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// Returns the name of the requested action, unescaped.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Returns the agent that asked.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Returns the authority's reason, unescaped.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the authority's code for the reason, for programs.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Returns the explanation for the operator's log: one line a policy, with file, line and
    /// column. Do not show it to the agent. `Display` leaves it out.
    ///
    /// An authority in this process lists the policies that failed to evaluate. With
    /// [`RequestOptions::explain`](crate::wire::RequestOptions::explain) it also lists the policies
    /// that decided. A server sends lines only with that option. The lines quote no value of the
    /// request. They are unescaped: print one with [`Escaped`].
    #[must_use]
    pub fn explanation(&self) -> &[String] {
        &self.explanation
    }

    /// Returns the authority's id of the evaluation, to quote when asking about it.
    #[must_use]
    pub fn evaluation_id(&self) -> Option<&str> {
        self.evaluation_id.as_deref()
    }

    /// Returns the id of the refused request, to find it in the authority's log: the id in the
    /// answer, or else the `X-Request-ID` that the client sent. For a permit that failed its
    /// verification, it is the id of the verification.
    ///
    /// It is unset for a missing scope, since no authority was asked.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the id of the escalation that waits for a person, if the authority opened one.
    #[must_use]
    pub fn escalation_id(&self) -> Option<&str> {
        self.escalation_id.as_deref()
    }

    /// Returns the URL where a person can decide on the escalation, if the authority sent one.
    #[must_use]
    pub fn approval_url(&self) -> Option<&str> {
        self.approval_url.as_deref()
    }

    /// Returns the hash of the audit event that recorded the evaluation.
    #[must_use]
    pub fn audit_hash(&self) -> Option<&str> {
        self.audit_hash.as_deref()
    }

    /// Returns the reason why the permit failed its verification, if the evaluation had allowed the
    /// action.
    #[must_use]
    pub fn permit_outcome(&self) -> Option<PermitOutcome> {
        self.outcome
    }

    /// Returns the ATI scope that the agent's token lacks, if the action was refused for that. The
    /// authority was not asked in this case.
    #[must_use]
    pub fn missing_scope(&self) -> Option<&str> {
        self.missing_scope.as_deref()
    }

    /// Returns how long to wait before asking again, if the authority said so. Servers pass it on
    /// as `Retry-After`. It is unset for a permit that failed its verification.
    ///
    /// ```
    /// use std::time::Duration;
    /// use atlasent::testing::{MockAuthority, Reply};
    /// use atlasent::wire::Evaluation;
    /// use atlasent::{AnyAction, Decision, blocking};
    ///
    /// let mut hold = Evaluation::refuse(Decision::Hold, "waits for the change window");
    /// hold.retry_after = Some(Duration::from_secs(300));
    /// let authority = MockAuthority::new().on_evaluate("deploy", Reply::Answer(hold));
    ///
    /// let error = blocking::protect(&authority, "bot", AnyAction::new("deploy")?).unwrap_err();
    /// assert_eq!(error.denied().unwrap().retry_after(), Some(Duration::from_secs(300)));
    /// # Ok::<(), atlasent::Error>(())
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the permit was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.outcome == Some(PermitOutcome::Revoked)
    }

    /// Returns whether the permit had expired.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.outcome == Some(PermitOutcome::Expired)
    }

    /// Returns whether the permit had been used already.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.outcome == Some(PermitOutcome::Consumed)
    }

    /// Returns whether the authority did not know the permit.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.outcome == Some(PermitOutcome::NotFound)
    }
}

/// Writes one line: line breaks, terminal controls and invisible characters in action, agent and
/// reason are escaped. The accessors return the texts unescaped; print them with [`Escaped`].
impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.decision {
            Decision::Hold => "is on hold",
            Decision::Escalate => "needs escalation",
            Decision::Allow | Decision::Deny => "is denied",
        };
        write!(
            f,
            "`{}` {verb} for agent `{}`: {}",
            Escaped::new(&self.action),
            Escaped::new(self.agent.as_str()),
            Escaped::new(&self.reason)
        )
    }
}

impl std::error::Error for Denied {}
