//! The tokens of the agents. Elsewhere an orchestrator issues them, and a service only verifies.

use std::env;

use ati_client::{Claims, Error, SigningKey, Verifier, issue};
use uuid::Uuid;

/// Issues tokens, and verifies them.
#[derive(Debug)]
pub struct Tokens {
    key: SigningKey,
    verifier: Verifier,
}

impl Tokens {
    /// Tokens by the secret in `ATI_JWT_SECRET`, or if that is not set, by a fresh one, which ends with the process.
    ///
    /// # Errors
    ///
    /// If there is a secret that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        match env::var_os("ATI_JWT_SECRET") {
            Some(_) => Self::new(SigningKey::from_env()?),
            None => Self::fresh(),
        }
    }

    /// Tokens by a secret that nobody else has.
    ///
    /// # Errors
    ///
    /// None that could happen: the secret is long enough.
    pub fn fresh() -> Result<Self, Error> {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self::new(SigningKey::from_hex(&secret)?)
    }

    fn new(key: SigningKey) -> Result<Self, Error> {
        Ok(Self {
            verifier: Verifier::builder(key.verifying_key()).build()?,
            key,
        })
    }

    /// What believes these tokens.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// A token for an agent that may use these tools.
    ///
    /// # Errors
    ///
    /// If the agent has no name, or a tool's cannot stand in a scope.
    pub fn token(&self, agent: &str, tools: &[&str]) -> Result<String, Error> {
        let scopes = tools.iter().map(|tool| format!("tool:{tool}"));
        issue(&Claims::builder(agent).scopes(scopes).build()?, &self.key)
    }
}
