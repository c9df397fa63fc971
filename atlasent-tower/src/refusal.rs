//! Says why a request was refused, and maps that to HTTP and gRPC.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::time::Duration;
use std::{fmt, iter};

use ati_client::Error as AtiError;
use atlasent::error::{Code, Failure};
use atlasent::text::Escaped;
use atlasent::{Decision, Denied, Error};
use http::StatusCode;

/// When to retry a request with an open escalation, if the authority does not say.
const APPROVAL_RETRY: Duration = Duration::from_secs(30);

/// Why a request was refused. A variant never means that the request may pass after all.
///
/// | variant | HTTP | gRPC |
/// |---|---|---|
/// | [`Unauthenticated`](Self::Unauthenticated) | 401 | 16 `UNAUTHENTICATED` |
/// | [`MissingScope`](Self::MissingScope) | 403 | 7 `PERMISSION_DENIED` |
/// | [`RateExceeded`](Self::RateExceeded) | 429 | 8 `RESOURCE_EXHAUSTED` |
/// | [`Denied`](Self::Denied) | 403 | 7 `PERMISSION_DENIED` |
/// | [`Unavailable`](Self::Unavailable) | 503 | 14 `UNAVAILABLE` |
/// | [`Misconfigured`](Self::Misconfigured) | 500 | 13 `INTERNAL` |
/// | [`BadRequest`](Self::BadRequest) | 400 | 3 `INVALID_ARGUMENT` |
/// | [`NotFound`](Self::NotFound) | 404 | 12 `UNIMPLEMENTED` |
/// | [`MethodNotAllowed`](Self::MethodNotAllowed) | 405 | 12 `UNIMPLEMENTED` |
///
/// `Display` is for logs and includes all details, on one line whatever a request, a token or an
/// authority sent. [`detail`](Self::detail) is the text for the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The caller is not authenticated.
    #[error("the caller is not authenticated: {0}")]
    Unauthenticated(#[from] Unauthenticated),
    /// The token of the agent does not grant a required scope.
    #[error("the agent's token does not grant the scope `{}`", Escaped::new(scope))]
    MissingScope {
        /// The scope.
        scope: String,
    },
    /// The agent calls more often than its token allows.
    #[error("{}", Escaped::new(reason))]
    RateExceeded {
        /// Says which rate is exceeded.
        reason: String,
        /// When to retry. `None` if a retry cannot succeed.
        retry_after: Option<Duration>,
    },
    /// The authority refused the action: `deny`, `hold` or `escalate`.
    #[error(transparent)]
    Denied(Box<Denied>),
    /// The authority, the rate store or the replay guard failed, so the request was not decided.
    #[error("the authorization could not be decided: {}", Escaped::new(&cause.to_string()))]
    Unavailable {
        /// The error that caused it.
        cause: Box<dyn StdError + Send + Sync>,
        /// When to retry, if known.
        retry_after: Option<Duration>,
    },
    /// The service is misconfigured. The cause is logged and never sent.
    #[error(transparent)]
    Misconfigured(Misconfiguration),
    /// The request is invalid.
    #[error("the request is invalid: {}", Escaped::new(.0))]
    BadRequest(String),
    /// The path matches no declared route.
    #[error("no such route is declared")]
    NotFound,
    /// The route does not declare this method.
    #[error("the route does not declare this method")]
    MethodNotAllowed,
}

/// The reason why a service cannot authorize requests. It is logged and never sent.
///
/// `Display` includes the [`cause`](Self::cause), on one line. The [`source`](StdError::source) is
/// the source of the cause, such as a TLS error.
///
/// ```
/// use atlasent::error::ConfigError;
/// use atlasent_tower::Refusal;
///
/// let refusal = Refusal::from(atlasent::Error::from(ConfigError::new("no authority")));
/// let Refusal::Misconfigured(why) = &refusal else { unreachable!() };
/// assert_eq!(why.to_string(), "the service is misconfigured: no authority");
/// assert!(why.cause().is::<atlasent::Error>());
/// ```
#[derive(Debug)]
pub struct Misconfiguration {
    cause: Box<dyn StdError + Send + Sync>,
}

impl Misconfiguration {
    /// Returns the error that describes the misconfiguration, such as an [`atlasent::Error`] or an
    /// [`ati_client::Error`].
    #[must_use]
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.cause
    }
}

impl fmt::Display for Misconfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause.to_string();
        write!(f, "the service is misconfigured: {}", Escaped::new(&cause))
    }
}

impl StdError for Misconfiguration {
    /// Returns the source of the cause, since the text of the cause is part of this error's own
    /// text.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}

/// Why a caller was not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthenticated {
    /// The request has no token.
    #[error("the request has no token: send it as `Authorization: Bearer <token>`")]
    NoToken,
    /// The header `Authorization` is invalid or ambiguous.
    #[error("the header `Authorization` {0}: send one, as `Authorization: Bearer <token>`")]
    BadHeader(&'static str),
    /// The header `Authorization` has another scheme than `Bearer`.
    #[error(
        "the header `Authorization` has another scheme than `Bearer`: send it as `Authorization: Bearer <token>`"
    )]
    OtherScheme,
    /// The token is invalid.
    #[error(transparent)]
    BadToken(AtiError),
    /// The token is valid, but its `sub` is not a valid name of an agent.
    #[error("the token's `sub` is not a valid agent: {}", Escaped::new(.0))]
    BadSubject(String),
    /// The token is valid, but an actor in its `act` is not a valid name of an agent.
    #[error("an actor in the token's `act` is not a valid agent: {}", Escaped::new(.0))]
    BadActor(String),
    /// The agent is missing or invalid where it is read from, such as a trusted header.
    #[error("{}", Escaped::new(.0))]
    NoAgent(String),
}

