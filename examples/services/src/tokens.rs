//! The tokens of the agents. In production, an orchestrator issues tokens and a service only
//! verifies them.

use ati_client::{Claims, Error, SigningKey, Verifier, issue};
use uuid::Uuid;

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    key: SigningKey,
    verifier: Verifier,
}

impl Tokens {
    /// Signs tokens with the key that the environment names, such as the secret in
    /// `ATI_JWT_SECRET`, or else with a new key, which ends with the process.
    ///
    /// # Errors
    ///
    /// If the environment names a key that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        match SigningKey::from_env() {
            Err(Error::NoKey { .. }) => Self::fresh(),
            key => Self::new(key?),
        }
    }

    /// Signs tokens with a new random secret.
    ///
    /// # Errors
    ///
    /// Never in practice: the secret is long enough.
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

    /// Returns a verifier of these tokens.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// Issues a token for an agent, with a scope for each tool.
    ///
    /// # Errors
    ///
    /// If the agent's name is empty, or a tool's name is not valid in a scope.
    pub fn token(&self, agent: &str, tools: &[&str]) -> Result<String, Error> {
        let scopes = tools.iter().map(|tool| format!("tool:{tool}"));
        issue(&Claims::builder(agent).scopes(scopes).build()?, &self.key)
    }
}
