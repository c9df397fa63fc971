//! The request of a page: who visits it, and what the visitor may see.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use super::form::CSRF;
use super::layout::{self, Section};
use super::session::Session;
use crate::keys::ApiScope;
use crate::ledger::approval::Approver;
use crate::local::LocalAuthority;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::store::Store;

/// The request of a page, by a person who is logged in.
pub(super) struct Visit<S> {
    pub(super) app: Arc<App<S>>,
    pub(super) caller: Arc<ApiCaller<S>>,
    pub(super) session: Arc<Session>,
}

impl<S: Store> FromRequestParts<Arc<App<S>>> for Visit<S> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<App<S>>,
    ) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Arc<ApiCaller<S>>>();
        let session = parts.extensions.get::<Arc<Session>>();
        // The entry has put both there.
        let (Some(caller), Some(session)) = (caller, session) else {
            return Err(super::no_session());
        };
        Ok(Self {
            app: Arc::clone(app),
            caller: Arc::clone(caller),
            session: Arc::clone(session),
        })
    }
}

impl<S> Visit<S> {
    /// The authority of the visitor's organization.
    pub(super) fn authority(&self) -> &LocalAuthority<S> {
        self.caller.authority()
    }

    /// The person who visits, with the roles of now.
    pub(super) fn approver(&self) -> Result<&Approver, ApiError> {
        let approver = self.caller.key.approver.as_ref();
        approver.ok_or_else(super::no_session)
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Whether the visitor's API key has a scope.
    pub(super) fn has(&self, scope: ApiScope) -> bool {
        self.caller.key.scopes.contains(&scope)
    }

    /// Builds a page.
    pub(super) fn page(&self, section: Section, title: &str, content: &Markup) -> Response {
        let sections = Section::ALL.into_iter();
        let sections: Vec<Section> = sections
            .filter(|section| section.is_open_to(|scope| self.has(scope)))
            .collect();
        let person = self.caller.key.approver.as_ref();
        let org = self.caller.org.id.as_str();
        let bar = layout::bar(&sections, section, person, org, &self.token());
        layout::respond(layout::document(title, &bar, content))
    }

    /// The hidden field with the session's token. Each form has one.
    pub(super) fn token(&self) -> Markup {
        html! { input type="hidden" name=(CSRF) value=(self.session.csrf()); }
    }
}
