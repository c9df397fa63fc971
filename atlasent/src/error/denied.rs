//! A refusal, and what a verification can say of a permit.

use std::fmt;
use std::time::Duration;

use crate::text::Escaped;
use crate::{Agent, Decision};

/// What a verification said of a permit that did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PermitOutcome {
    /// The permit was used before.
    Consumed,
    /// The permit's time is over.
    Expired,
    /// The permit was taken back.
    Revoked,
    /// The authority does not know the permit.
    NotFound,
}

impl PermitOutcome {
    /// The word that stands on the wire as `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consumed => "permit_consumed",
            Self::Expired => "permit_expired",
            Self::Revoked => "permit_revoked",
            Self::NotFound => "permit_not_found",
        }
    }

    /// The word that stands on the wire as `verify_error_code`.
    #[must_use]
    pub const fn error_code(self) -> &'static str {
        match self {
            Self::Consumed => "PERMIT_ALREADY_USED",
            Self::Expired => "PERMIT_EXPIRED",
            Self::Revoked => "PERMIT_REVOKED",
            Self::NotFound => "PERMIT_NOT_FOUND",
        }
    }

    /// Reads either of the two words.
    pub(crate) fn from_wire(word: &str) -> Option<Self> {
        [Self::Consumed, Self::Expired, Self::Revoked, Self::NotFound]
            .into_iter()
            .find(|outcome| word == outcome.as_str() || word == outcome.error_code())
    }
}

/// A refusal: the action was asked for, and may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    // Private, so that a refusal cannot be built that says `allow`.
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
    /// A deny with its reason, and nothing else.
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

    /// `deny`, `hold` or `escalate`; never `allow`. A permit that failed its verification is a
    /// `deny`.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// The name of the action that was asked for, as it came: `Display` escapes it.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Who asked.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Why, in the authority's words, as they came: `Display` escapes them.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Why, as the authority's code for programs.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// How the refusal came about, one line a policy, with its file, line and column: for the
    /// operator's log, not for the agent. `Display` leaves it out.
    ///
    /// An authority in this process tells which policies could not be evaluated, and why. With
    /// [`RequestOptions::explain`](crate::wire::RequestOptions::explain) it also tells which policies
    /// decided, and a server tells any of it only then. The lines quote no value of the request.
    /// They may hold any character, as they came: [`Escaped`] prints one.
    #[must_use]
    pub fn explanation(&self) -> &[String] {
        &self.explanation
    }

    /// The authority's id of the evaluation, to ask a person about.
    #[must_use]
    pub fn evaluation_id(&self) -> Option<&str> {
        self.evaluation_id.as_deref()
    }

    /// The id of the request that was refused, to find it in the authority's log: the answer's own,
    /// else the `X-Request-ID` that the client sent. Where the permit failed its verification, it
    /// is that call's.
    ///
    /// A refusal for a missing scope has none, since no authority was asked.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The id of the escalation that waits for a person, when the authority opened one.
    #[must_use]
    pub fn escalation_id(&self) -> Option<&str> {
        self.escalation_id.as_deref()
    }

    /// Where a person can decide on the escalation, when the authority says so.
    #[must_use]
    pub fn approval_url(&self) -> Option<&str> {
        self.approval_url.as_deref()
    }

    /// The hash of the audit event that recorded the evaluation.
    #[must_use]
    pub fn audit_hash(&self) -> Option<&str> {
        self.audit_hash.as_deref()
    }

    /// What was wrong with the permit, when the evaluation allowed and the verification refused.
    #[must_use]
    pub fn permit_outcome(&self) -> Option<PermitOutcome> {
        self.outcome
    }

    /// The ATI scope that the agent's token does not grant, when that is why. No authority was
    /// asked then.
    #[must_use]
    pub fn missing_scope(&self) -> Option<&str> {
        self.missing_scope.as_deref()
    }

    /// How long to wait before asking again makes sense, where the authority said so: what a server
    /// would pass on as `Retry-After`. A permit that failed its verification says none.
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

    /// Whether the permit had been taken back.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.outcome == Some(PermitOutcome::Revoked)
    }

    /// Whether the permit's time was over.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.outcome == Some(PermitOutcome::Expired)
    }

    /// Whether the permit had been used before.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.outcome == Some(PermitOutcome::Consumed)
    }

    /// Whether the authority did not know the permit.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.outcome == Some(PermitOutcome::NotFound)
    }
}

/// Displays on one line whatever action, agent and reason hold: line breaks, terminal controls and
/// invisible characters are escaped. The accessors return the texts as they came; [`Escaped`]
/// prints one of them.
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
