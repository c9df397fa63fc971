//! The tokens of the agents. Elsewhere an orchestrator issues them, and a service only verifies.

use ati_client::{Claims, Error, SigningKey, Verifier, issue};
use uuid::Uuid;

/// Issues tokens, and verifies them.
#[derive(Debug)]
pub struct Tokens {
    key: SigningKey,
    verifier: Verifier,
}

impl Tokens {
    /// Tokens of the key that the environment names, such as the secret in `ATI_JWT_SECRET`.
    ///
    /// Without such a key, of a fresh one, which ends with the process.
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
