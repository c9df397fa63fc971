//! What ties the way back from an issuer to the browser that went there.
//!
//! The browser keeps a ticket in a cookie, and nothing is kept here: visitors, who begin as many
//! logins as they like, fill no table.
//!
//! ```text
//! ticket     <256 random bits>.<seconds since 1970>.</console/path to go on to>
//! state      HMAC-SHA256(key of this process, "state"    ‖ ticket)   goes to the issuer and back
//! nonce      HMAC-SHA256(key of this process, "nonce"    ‖ ticket)   comes back in the ID token
//! verifier   HMAC-SHA256(key of this process, "verifier" ‖ ticket)   goes to the token endpoint
//! ```
//!
//! A state that fits a ticket shows that this process issued the ticket, unchanged. What is kept is
//! which states came back, so that each counts once.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::super::session::{random_token, same_token};
use crate::server::api_error::ApiError;
use crate::server::oidc::login::LoginBinding;

/// How long a login at the issuer may take.
pub(super) const LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// How many states that came back are known. The issuer refuses a used code as well.
const MAX_USED: usize = 16_384;

/// The logins that are under way.
#[derive(Default)]
pub(in super::super) struct Logins {
    key: OnceLock<SecretString>,
    used: Mutex<Used>,
}

/// The states that came back within the lifetime, the oldest one first.
#[derive(Default)]
struct Used {
    states: HashSet<String>,
    order: VecDeque<(Timestamp, String)>,
}

impl Logins {
    /// Begins a login. Returns its ticket, for the browser, and what the issuer gets.
    pub(super) fn begin(
        &self,
        next: Option<&str>,
        now: Timestamp,
    ) -> Result<(String, LoginBinding), ApiError> {
        let random = random_token()?;
        let (seconds, next) = (now.as_second(), next.unwrap_or_default());
        let ticket = format!("{}.{seconds}.{next}", random.expose_secret());
        let binding = self.binding(&ticket)?;
        Ok((ticket, binding))
    }

    /// Ends a login, by the browser's ticket and the state that came back. Returns the path to go
    /// on to, and the values that the issuer's answer has to fit.
    pub(super) fn finish(
        &self,
        ticket: Option<&str>,
        state: &str,
        now: Timestamp,
    ) -> Result<(Option<String>, LoginBinding), ApiError> {
        let refused = |why| ApiError::forbidden("LOGIN_STATE", why);
        let foreign = || {
            refused(
                "this login was not begun in this browser, or another one was begun since: log in again",
            )
        };
        let ticket = ticket.ok_or_else(foreign)?;
        let binding = self.binding(ticket)?;
        if !same_token(&binding.state, state) {
            return Err(foreign());
        }
        let mut parts = ticket.splitn(3, '.').skip(1);
        let (begun, next) = (parts.next(), parts.next());
        let begun = begun.and_then(|seconds| Timestamp::from_second(seconds.parse().ok()?).ok());
        let age = begun.map(|begun| now.duration_since(begun));
        // The ticket has whole seconds. A clock that was set back ends logins.
        let lasts = |age: &SignedDuration| age.as_secs() >= 0 && *age < LIFETIME;
        if age.filter(lasts).is_none() {
            return Err(refused("this login has taken too long: log in again"));
        }
        if !self.use_once(state, now) {
            return Err(refused("this login was finished before: log in again"));
        }
        let next = next.filter(|next| !next.is_empty());
        Ok((next.map(str::to_owned), binding))
    }

    fn binding(&self, ticket: &str) -> Result<LoginBinding, ApiError> {
        if self.key.get().is_none() {
            // Of two first visitors, one sets the key, and both use it.
            let _ = self.key.set(random_token()?);
        }
        let key = self.key.get().map(ExposeSecret::expose_secret);
        let key = key.unwrap_or_default();
        Ok(LoginBinding {
            state: derived(key, "state", ticket),
            nonce: derived(key, "nonce", ticket),
            verifier: derived(key, "verifier", ticket).into(),
        })
    }

