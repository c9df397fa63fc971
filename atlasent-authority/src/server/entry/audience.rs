//! The senders of an endpoint's requests: how they prove who they are, and the form of their
//! errors.

use std::net::IpAddr;

use axum::extract::Request;
use axum::response::Response;

use super::caller::Credentials;
use super::request_id::RequestId;
use crate::server::api_error::ApiError;
use crate::server::app::App;
#[cfg(feature = "console")]
use crate::server::console::{self, ErrorPage};

/// The senders of an endpoint's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Programs, which send an API key or a token.
    Programs,
    /// People who are logged in to the console.
    #[cfg(feature = "console")]
    People,
    /// People who are not logged in yet.
    #[cfg(feature = "console")]
    Visitors,
}

impl Audience {
    /// Authenticates the sender of a request. Visitors have no credentials yet.
    pub(super) async fn authenticate<S>(
        self,
        app: &App<S>,
        request: &mut Request,
        address: Option<IpAddr>,
    ) -> Result<Option<Credentials>, ApiError> {
        match self {
            Self::Programs => Credentials::authenticate(app, request.headers(), address)
                .await
                .map(Some),
            #[cfg(feature = "console")]
            Self::People => console::authenticate(app, request).map(Some),
            #[cfg(feature = "console")]
            Self::Visitors => console::check_visitor(request).map(|()| None),
        }
    }
}

/// The form of the errors of a request.
#[derive(Debug)]
pub(super) enum ErrorForm {
    /// JSON (contract, part B).
    Json,
    /// A page of the console.
    #[cfg(feature = "console")]
    Page(ErrorPage),
}

impl ErrorForm {
    #[cfg_attr(
        not(feature = "console"),
        allow(
            unused_variables,
            reason = "programs get the same form for each request"
        )
    )]
    pub(super) fn new(audience: Audience, request: &Request) -> Self {
        match audience {
            Audience::Programs => Self::Json,
            #[cfg(feature = "console")]
            Audience::People | Audience::Visitors => Self::Page(ErrorPage::new(request)),
        }
    }

    /// Returns the error of the API for a response that was built elsewhere. Returns `None` for
    /// pages of the console, which explain the error themselves.
    pub(super) fn error_of(&self, response: &Response) -> Option<ApiError> {
        match self {
            Self::Json => ApiError::from_status(response.status()),
            #[cfg(feature = "console")]
            Self::Page(_) => None,
        }
    }

    /// Builds the response of an error.
    pub(super) fn respond(&self, error: &ApiError, id: &RequestId) -> Response {
        match self {
            Self::Json => error.respond(id),
            #[cfg(feature = "console")]
            Self::Page(page) => page.respond(error, id),
        }
    }
}
