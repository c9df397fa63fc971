//! Why a request was not let through, and what that is in HTTP and in gRPC.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::time::Duration;
use std::{fmt, iter};

use ati_client::Error as AtiError;
use atlasent::error::{Code, Failure};
use atlasent::text::Escaped;
use atlasent::{Denied, Error};
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use crate::{Respond, problem};

/// Why a request was not let through. None of the variants ever means that it may be, after all.
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
/// Its `Display` is for logs and says everything, on one line whatever a request, a token or an
/// authority put into it; what the caller is told is [`detail`](Self::detail).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody knows who is asking.
    #[error("the agent is not known: {0}")]
    Unauthenticated(#[from] Unauthenticated),
    /// The agent's token does not grant a scope.
    #[error("the agent's token does not grant the scope `{scope}`")]
    MissingScope {
        /// The scope.
        scope: String,
    },
    /// The agent calls more often than its token allows.
    #[error("{}", Escaped::new(reason))]
    RateExceeded {
        /// Which rate is used up.
        reason: String,
        /// When to come back. `None` if that will never help.
        retry_after: Option<Duration>,
    },
    /// The authority said no, or not yet.
    #[error(transparent)]
    Denied(Box<Denied>),
    /// Nobody could decide: the authority, or what counts calls and tokens, gave no usable answer.
    #[error("nobody could decide: {}", Escaped::new(&cause.to_string()))]
    Unavailable {
        /// What happened.
        cause: Box<dyn StdError + Send + Sync>,
        /// When to come back, where that is known.
        retry_after: Option<Duration>,
    },
    /// The service is not set up to decide. What is wrong is logged and never sent.
    #[error(transparent)]
    Misconfigured(Misconfiguration),
    /// Nothing can be decided about a request such as this one.
    #[error("nothing can be decided about this request: {}", Escaped::new(.0))]
    BadRequest(String),
    /// No route of this path was declared.
    #[error("no such route was declared")]
    NotFound,
    /// The route was declared, and not for this method.
    #[error("the route was not declared for this method")]
    MethodNotAllowed,
}

/// Says why a service cannot decide. It is logged and never sent.
///
/// `Display` includes the [`cause`](Self::cause), on one line. The [`source`](StdError::source) is
/// what caused the cause, such as an error of TLS.
///
/// ```
/// use atlasent::error::ConfigError;
/// use atlasent_tower::Refusal;
///
/// let refusal = Refusal::from(atlasent::Error::from(ConfigError::new("no authority")));
/// let Refusal::Misconfigured(why) = &refusal else { unreachable!() };
/// assert_eq!(why.to_string(), "the service is not set up to decide: no authority");
/// assert!(why.cause().is::<atlasent::Error>());
/// ```
#[derive(Debug)]
pub struct Misconfiguration {
    cause: Box<dyn StdError + Send + Sync>,
}

impl Misconfiguration {
    /// Returns the error that says what is wrong, such as an [`atlasent::Error`] or an
    /// [`ati_client::Error`].
    #[must_use]
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.cause
    }
}

impl fmt::Display for Misconfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause.to_string();
        write!(
            f,
            "the service is not set up to decide: {}",
            Escaped::new(&cause)
        )
    }
}

impl StdError for Misconfiguration {
    /// The text of the cause is in this error's own, so the next error is the cause's source.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}

/// What was wrong with who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthenticated {
    /// There is no token.
    #[error("the request has no token: send it as `Authorization: Bearer <token>`")]
    NoToken,
    /// The header `Authorization` cannot be read, or can be read in two ways.
    #[error("the header `Authorization` {0}: send one, as `Authorization: Bearer <token>`")]
    BadHeader(&'static str),
    /// The header `Authorization` is of another scheme than `Bearer`.
    #[error(
        "the header `Authorization` is not of the scheme `Bearer`: send one, as `Authorization: Bearer <token>`"
    )]
    OtherScheme,
    /// The token may not be believed.
    #[error(transparent)]
    BadToken(AtiError),
    /// The token is genuine, and its `sub` cannot be an agent's name.
    #[error("the token's `sub` names no agent: {}", Escaped::new(.0))]
    BadSubject(String),
    /// What should name the agent, such as a trusted header, does not.
    #[error("{}", Escaped::new(.0))]
    NoAgent(String),
}

impl Refusal {
    /// Nothing can be decided about a request, for a reason that its sender is told.
    #[must_use]
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::BadRequest(why.into())
    }

    /// The service is not set up to decide, for a reason that is logged and never sent: a text, or
    /// the error that says so.
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

    /// The HTTP status.
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

    /// The gRPC status code.
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

    /// When to come back, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateExceeded { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            Self::Denied(denied) => denied.retry_after(),
            _ => None,
        }
    }

    /// The refusal, where the authority said no.
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Denied(denied) => Some(denied),
            _ => None,
        }
    }

    /// What the caller is told: for its own mistakes what they are, and of ours only that there was
    /// one.
    #[must_use]
    pub fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable { .. } => {
                "whether this may be done could not be decided: try again later".into()
            }
            Self::Misconfigured(_) => "the service cannot decide whether this may be done".into(),
            Self::Unauthenticated(why) => why.to_string().into(),
            other => other.to_string().into(),
        }
    }

    /// Puts it to the caller, as `responder` does it, and tells `tracing`: what the caller is not
    /// told stands only there.
    pub fn answer(&self, responder: &dyn Respond, request: &Parts) -> Response<Bytes> {
        self.log();
        responder.respond(self, request)
    }

    fn log(&self) {
        let status = self.status().as_u16();
        match self {
            // The path to a permit has told of it.
            Self::Denied(_) => {}
            Self::Misconfigured(_) | Self::Unavailable { .. } => {
                let causes = causes(self);
                let causes = causes.as_deref();
                tracing::error!(target: "atlasent", status, error = %self, causes, "not let through");
            }
            _ => tracing::info!(target: "atlasent", status, reason = %self, "not let through"),
        }
    }

    /// The refusal as problem details (RFC 9457), as [`ProblemDetails`](crate::ProblemDetails)
    /// describes them; for where no layer answers.
    #[must_use]
    pub fn to_problem(&self) -> Response<Bytes> {
        self.log();
        problem::response(self)
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
            Error::Failed(failure) if is_ours(&failure) => {
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

/// Joins the texts of the errors that caused a wrong set-up. Those of a failed call are in its
/// message, without secrets.
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

/// Whether the authority does not take our questions as we ask them. Asking again does not help
/// then.
fn is_ours(failure: &Failure) -> bool {
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
            | AtiError::Replayed
            | AtiError::BadRate { .. } => Unauthenticated::BadToken(error).into(),
            // The rest is about keys and settings, which are the service's.
            other => Self::misconfigured(other),
        }
    }
}

#[cfg(feature = "tonic")]
impl From<Refusal> for tonic::Status {
    /// The status of the table, with what the caller is told; for methods that return it with `?`.
    fn from(refusal: Refusal) -> Self {
        refusal.log();
        let headers = crate::grpc::metadata(&refusal);
        Self::with_metadata(
            tonic::Code::from_i32(refusal.grpc_code()),
            crate::grpc::message(&refusal),
            tonic::metadata::MetadataMap::from_headers(headers),
        )
    }
}
