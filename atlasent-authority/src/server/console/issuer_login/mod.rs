//! Logging in at an OpenID Connect issuer: to the issuer, and back with a code.
//!
//! `binding` ties the way back to the browser that went, once and for a few minutes.

mod binding;

use std::net::IpAddr;
use std::sync::Arc;

use atlasent::text::Escaped;
use axum::extract::{Request, State};
use axum::http::header::{LOCATION, REFRESH};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;

use binding::LIFETIME;
pub(super) use binding::Logins;

use super::cookie;
use super::csrf::is_from_elsewhere;
use super::login::{
    LONGEST_PATH, begin_session, console, end_session, is_ours, is_secure, set_cookies,
};
use super::{layout, see};
use crate::keys::ApiKey;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::{self, wrong};
use crate::server::entry::count_call;
use crate::server::input::query::Query;
use crate::server::log_limit::log_outage;
use crate::server::oidc::OidcVerifier;
use crate::server::oidc::login::{LoginError, OidcLogin};
use crate::store::{RateCounter, Store};

/// The longest code, in characters.
const LONGEST_CODE: usize = 4_096;

/// The longest of the other parameters, in characters.
const LONGEST_PARAMETER: usize = 512;

/// Answers `GET /console/login/oidc`: leads to the issuer.
///
/// A link of another site leads to the login page instead, so that no site logs people in without
/// their doing. A session that the browser has ends here: on the way back, the browser does not
/// send its cookie.
pub(super) async fn begin<S: Store>(
    State(app): State<Arc<App<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (_, login) = issuer(&app)?;
    if is_from_elsewhere(request.headers()) {
        return Ok(see("/console/login"));
    }
    let console = console(&app)?;
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let next = query.text("next", LONGEST_PATH)?;
    let next = next.filter(|next| is_ours(next));
    let now = app.clock.now();
    let (ticket, binding) = console.logins.begin(next, now)?;
    let address = caller::address(&app, &request);
    let url = login.start_url(&binding).await;
    let url = url.map_err(|error| refusal(&app, address, &error))?;
    let location = HeaderValue::from_str(url.as_str())
        .map_err(|error| unavailable(&format!("authorization endpoint: {error}")))?;
    end_session(console, request.headers(), now);
    let mut response = (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
    let is_secure = is_secure(&app, &request);
    let cookie = cookie::set_issuer_login(&ticket, is_secure, LIFETIME.as_secs());
    set_cookies(&mut response, [cookie]);
    Ok(response)
}

/// Answers `GET /console/login/oidc/callback`: redeems the code, and starts a session under a new
/// id.
pub(super) async fn finish<S: Store + RateCounter>(
    State(app): State<Arc<App<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (oidc, login) = issuer(&app)?;
    let console = console(&app)?;
    let answer = Answer::read(&request)?;
    let address = caller::address(&app, &request);
    let is_secure = is_secure(&app, &request);
    let now = app.clock.now();
    // Nothing else of the answer counts before its state: anybody can send the rest.
    let ticket = cookie::read(request.headers(), cookie::ISSUER_LOGIN);
    let (next, binding) = console.logins.finish(ticket, &answer.state, now)?;
    let refused = |error: LoginError| refusal(&app, address, &error);
    let named = login.check_issuer(answer.issuer.as_deref(), oidc.issuer());
    named.await.map_err(refused)?;
    let code = answer.code.map_err(|error| {
        let error = Escaped::new(&error);
        tracing::info!(target: "atlasent", %error, "the issuer has refused a login to the console");
        ApiError::forbidden(
            "LOGIN_REFUSED",
            "the issuer did not log you in: log in again, or ask its operator",
        )
    })?;
    let person = oidc.log_in(login, &code, &binding).await.map_err(refused)?;
    let mut key = ApiKey::for_person(person.approver, oidc.issuer(), oidc.organization().clone());
    key.expires_at = Some(person.until);
    let key = Arc::new(key);
    count_call(&app, &key).await?;
    let id = console.sessions.start_of_person(Arc::clone(&key), now)?;
    let mut response = welcome(next.as_deref().unwrap_or("/console/approvals"))?;
    begin_session(&mut response, &key, &id, is_secure);
    set_cookies(&mut response, [cookie::set_issuer_login("", is_secure, 0)]);
    Ok(response)
}

/// What the issuer sends along (RFC 6749, 4.1.2; RFC 9207, 2).
struct Answer {
    state: String,
    /// The code, or the error in its place.
    code: Result<String, String>,
    issuer: Option<String>,
}

impl Answer {
    /// Reads the parameters. One that is repeated is refused (RFC 6749, 3.1).
    fn read(request: &Request) -> Result<Self, ApiError> {
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let text = |name, most| -> Result<Option<String>, ApiError> {
            Ok(query.text_once(name, most)?.map(str::to_owned))
        };
        let code = text("code", LONGEST_CODE)?;
        let error = text("error", LONGEST_PARAMETER)?;
        Ok(Self {
            state: text("state", LONGEST_PARAMETER)?.unwrap_or_default(),
            code: match (code, error) {
                (Some(code), None) => Ok(code),
                (_, error) => Err(error.unwrap_or_else(|| "no code".to_owned())),
            },
            issuer: text("iss", LONGEST_PARAMETER)?,
        })
    }
}

/// Returns the issuer at which people log in.
fn issuer<S>(app: &App<S>) -> Result<(&OidcVerifier, &OidcLogin), ApiError> {
    let found = app
        .oidc
        .as_ref()
        .and_then(|oidc| Some((oidc, oidc.login()?)));
    found.ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "this server has no login with an issuer: log in with an API key",
        )
    })
}

/// Returns the error of a failed login. A wrong code or token counts as a wrong API key of its
/// address.
fn refusal<S>(app: &App<S>, address: Option<IpAddr>, error: &LoginError) -> ApiError {
    let code = match error {
        LoginError::Unavailable(why) => return unavailable(why),
        LoginError::WrongIssuer => "WRONG_ISSUER",
        LoginError::WrongCode => "INVALID_CODE",
        LoginError::Token(_) => "INVALID_TOKEN",
    };
    wrong(
        app,
        address,
        code,
        format!("you are not logged in: {error}"),
    )
}

fn unavailable(why: &str) -> ApiError {
    let why = Escaped::new(why).to_string();
    log_outage("people cannot log in", "log in with the issuer", Some(&why));
    let text = "the issuer does not answer as it should, so nobody can log in with it now";
    ApiError::unavailable("ISSUER_UNAVAILABLE", text)
}

/// Builds the page that leads on. A redirect would not do: it would still come from the issuer's
/// site, and the browser would not send the cookie of the session.
fn welcome(next: &str) -> Result<Response, ApiError> {
    let content = html! {
        h1 { "You are logged in" }
        p { a href=(next) { "Go on" } }
    };
    let mut response = layout::respond(layout::document("Logged in", &html! {}, &content));
    let refresh = HeaderValue::from_str(&format!("0;url={next}"));
    let refresh = refresh.map_err(|_| super::no_session())?;
    response.headers_mut().insert(REFRESH, refresh);
    Ok(response)
}
