//! The login page, logging in with an approver's API key, and logging out.

use std::sync::Arc;

use axum::extract::{Request, State};
#[cfg(feature = "oidc")]
use axum::http::Uri;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use secrecy::{ExposeSecret, SecretString};

use super::cookie::{self, Lasting};
use super::form::{CSRF, Form};
use super::session::{random_token, same_token};
use super::text::shown;
use super::visit::Visit;
use super::{Console, check_approver, layout, see};
use crate::keys::ApiKey;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::{self, Credentials};
use crate::server::entry::count_call;
use crate::server::input::query::Query;
use crate::store::{RateCounter, Store};

/// The longest API key, in characters.
const LONGEST_KEY: usize = 512;

/// The longest path to return to, in characters.
pub(super) const LONGEST_PATH: usize = 256;

/// The length of the token of a login form, in characters.
const TOKEN: usize = 43;

/// Answers `GET /console/login`.
///
/// The form's token is that of a cookie: without a session there is nothing else to bind it to.
/// Another site can neither read nor send the cookie, so it cannot log a person in under a key of
/// its own.
pub(super) async fn show<S: Store>(
    State(app): State<Arc<App<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let next = query
        .text("next", LONGEST_PATH)?
        .filter(|next| is_ours(next));
    let is_linked = query.text("linked", 1)?.is_some();
    let known = cookie::read(request.headers(), cookie::LOGIN);
    let known = known.filter(|token| token.len() == TOKEN);
    let token = match known {
        Some(token) => SecretString::from(token.to_owned()),
        None => random_token()?,
    };
    let issuer = issuer(&app);
    let page = page(token.expose_secret(), next, is_linked, issuer.as_deref());
    let is_secure = is_secure(&app, &request);
    let cookie = cookie::set(
        cookie::LOGIN,
        token.expose_secret(),
        is_secure,
        Lasting::Session,
    );
    let mut response = layout::respond(page);
    set_cookies(&mut response, [cookie]);
    Ok(response)
}

/// Returns the host of the issuer at which people can log in, if there is one.
#[cfg(feature = "oidc")]
fn issuer<S>(app: &App<S>) -> Option<String> {
    let oidc = app.oidc.as_ref()?;
    oidc.login()?;
    let uri: Uri = oidc.issuer().parse().ok()?;
    uri.host().map(str::to_owned)
}

#[cfg(not(feature = "oidc"))]
const fn issuer<S>(_: &App<S>) -> Option<String> {
    None
}

/// `issuer` is the host of the issuer at which people can log in.
fn page(token: &str, next: Option<&str>, is_linked: bool, issuer: Option<&str>) -> Markup {
    // A path of the console has no character that a query gives a meaning to.
    let at_issuer = match next {
        Some(next) => format!("/console/login/oidc?next={next}"),
        None => "/console/login/oidc".to_owned(),
    };
    let content = html! {
        div.login {
            h1 { "Log in" }
            @if let (Some(next), true) = (next, is_linked) {
                p { "If you are logged in already, " a href=(next) { "go on" } "." }
            }
            @if let Some(issuer) = issuer {
                p { a.button #issuer href=(at_issuer) { "Log in with " (shown(issuer)) } }
                p.hint { "Or with an API key:" }
            }
            form method="post" action="/console/login" {
                input type="hidden" name=(CSRF) value=(token);
                @if let Some(next) = next { input type="hidden" name="next" value=(next); }
                label for="key" { "API key of an approver" }
                input #key type="password" name="key" autocomplete="current-password" required autofocus[issuer.is_none()]
                    maxlength=(LONGEST_KEY) spellcheck="false" aria-describedby="key-hint";
                p.hint #key-hint {
                    "From " code { "atlasent key create --approver NAME" } ". It is not kept: logging in starts a session on this server."
                }
                button type="submit" { "Log in" }
            }
        }
    };
    layout::document("Log in", &html! {}, &content)
}