impl Refusal {
    /// Creates a refusal of an invalid request. The caller gets the reason.
    #[must_use]
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::BadRequest(why.into())
    }

    /// Creates a refusal because of a misconfiguration. The reason, a text or an error, is logged
    /// and never sent.
    #[must_use]
    pub fn misconfigured(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Misconfigured(Misconfiguration { cause: why.into() })
    }

    fn unavailable(
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
        retry_after: Option<Duration>,
    ) -> Self {
        Self::Unavailable {
            cause: cause.into(),
            retry_after,
        }
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::MissingScope { .. } | Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::RateExceeded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Returns the gRPC status code.
    #[must_use]
    pub fn grpc_code(&self) -> i32 {
        match self {
            Self::BadRequest(_) => 3,
            Self::MissingScope { .. } | Self::Denied(_) => 7,
            Self::RateExceeded { .. } => 8,
            Self::NotFound | Self::MethodNotAllowed => 12,
            Self::Misconfigured(_) => 13,
            Self::Unavailable { .. } => 14,
            Self::Unauthenticated(_) => 16,
        }
    }

    /// Returns when to retry, if known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateExceeded { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            Self::Denied(denied) => denied
                .retry_after()
                .or_else(|| is_open(denied).then_some(APPROVAL_RETRY)),
            _ => None,
        }
    }

    /// Returns the decision of the authority, if the authority refused the action.
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Denied(denied) => Some(denied),
            _ => None,
        }
    }

    /// Returns the text for the caller. It describes mistakes of the caller, and hides the details
    /// of failures and misconfigurations of the service.
    #[must_use]
    pub fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable { .. } => {
                "the request could not be authorized: try again later".into()
            }
            Self::Misconfigured(_) => "the service cannot authorize requests".into(),
            Self::Unauthenticated(why) => why.to_string().into(),
            other => other.to_string().into(),
        }
    }

    /// Logs the refusal, with the details that the caller does not get.
    pub(crate) fn log(&self) {
        let status = self.status().as_u16();
        match self {
            // The decision is already logged.
            Self::Denied(_) => {}
            Self::Misconfigured(_) | Self::Unavailable { .. } => {
                let causes = causes(self);
                let causes = causes.as_deref();
                tracing::error!(target: "atlasent", status, error = %self, causes, "request refused");
            }
            _ => tracing::info!(target: "atlasent", status, reason = %self, "request refused"),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(denied) => match denied.missing_scope() {
                Some(scope) => Self::MissingScope {
                    scope: scope.to_owned(),
                },
                None => Self::Denied(denied),
            },
            Error::Failed(failure) if is_misconfiguration(&failure) => {
                Self::misconfigured(Error::Failed(failure))
            }
            Error::Failed(failure) => {
                let retry_after = failure.retry_after();
                Self::unavailable(failure, retry_after)
            }
            other => Self::misconfigured(other),
        }
    }
}

/// Joins the texts of the errors that caused a misconfiguration. The causes of a failed call are
/// already in its message, without secrets.
fn causes(refusal: &Refusal) -> Option<String> {
    let Refusal::Misconfigured(why) = refusal else {
        return None;
    };
    let Some(Error::Config(error)) = why.cause().downcast_ref() else {
        return None;
    };
    let mut causes = iter::successors(error.source(), |cause| StdError::source(*cause));
    let mut text = Escaped::new(&causes.next()?.to_string()).to_string();
    for cause in causes {
        text.push_str(": ");
        text.push_str(&Escaped::new(&cause.to_string()).to_string());
    }
    Some(text)
}

/// Whether the refused request waits for approvers, who may still decide.
fn is_open(denied: &Denied) -> bool {
    denied.escalation_id().is_some() && denied.decision() != Decision::Deny
}

/// Whether the authority rejected the request of the service itself, so that a retry does not help.
fn is_misconfiguration(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        Code::InvalidApiKey | Code::Forbidden | Code::BadRequest
    )
}

impl From<AtiError> for Refusal {
    fn from(error: AtiError) -> Self {
        match error {
            AtiError::RateExceeded { retry_after, .. } => Self::RateExceeded {
                reason: error.to_string(),
                retry_after,
            },
            AtiError::RateLimiterFull { retry_after } => {
                Self::unavailable(error, Some(retry_after))
            }
            AtiError::RateStoreFailed { .. } | AtiError::ReplayGuardFull { .. } => {
                Self::unavailable(error, None)
            }
            AtiError::Malformed { .. }
            | AtiError::TooLong { .. }
            | AtiError::WrongAlgorithm { .. }
            | AtiError::UnknownKey
            | AtiError::UnknownVersion { .. }
            | AtiError::BadSignature
            | AtiError::Expired { .. }
            | AtiError::NotYetValid { .. }
            | AtiError::WrongAudience
            | AtiError::WrongIssuer
            | AtiError::MissingClaim { .. }
            | AtiError::WrongType { .. }
            | AtiError::MoreThanParent { .. }
            | AtiError::BadDelegation { .. }
            | AtiError::TooManyActors
            | AtiError::Replayed
            | AtiError::BadRate { .. } => Unauthenticated::BadToken(error).into(),
            // The other errors are about keys and settings of the service.
            other => Self::misconfigured(other),
        }
    }
}
