//! The console (feature `console`): pages for the people who approve, in the binary itself.
//!
//! Pages are made on the server, escaped by `maud`, and work without scripts: htmx only refreshes
//! lists. A request passes the same [entry](super::entry) as those of programs, with a session in
//! the place of the API key. `session` and `cookie` hold who is logged in, `login` and
//! `issuer_login` let people in, `csrf` and `form` keep other sites out, `visit` is the request of
//! a page, `layout` and `text` are how pages look, and `pages` are the pages, each for the
//! organization of its session alone.

mod cookie;
mod csrf;
mod error_page;
mod form;
#[cfg(feature = "oidc")]
mod issuer_login;
mod layout;
mod login;
mod pages;
mod session;
mod text;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::api_error::ApiError;
use super::app::App;
use super::entry::caller::Credentials;
use super::entry::{self, Audience, Entry, SlotKind};
#[cfg(feature = "oidc")]
use super::oidc::login::CALLBACK_PATH;
use crate::keys::{ApiKey, ApiScope};
use crate::store::{RateCounter, Store};
pub(super) use error_page::ErrorPage;
use session::Sessions;

/// The error code for a request without a session.
const NO_SESSION: &str = "NO_SESSION";

/// The state of a console.
#[derive(Debug, Default)]
pub(super) struct Console {
    sessions: Sessions,
    /// The logins that are under way at an issuer.
    #[cfg(feature = "oidc")]
    logins: issuer_login::Logins,
    /// Whether the server itself has TLS.
    pub(super) is_tls: bool,
}

/// Builds the router of the console. A new page gets its line here.
pub(super) fn router<S: Store + RateCounter>(app: &Arc<App<S>>) -> Router<Arc<App<S>>> {
    let timeout = app.settings.request_timeout;
    let visitors = Router::new().route(
        "/console/login",
        get(login::show::<S>).post(login::log_in::<S>),
    );
    #[cfg(feature = "oidc")]
    let visitors = visitors
        .route("/console/login/oidc", get(issuer_login::begin::<S>))
        .route(CALLBACK_PATH, get(issuer_login::finish::<S>));
    let people = Router::new()
        .route("/console/logout", post(login::log_out::<S>))
        .route("/console/approvals", get(pages::approvals::list::<S>))
        .route("/console/approvals/rows", get(pages::approvals::rows::<S>))
        .route("/console/approvals/{id}", get(pages::approval::show::<S>))
        .route(
            "/console/approvals/{id}/state",
            get(pages::approval::state_alone::<S>),
        )
        .route("/console/approvals/{id}/vote", post(pages::vote::cast::<S>));
    let people = people
        .route("/console/decisions", get(pages::decisions::show::<S>))
        .route("/console/decisions/rows", get(pages::decisions::rows::<S>))
        .route("/console/permits", get(pages::permits::list::<S>))
        .route("/console/permits/{id}", get(pages::story::show::<S>))
        .route("/console/budgets", get(pages::budgets::show::<S>))
        .route("/console/trail", get(pages::trail::show::<S>))
        .route(
            "/console/stops",
            get(pages::stops::list::<S>).post(pages::stops::set::<S>),
        )
        .route("/console/stops/{id}/lift", post(pages::stops::lift::<S>))
        .route("/console/policies", get(pages::policies::show::<S>))
        .route("/console/policies/try", post(pages::try_out::answer::<S>));
    // Checking a whole chain takes as long as exporting it.
    let long = Router::new().route("/console/trail/check", get(pages::trail::check::<S>));
    let pages = behind_entry(visitors, app, timeout, Audience::Visitors)
        .merge(behind_entry(people, app, timeout, Audience::People))
        .merge(behind_entry(
            long,
            app,
            app.settings.export_timeout,
            Audience::People,
        ));
    let assets = Router::new()
        .route(layout::STYLE_PATH, get(layout::style))
        .route(layout::HTMX_PATH, get(layout::htmx))
        .route("/console", get(home))
        .route("/console/", get(home));
    pages.merge(assets).layer(map_response(secure))
}

/// Puts the [entry](entry::pass) in front of pages.
fn behind_entry<S: Store + RateCounter>(
    pages: Router<Arc<App<S>>>,
    app: &Arc<App<S>>,
    timeout: Duration,
    audience: Audience,
) -> Router<Arc<App<S>>> {
    let app = Arc::clone(app);
    let entry = Entry {
        app,
        timeout,
        slots: SlotKind::Requests,
        audience,
    };
    pages.route_layer(from_fn_with_state(entry, entry::pass::<S>))
}

async fn home() -> Redirect {
    Redirect::to("/console/approvals")
}

/// The content security policy of all pages: scripts and styles from this server's files alone,
/// nothing inline, no frames, and forms to this server alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds the headers that keep pages out of caches, frames and referrers, and scripts out of pages.
async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The two files of the layout say for themselves how long they are kept.
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    response
}

/// Finds the session of a request, and the API key that it stands for.
///
/// The key is looked up again each time. A key that was revoked, has expired, belongs to another
/// organization or is no approver's any more ends the session. The key that stands for a person of
/// an issuer is in the session, and expires with it.
pub(super) fn authenticate<S>(
    app: &App<S>,
    request: &mut Request,
) -> Result<Credentials, ApiError> {
    check_visitor(request)?;
    let console = app.console.as_ref().ok_or_else(no_session)?;
    let now = app.clock.now();
    let id = cookie::read(request.headers(), cookie::SESSION).ok_or_else(no_session)?;
    let is_refresh = request.headers().contains_key(error_page::HX_REQUEST);
    let session = console.sessions.find(id, is_refresh, now);
    let session = session.ok_or_else(no_session)?;
    let key = match &session.person {
        Some(person) => Some(Arc::clone(person)),
        None => app.keys.find_by_digest(&session.key),
    };
    let is_good = |key: &Arc<ApiKey>| {
        key.is_active_at(now) && key.org_id == session.org && check_approver(key).is_ok()
    };
    let Some(key) = key.filter(is_good) else {
        console.sessions.end(&session);
        return Err(no_session());
    };
    let credentials = Credentials::from_session(key, session.secret());
    request.extensions_mut().insert(session);
    Ok(credentials)
}

/// Checks that a request that may change something comes from a page of this server.
pub(super) fn check_visitor(request: &Request) -> Result<(), ApiError> {
    match request.method().is_safe() {
        true => Ok(()),
        false => csrf::check_origin(request.headers(), request.uri()),
    }
}

/// Checks that an API key is that of a person who approves.
fn check_approver(key: &ApiKey) -> Result<(), ApiError> {
    match key.approver.is_some() && key.scopes.contains(&ApiScope::Approve) {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            "NOT_AN_APPROVER",
            "this API key belongs to no person who approves: create one with `atlasent key create --approver NAME`",
        )),
    }
}

fn no_session() -> ApiError {
    ApiError::unauthorized(NO_SESSION, "nobody is logged in here: log in")
}

/// Redirects after a form, so that reloading the page does not send it again.
fn see(path: &str) -> Response {
    Redirect::to(path).into_response()
}
