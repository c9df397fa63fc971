//! What the API says of keys: the one that is used, and those that sign exports.

use serde::Deserialize;

use super::Client;
use crate::Error;
use crate::audit::{KeyError, TrustedKeys};
use crate::json::object::Object;
use crate::wire::{PublicKey, RateLimit};

/// What the server knows of the API key that asks. The key itself is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Object<WireKey>")]
#[non_exhaustive]
pub struct ApiKeyInfo {
    /// The key's id.
    pub key_id: String,
    /// The organization that it belongs to.
    pub organization_id: String,
    /// `live`, `test` or another environment.
    pub environment: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// The networks that it may be used from; none when it may be used from anywhere.
    pub allowed_cidrs: Option<Vec<String>>,
    /// How many calls a minute it is good for.
    pub rate_limit_per_minute: u64,
    /// The address that the server saw.
    pub client_ip: Option<String>,
    /// When its time is over (ISO 8601); none when it never is.
    pub expires_at: Option<String>,
    /// How much of the rate limit is left.
    pub rate_limit: Option<RateLimit>,
}

#[derive(Deserialize)]
struct WireKey {
    key_id: String,
    organization_id: Option<String>,
    org_id: Option<String>,
    environment: String,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    allowed_cidrs: Option<Vec<String>>,
    rate_limit_per_minute: u64,
    client_ip: Option<String>,
    expires_at: Option<String>,
}

impl TryFrom<Object<WireKey>> for ApiKeyInfo {
    type Error = &'static str;

    fn try_from(Object(wire): Object<WireKey>) -> Result<Self, Self::Error> {
        Ok(Self {
            key_id: wire.key_id,
            organization_id: wire
                .organization_id
                .or(wire.org_id)
                .ok_or("there is neither an `organization_id` nor an `org_id`")?,
            environment: wire.environment,
            scopes: wire.scopes.unwrap_or_default(),
            allowed_cidrs: wire.allowed_cidrs,
            rate_limit_per_minute: wire.rate_limit_per_minute,
            client_ip: wire.client_ip,
            expires_at: wire.expires_at,
            rate_limit: None,
        })
    }
}

/// The public keys that exports are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigningKeys {
    /// The keys, active and retired ones.
    pub keys: Vec<PublicKey>,
    /// How much of the rate limit is left.
    pub rate_limit: Option<RateLimit>,
}

impl SigningKeys {
    /// The keys to verify bundles with, each under its id.
    ///
    /// Whoever forges an export may forge these, too: where much depends on it, take keys that came another way.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when one of them is not an Ed25519 public key.
    pub fn trusted(&self) -> Result<TrustedKeys, KeyError> {
        self.keys.iter().try_fold(TrustedKeys::new(), |keys, key| {
            keys.pem(&key.key_id, &key.public_key_pem)
        })
    }
}

impl Client {
    /// What the server knows of this client's API key: `GET /v1-api-key-self`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer.
    pub async fn key_self(&self) -> Result<ApiKeyInfo, Error> {
        let transport = &self.shared.transport;
        let call = transport.get("/v1-api-key-self", &[])?;
        let (mut info, about) = transport.fetch::<ApiKeyInfo>(&call).await?;
        info.rate_limit = about.rate_limit;
        Ok(info)
    }

    /// The public keys that exports are signed with: `GET /v1-signing-keys`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer.
    pub async fn signing_keys(&self) -> Result<SigningKeys, Error> {
        #[derive(Deserialize)]
        struct Wire {
            keys: Vec<PublicKey>,
        }
        let transport = &self.shared.transport;
        let call = transport.get("/v1-signing-keys", &[])?;
        let (Object(Wire { keys }), about) = transport.fetch(&call).await?;
        Ok(SigningKeys {
            keys,
            rate_limit: about.rate_limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_names_of_the_organization_are_read() {
        let key = |name: &str| {
            json!({"key_id": "k", name: "o", "environment": "test", "scopes": null,
                "allowed_cidrs": ["10.0.0.0/8"], "rate_limit_per_minute": 60, "client_ip": null, "more": 1})
        };
        for name in ["organization_id", "org_id"] {
            let info: ApiKeyInfo = serde_json::from_value(key(name)).unwrap();
            assert_eq!(info.organization_id, "o");
            assert!(info.scopes.is_empty());
        }
        assert!(serde_json::from_value::<ApiKeyInfo>(key("organisation")).is_err());
    }
}
