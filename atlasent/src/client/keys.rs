//! Calls about keys: the client's API key, and the public keys of signed exports.

use serde::Deserialize;

use super::Client;
use crate::Error;
use crate::audit::{KeyError, TrustedKeys};
use crate::json::object::Object;
use crate::wire::{PublicKey, RateLimit};

/// The server's record of the client's API key, without the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Object<WireKey>")]
#[non_exhaustive]
pub struct ApiKeyInfo {
    /// The key's id.
    pub key_id: String,
    /// The organization that the key belongs to.
    pub organization_id: String,
    /// The key's environment: `live`, `test` or another one.
    pub environment: String,
    /// The scopes that the key grants.
    pub scopes: Vec<String>,
    /// The person whose votes the key casts. `None` if it casts none.
    pub approver: Option<KeyApprover>,
    /// The networks from which the key may be used. `None` if it may be used from anywhere.
    pub allowed_cidrs: Option<Vec<String>>,
    /// The maximum number of calls a minute.
    pub rate_limit_per_minute: u64,
    /// The client's address, as the server sees it.
    pub client_ip: Option<String>,
    /// The time at which the key expires (ISO 8601). `None` if it does not expire.
    pub expires_at: Option<String>,
    /// The rate limit after this call. `None` if the server sent none.
    pub rate_limit: Option<RateLimit>,
}

/// The person whose votes an API key casts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct KeyApprover {
    /// The name of the person.
    pub principal: String,
    /// The roles of the person.
    #[serde(default)]
    pub roles: Vec<String>,
}

#[derive(Deserialize)]
struct WireKey {
    key_id: String,
    organization_id: Option<String>,
    org_id: Option<String>,
    environment: String,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    approver: Option<KeyApprover>,
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
                .ok_or("`organization_id` and `org_id` are both missing")?,
            environment: wire.environment,
            scopes: wire.scopes.unwrap_or_default(),
            approver: wire.approver,
            allowed_cidrs: wire.allowed_cidrs,
            rate_limit_per_minute: wire.rate_limit_per_minute,
            client_ip: wire.client_ip,
            expires_at: wire.expires_at,
            rate_limit: None,
        })
    }
}

/// The public keys of the server's signed exports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigningKeys {
    /// The active and retired keys.
    pub keys: Vec<PublicKey>,
    /// The rate limit after this call. `None` if the server sent none.
    pub rate_limit: Option<RateLimit>,
}

impl SigningKeys {
    /// Returns the keys for a [`BundleVerifier`](crate::audit::BundleVerifier), each with its id.
    ///
    /// A server that forges an export can also forge these keys. To detect that, obtain the keys in
    /// another way.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when a key is not an Ed25519 public key.
    pub fn trusted(&self) -> Result<TrustedKeys, KeyError> {
        self.keys.iter().try_fold(TrustedKeys::new(), |keys, key| {
            keys.pem(&key.key_id, &key.public_key_pem)
        })
    }
}

impl Client {
    /// Fetches the server's record of this client's API key: `GET /v1-api-key-self`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    pub async fn key_self(&self) -> Result<ApiKeyInfo, Error> {
        let transport = &self.shared.transport;
        let call = transport.get("/v1-api-key-self");
        let (mut info, metadata) = transport.fetch::<ApiKeyInfo>(&call).await?;
        info.rate_limit = metadata.rate_limit;
        Ok(info)
    }

    /// Fetches the public keys of signed exports: `GET /v1-signing-keys`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    pub async fn signing_keys(&self) -> Result<SigningKeys, Error> {
        #[derive(Deserialize)]
        struct Wire {
            keys: Vec<PublicKey>,
        }
        let transport = &self.shared.transport;
        let call = transport.get("/v1-signing-keys");
        let (Object(Wire { keys }), metadata) = transport.fetch(&call).await?;
        Ok(SigningKeys {
            keys,
            rate_limit: metadata.rate_limit,
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