/// Answers `POST /console/login`: starts a session under a new id.
pub(super) async fn log_in<S: Store + RateCounter>(
    State(app): State<Arc<App<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let console = console(&app)?;
    let address = caller::address(&app, &request);
    let is_secure = is_secure(&app, &request);
    let headers = request.headers().clone();
    let known = cookie::read(&headers, cookie::LOGIN).unwrap_or_default();
    let is_ours_token = |sent: &str| known.len() == TOKEN && same_token(known, sent);
    let form = Form::read_checked(request, is_ours_token).await?;
    let key = SecretString::from(form.required("key", LONGEST_KEY)?.trim().to_owned());
    let credentials = Credentials::from_api_key(&app, key, address).await?;
    credentials.check_network(address)?;
    check_approver(&credentials.key)?;
    count_call(&app, &credentials.key).await?;
    let now = app.clock.now();
    end_session(console, &headers, now);
    let id = console.sessions.start(&credentials.key, now)?;
    let next = form.text("next", LONGEST_PATH)?;
    let next = next.filter(|next| is_ours(next));
    let mut response = see(next.as_deref().unwrap_or("/console/approvals"));
    begin_session(&mut response, &credentials.key, &id, is_secure);
    Ok(response)
}

/// Gives the browser the id of its session in place of the token of the login form, and logs the
/// login.
pub(super) fn begin_session(
    response: &mut Response,
    key: &ApiKey,
    id: &SecretString,
    is_secure: bool,
) {
    tracing::info!(target: "atlasent", key_id = key.key_id, "an approver has logged in to the console");
    let id = id.expose_secret();
    let session = cookie::set(cookie::SESSION, id, is_secure, Lasting::Session);
    let form = cookie::set(cookie::LOGIN, "", is_secure, Lasting::Removed);
    set_cookies(response, [session, form]);
}

/// Ends the session of a browser that logs in anew.
pub(super) fn end_session(console: &Console, headers: &HeaderMap, now: Timestamp) {
    if let Some(older) = cookie::read(headers, cookie::SESSION)
        && let Some(older) = console.sessions.find(older, false, now)
    {
        console.sessions.end(&older);
    }
}

/// Answers `POST /console/logout`.
pub(super) async fn log_out<S: Store>(
    visit: Visit<S>,
    request: Request,
) -> Result<Response, ApiError> {
    let is_secure = is_secure(&visit.app, &request);
    Form::read(request, &visit.session).await?;
    console(&visit.app)?.sessions.end(&visit.session);
    let mut response = see("/console/login");
    let removed = cookie::set(cookie::SESSION, "", is_secure, Lasting::Removed);
    set_cookies(&mut response, [removed]);
    Ok(response)
}

pub(super) fn set_cookies<const N: usize>(response: &mut Response, cookies: [HeaderValue; N]) {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

pub(super) fn console<S>(app: &App<S>) -> Result<&Console, ApiError> {
    app.console.as_ref().ok_or_else(super::no_session)
}

pub(super) fn is_secure<S>(app: &App<S>, request: &Request) -> bool {
    let is_tls = app.console.as_ref().is_some_and(|console| console.is_tls);
    let address = caller::address(app, request);
    cookie::is_secure(is_tls, address, request.headers(), request.uri())
}

/// Returns whether a path is one of the console, so that a login leads nowhere else.
pub(super) fn is_ours(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    path.starts_with("/console/") && !path.contains("//") && path.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_the_console_and_nowhere_else() {
        for ours in ["/console/approvals", "/console/approvals/esc_0f3a-9"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "",
            "/",
            "/consoles/x",
            "//evil.example/console/",
            "/console//evil.example",
            "/console/../v1",
            "/console/x?y=1",
            "/console/%2e%2e",
            "/console/\\evil",
            "https://evil.example/console/",
            "/console/a\nb",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn the_page_has_no_path_that_is_not_the_consoles() {
        let page = page("t", None, true, None).into_string();
        assert!(!page.contains("go on"));
        assert!(!page.contains("/console/login/oidc"));
        assert!(page.contains(r#"action="/console/login""#));
    }
}
