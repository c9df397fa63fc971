//! Who asks: [`Caller`].

#[cfg(feature = "ati")]
use std::time::SystemTime;

#[cfg(feature = "ati")]
use ati_client::Claims;
use atlasent::{Agent, Error, ToAgent};

use crate::refusal::Refusal;

/// The agent that sent a message, and the claims of its token.
///
/// Over HTTP the agent is the subject of a verified ATI token, whose scopes and rates hold. Over
/// stdio the process that starts the server is the agent, and its name is configured.
///
/// ```
/// use atlasent_mcp::Caller;
///
/// let caller = Caller::configured("desktop-agent")?;
/// assert_eq!(caller.agent().as_str(), "desktop-agent");
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Caller {
    agent: Agent,
    /// The agents that act with a delegated token, the current one first.
    actors: Vec<Agent>,
    #[cfg(feature = "ati")]
    claims: Option<Claims>,
}

impl Caller {
    /// Creates a caller without a token. No scope is required of it, and no rate is counted.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the name is not 1 to 256 characters long.
    pub fn configured(agent: impl ToAgent) -> Result<Self, Error> {
        Ok(Self {
            agent: agent.to_agent()?,
            actors: Vec::new(),
            #[cfg(feature = "ati")]
            claims: None,
        })
    }

    /// Creates the caller of a verified token.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the subject or an actor is not 1 to 256 characters long.
    #[cfg(feature = "ati")]
    pub fn from_claims(claims: Claims) -> Result<Self, Error> {
        Ok(Self {
            agent: claims.sub().to_agent()?,
            actors: claims.actors().map(Agent::new).collect::<Result<_, _>>()?,
            claims: Some(claims),
        })
    }

    /// Returns whether the caller has a token that grants the scope.
    #[must_use]
    pub(crate) fn grants(&self, scope: &str) -> bool {
        #[cfg(feature = "ati")]
        return self
            .claims
            .as_ref()
            .is_some_and(|claims| claims.scopes().grants(scope).unwrap_or(false));
        #[cfg(not(feature = "ati"))]
        {
            let _ = scope;
            false
        }
    }

    /// Refuses a caller whose token has expired since it was verified, with the leeway of its
    /// verifier.
    #[cfg(feature = "ati")]
    pub(crate) fn require_current(&self) -> Result<(), Refusal> {
        self.require_current_at(SystemTime::now())
    }

    #[cfg(feature = "ati")]
    fn require_current_at(&self, now: SystemTime) -> Result<(), Refusal> {
        let Some(claims) = &self.claims else {
            return Ok(());
        };
        claims.require_current(now).map_err(|_| {
            Refusal::deny(
                "TOKEN_EXPIRED",
                "the agent's token has expired: send the call again with a new one",
            )
        })
    }

    #[cfg(not(feature = "ati"))]
    pub(crate) fn require_current(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns whether another caller is the same agent, and acts for it through the same chain of
    /// actors.
    #[cfg(feature = "guard")]
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.agent == other.agent && self.actors == other.actors
    }

    /// Returns the agent.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Returns the agents that act with a delegated token, the current one first.
    pub(crate) fn actors(&self) -> &[Agent] {
        &self.actors
    }

    /// Returns the claims of the token, if the caller has one.
    #[cfg(feature = "ati")]
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }
}

#[cfg(test)]
#[cfg(feature = "ati")]
mod tests {
    use std::time::Duration;

    use ati_client::{SigningKey, Verifier, issue};

    use super::*;

    fn caller(expires_at: u64) -> Caller {
        let claims = Claims::builder("bot")
            .issued_at(1_000)
            .expires_at(expires_at)
            .build()
            .unwrap();
        Caller::from_claims(claims).unwrap()
    }

    #[test]
    fn a_token_counts_until_a_minute_after_its_expiry() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let caller = caller(2_000);
        assert!(caller.require_current_at(at(2_060)).is_ok());
        let refused = caller.require_current_at(at(2_061)).unwrap_err();
        assert_eq!(refused.code(), Some("TOKEN_EXPIRED"));
        let configured = Caller::configured("bot").unwrap();
        assert!(configured.require_current_at(at(1 << 40)).is_ok());
    }

    #[test]
    fn a_verified_token_counts_for_the_leeway_of_its_verifier() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let key = SigningKey::from_hex(&"5a".repeat(32)).unwrap();
        let claims = Claims::builder("bot").issued_at(1_000).expires_at(2_000);
        let token = issue(&claims.build().unwrap(), &key).unwrap();
        for leeway in [0, 600] {
            let verifier = Verifier::builder(key.verifying_key())
                .leeway(Duration::from_secs(leeway))
                .build()
                .unwrap();
            let claims = verifier.verify_at(&token, at(1_500)).unwrap();
            let caller = Caller::from_claims(claims).unwrap();
            assert!(caller.require_current_at(at(2_000 + leeway)).is_ok());
            assert!(caller.require_current_at(at(2_001 + leeway)).is_err());
        }
    }
}
