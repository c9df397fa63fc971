//! The page of an error.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::csrf::is_from_elsewhere;
use super::text::shown;
use super::{NO_SESSION, layout};
use crate::server::api_error::ApiError;
use crate::server::entry::request_id::RequestId;

/// The header by which htmx says that it replaces a part of a page.
pub(super) const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");

/// The header that sends the whole page of htmx elsewhere.
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// What the page of an error depends on.
#[derive(Debug)]
pub(in crate::server) struct ErrorPage {
    /// Whether htmx replaces a part of a page.
    is_part: bool,
    /// The page that was asked for. Unset for a form.
    asked: Option<String>,
    /// Whether another site led here. The browser then sent no cookie.
    is_from_elsewhere: bool,
}

impl ErrorPage {
    pub(in crate::server) fn new(request: &Request) -> Self {
        let is_safe = request.method().is_safe();
        Self {
            is_part: request.headers().contains_key(HX_REQUEST),
            asked: is_safe.then(|| request.uri().path().to_owned()),
            is_from_elsewhere: is_from_elsewhere(request.headers()),
        }
    }

    /// Builds the response of an error. Without a session, a page leads to the login.
    pub(in crate::server) fn respond(&self, error: &ApiError, id: &RequestId) -> Response {
        if error.code == NO_SESSION {
            if self.is_part {
                let to_login = (HX_REDIRECT, HeaderValue::from_static("/console/login"));
                return (StatusCode::UNAUTHORIZED, [to_login]).into_response();
            }
            if let Some(asked) = &self.asked {
                return self.to_login(asked);
            }
        }
        let title = match error.status {
            StatusCode::UNAUTHORIZED => "You are not logged in",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            status if status.is_server_error() => "Not possible now",
            _ => "Refused",
        };
        let content = html! {
            h1 { (title) }
            p.problem role="alert" { (shown(error.message())) }
            p { a href="/console/approvals" { "Go to the approvals" } }
            p.hint { "Code " code { (error.code) } ", request " code { (shown(&id.0)) } }
        };
        let document = layout::document(title, &html! {}, &content);
        let mut response = layout::respond(document);
        *response.status_mut() = error.status;
        if let Some(seconds) = error.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }

    /// Redirects to the login, which leads back.
    fn to_login(&self, asked: &str) -> Response {
        let next = utf8_percent_encode(asked, NON_ALPHANUMERIC);
        let linked = if self.is_from_elsewhere {
            "&linked=1"
        } else {
            ""
        };
        Redirect::to(&format!("/console/login?next={next}{linked}")).into_response()
    }
}
