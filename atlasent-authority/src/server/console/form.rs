//! The forms of the console.

use std::fmt;
use std::str::FromStr;

use axum::extract::Request;

use super::session::Session;
use crate::server::api_error::ApiError;
use crate::server::input::body;
use crate::server::input::query::{Query, check_length};

/// The largest form, in bytes: a context to try policies on is the longest of its fields.
const MAX_FORM: usize = 256 * 1024;

/// The name of the field with the token.
pub(super) const CSRF: &str = "csrf";

/// The longest token, in characters.
const LONGEST_TOKEN: usize = 128;

/// The fields of a form that the console itself has sent: its token was checked.
pub(super) struct Form(Query);

impl Form {
    /// Reads a form of a session. There is no other way to the fields of a page's form, so none is
    /// read without its token.
    pub(super) async fn read(request: Request, session: &Session) -> Result<Self, ApiError> {
        Self::read_checked(request, |sent| session.has_csrf(sent)).await
    }

    /// Reads a form whose token is checked by `is_ours`.
    pub(super) async fn read_checked(
        request: Request,
        is_ours: impl FnOnce(&str) -> bool,
    ) -> Result<Self, ApiError> {
        let bytes = body::read_form(request, MAX_FORM).await?;
        let not_utf8 = |_| ApiError::unreadable("INVALID_FORM", "the form is not UTF-8");
        let text = String::from_utf8(bytes).map_err(not_utf8)?;
        let fields = Query::parse(&text)?;
        let sent = fields.text(CSRF, LONGEST_TOKEN)?.unwrap_or_default();
        match is_ours(sent) {
            true => Ok(Self(fields)),
            false => Err(ApiError::forbidden(
                "CSRF_TOKEN",
                "this form is not of your session, so nothing was changed: open the page again, and send it from there",
            )),
        }
    }

    /// Returns the text of a field, at most `most` characters long. Returns `None` for white space
    /// alone. A line break, which browsers send as two characters, counts as one.
    pub(super) fn text(&self, name: &str, most: usize) -> Result<Option<String>, ApiError> {
        // The form itself is bounded.
        let text = self.0.text(name, usize::MAX)?;
        let text = text.map(|text| text.replace("\r\n", "\n"));
        if let Some(text) = &text {
            check_length(name, text, most)?;
        }
        Ok(text.filter(|text| !text.trim().is_empty()))
    }

    /// The text of a field that may not be missing.
    pub(super) fn required(&self, name: &str, most: usize) -> Result<String, ApiError> {
        let missing = || ApiError::invalid(format!("`{name}` is missing: fill it in"));
        self.text(name, most)?.ok_or_else(missing)
    }

    /// The value of a field. `what` says how to write one.
    pub(super) fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, ApiError> {
        let text = self.text(name, 64)?;
        let wrong = |_| ApiError::invalid(format!("`{name}` has to be {what}"));
        text.map(|text| text.trim().parse().map_err(wrong))
            .transpose()
    }
}

/// No value: an API key may be among them.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").finish_non_exhaustive()
    }
}
