//! Approvers by bearer tokens of an OpenID Connect issuer: [`OidcVerifier`].
//!
//! `config` reads where the issuer is, `token` reads a token, `keys` reads and uses the issuer's
//! keys, `fetch` gets them over HTTP, and `cache` says when. `login` gets the tokens of people who
//! log in to the console.

mod cache;
mod config;
mod error;
mod fetch;
mod keys;
#[cfg(feature = "console")]
pub(in crate::server) mod login;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::io;
use std::sync::Arc;

use cache::KeyCache;
pub use config::OidcConfig;
pub use error::OidcError;
use fetch::Issuer;
#[cfg(feature = "console")]
use jiff::Timestamp;
#[cfg(feature = "console")]
use login::{LoginBinding, LoginError, OidcLogin};
#[cfg(feature = "console")]
use secrecy::ExposeSecret;
use token::Token;

use crate::clock::{Clock, SystemClock};
use crate::ledger::approval::Approver;
use crate::store::OrgId;

/// Verifies the bearer tokens of one issuer, and returns the approver of each.
///
/// A token is accepted if it is signed with RS256, ES256 or EdDSA by a key that the issuer
/// publishes, names the configured issuer and audience, and is in its time (`exp`, `nbf` and `iat`,
/// with a minute of leeway). The key determines the algorithm, never the token alone.
///
/// The issuer's keys are fetched when the first token arrives, and again every 10 minutes. A token
/// with an unknown `kid` causes a fetch at most every 30 seconds, so that keys can rotate and a
/// flood of forged tokens does not reach the issuer. While the issuer does not answer, its keys
/// are used for an hour after they were fetched.
///
/// ```no_run
/// use atlasent_authority::server::{OidcConfig, OidcVerifier};
///
/// # async fn run(token: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = OidcVerifier::new(OidcConfig::from_file("oidc.toml")?)?;
/// let approver = verifier.verify(token).await?;
/// println!("{approver}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct OidcVerifier {
    config: Arc<OidcConfig>,
    keys: KeyCache,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "console")]
    login: Option<Arc<OidcLogin>>,
}

/// A person who has logged in.
#[cfg(feature = "console")]
#[derive(Debug)]
pub(in crate::server) struct LoggedIn {
    pub(in crate::server) approver: Approver,
    /// When the session ends.
    pub(in crate::server) until: Timestamp,
}

impl OidcVerifier {
    /// Creates a verifier. It does not connect to the issuer yet.
    ///
    /// # Errors
    ///
    /// When the CA certificates or the secret of the client cannot be read, or no HTTP client can
    /// be built.
    pub fn new(config: OidcConfig) -> io::Result<Self> {
        Self::with_clock(config, SystemClock)
    }

    /// Creates a verifier with another clock, for tests.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_clock(config: OidcConfig, clock: impl Clock) -> io::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let issuer = Issuer::new(&config)?;
        Ok(Self {
            #[cfg(feature = "console")]
            login: (config.login())
                .map(|login| OidcLogin::new(login, issuer.clone(), Arc::clone(&clock)))
                .transpose()?
                .map(Arc::new),
            config: Arc::new(config),
            keys: KeyCache::new(issuer, Arc::clone(&clock)),
            clock,
        })
    }

    /// Returns the organization whose holds the issuer's people release.
    #[must_use]
    pub fn organization(&self) -> &OrgId {
        self.config.organization()
    }

    /// Returns the issuer, as tokens name it in `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.config.issuer()
    }

    /// Verifies a token, and returns the person that it is for.
    ///
    /// # Errors
    ///
    /// Returns why the token is refused, or [`OidcError::IssuerUnavailable`] when the issuer's keys
    /// could not be fetched. No error repeats a part of the token.
    pub async fn verify(&self, token: &str) -> Result<Approver, OidcError> {
        let token = Token::parse(token)?;
        // A token that is refused anyway causes no request to the issuer.
        token.check(&self.config, self.clock.now())?;
        self.verify_signature(&token).await?;
        token.approver(&self.config)
    }

    /// Returns the client that logs people in to the console, if the settings have one.
    #[cfg(feature = "console")]
    pub(in crate::server) fn login(&self) -> Option<&OidcLogin> {
        self.login.as_deref()
    }

    /// Redeems the code of a login, and verifies the ID token that it is for.
    #[cfg(feature = "console")]
    pub(in crate::server) async fn log_in(
        &self,
        login: &OidcLogin,
        code: &str,
        binding: &LoginBinding,
    ) -> Result<LoggedIn, LoginError> {
        let text = login.redeem(code, binding).await?;
        let verified = async {
            let token = Token::parse(text.expose_secret())?;
            let (client, nonce) = (login.client_id(), &binding.nonce);
            let now = self.clock.now();
            let expires = token.check_id_token(&self.config, client, nonce, now)?;
            self.verify_signature(&token).await?;
            let approver = token.approver(&self.config)?;
            let until = login.session_end(now, expires);
            Ok::<_, OidcError>(LoggedIn { approver, until })
        };
        verified.await.map_err(|error| match error {
            OidcError::IssuerUnavailable(why) => LoginError::Unavailable(why),
            error => LoginError::Token(error),
        })
    }

    async fn verify_signature(&self, token: &Token<'_>) -> Result<(), OidcError> {
        let keys = self.keys.current().await?;
        match keys.verify(token) {
            Err(OidcError::UnknownKey) => self.keys.newer_than(&keys).await?.verify(token),
            verified => verified,
        }
    }
}

impl fmt::Debug for OidcVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcVerifier")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