    /// Returns whether a state comes back for the first time.
    fn use_once(&self, state: &str, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, oldest)) = used.order.front()
            && (now.duration_since(*at) >= LIFETIME || used.order.len() >= MAX_USED)
        {
            let oldest = oldest.clone();
            used.states.remove(&oldest);
            used.order.pop_front();
        }
        let is_first = used.states.insert(state.to_owned());
        if is_first {
            used.order.push_back((now, state.to_owned()));
        }
        is_first
    }
}

/// Derives a value of a login: 43 characters, which are valid in URLs and as a PKCE verifier
/// (RFC 7636, 4.1).
fn derived(key: &str, purpose: &str, ticket: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    let mac = mac
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(ticket);
    Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes())
}

/// The key and the states stay out of logs.
impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn code(logins: &Logins, ticket: Option<&str>, state: &str, seconds: i64) -> &'static str {
        match logins.finish(ticket, state, at(seconds)) {
            Ok(_) => "",
            Err(error) => error.code,
        }
    }

    #[test]
    fn a_state_counts_once_with_its_ticket_and_in_its_time() {
        let logins = Logins::default();
        let path = "/console/approvals/esc_0";
        let (ticket, binding) = logins.begin(Some(path), at(0)).unwrap();
        let (other, others) = logins.begin(None, at(0)).unwrap();
        assert_ne!(binding.state, others.state);
        for (ticket, state) in [
            (None, &*binding.state),
            (Some(&*ticket), ""),
            (Some(&*ticket), &*others.state),
            (Some(&*ticket), &*binding.nonce),
            (Some(&*other), &*binding.state),
            // Another path or time than the one that was bound.
            (Some(&*ticket.replace("esc_0", "esc_1")), &*binding.state),
            (
                Some(&*ticket.replace("1800000000", "1800000300")),
                &*binding.state,
            ),
        ] {
            assert_eq!(code(&logins, ticket, state, 1), "LOGIN_STATE", "{ticket:?}");
        }
        let (next, same) = logins
            .finish(Some(&ticket), &binding.state, at(599))
            .unwrap();
        assert_eq!(next.as_deref(), Some(path));
        assert_eq!(same.nonce, binding.nonce);
        assert_eq!(
            code(&logins, Some(&ticket), &binding.state, 599),
            "LOGIN_STATE"
        );
        // The other one has taken too long, or the clock was set back.
        assert_eq!(
            code(&logins, Some(&other), &others.state, 600),
            "LOGIN_STATE"
        );
        assert_eq!(
            code(&logins, Some(&other), &others.state, -1),
            "LOGIN_STATE"
        );
        assert_eq!(code(&logins, Some(&other), &others.state, 0), "");
    }

    #[test]
    fn another_process_knows_none_of_the_states() {
        let (ticket, binding) = Logins::default().begin(None, at(0)).unwrap();
        let other = Logins::default();
        assert_eq!(
            code(&other, Some(&ticket), &binding.state, 0),
            "LOGIN_STATE"
        );
    }

    #[test]
    fn values_are_independent_and_valid_as_verifiers() {
        let (_, binding) = Logins::default().begin(None, at(0)).unwrap();
        let verifier = binding.verifier.expose_secret();
        let all = [&*binding.state, &*binding.nonce, verifier];
        let different: HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), 3);
        for value in all {
            assert_eq!(value.len(), 43);
            assert!(
                value
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
        }
    }

    #[test]
    fn states_that_came_back_are_forgotten_in_time_and_their_number_is_bounded() {
        let logins = Logins::default();
        for n in 0..MAX_USED + 10 {
            assert!(logins.use_once(&n.to_string(), at(0)));
        }
        let known = || logins.used.lock().unwrap().states.len();
        assert_eq!(known(), MAX_USED);
        assert!(!logins.use_once("100", at(1)));
        assert!(logins.use_once("x", at(600)));
        assert_eq!(known(), 1);
    }
}
