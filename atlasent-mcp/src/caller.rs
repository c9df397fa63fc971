//! Who asks: [`Caller`].

#[cfg(feature = "ati")]
use ati_client::Claims;
use atlasent::{Agent, Error, ToAgent};

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
