//! The issuers that are trusted to sign approvals and identity assertions.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::key::Key;
use super::members::{Object, has_only, is_texts, optional, text};
use crate::json::unique::Unique;
use crate::text::redact::excerpt;

/// The issuers that are trusted to sign approvals, and those that are trusted to sign identity
/// assertions. The two are separate: an issuer of one kind is not trusted for the other.
///
/// Both are configured in JSON: `{issuer_id: {kid: {alg, key, …}}}`, where `alg` is `HS256` or
/// `Ed25519`, and `key` is the secret of `HS256` (use 32 random bytes) or the public key of
/// `Ed25519` (32 bytes), in hex.
///
/// | optional member | of | the key may sign |
/// |---|---|---|
/// | `allowed_action_types` | approval issuers | approvals of these types of action: `a.b`, or `a.b.*` for `a.b` and all that start with `a.b.` |
/// | `allowed_environments` | both | for these environments |
/// | `required_role` | approval issuers | approvals by reviewers with this role, whatever role the caller requires |
/// | `allowed_roles` | identity issuers | assertions of these roles |
///
/// A list that is absent or empty restricts nothing.
///
/// ```
/// use atlasent::approval::TrustedIssuers;
///
/// let trusted = TrustedIssuers::parse(
///     r#"{"approvals.example": {"2026-11": {
///         "alg": "Ed25519",
///         "key": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
///         "allowed_action_types": ["deploy.*"],
///         "required_role": "release-manager"
///     }}}"#,
/// )?;
/// let error = trusted.identity_issuers(r#"{"idp.example": {"k": {"alg": "RS256", "key": ""}}}"#);
/// assert_eq!(
///     error.unwrap_err().to_string(),
///     "the key `k` of the issuer `idp.example` has an `alg` that is neither `HS256` nor `Ed25519`",
/// );
/// # Ok::<(), atlasent::approval::TrustError>(())
/// ```
#[derive(Clone, Default)]
pub struct TrustedIssuers {
    approval: Issuers<ApprovalKey>,
    identity: Issuers<IdentityKey>,
}

/// Keys by the id of the issuer, then by the id of the key.
type Issuers<K> = BTreeMap<String, BTreeMap<String, K>>;

/// A key that signs approvals.
#[derive(Clone)]
pub(super) struct ApprovalKey {
    pub(super) key: Key,
    pub(super) required_role: Option<String>,
    allowed_action_types: Vec<String>,
    allowed_environments: Vec<String>,
}

/// A key that signs identity assertions.
#[derive(Clone)]
pub(super) struct IdentityKey {
    pub(super) key: Key,
    allowed_roles: Vec<String>,
    allowed_environments: Vec<String>,
}

impl TrustedIssuers {
    /// Reads the issuers of approvals. No identity issuer is trusted yet.
    ///
    /// # Errors
    ///
    /// [`TrustError`] when the text is not such an object, repeats a member, or has an unknown
    /// one; or when a key cannot be used.
    pub fn parse(approval_issuers: &str) -> Result<Self, TrustError> {
        Ok(Self {
            approval: parse(approval_issuers, ApprovalKey::read)?,
            identity: Issuers::new(),
        })
    }

    /// Reads the issuers of identity assertions. They replace those of an earlier call.
    ///
    /// # Errors
    ///
    /// As of [`parse`](Self::parse).
    pub fn identity_issuers(mut self, identity_issuers: &str) -> Result<Self, TrustError> {
        self.identity = parse(identity_issuers, IdentityKey::read)?;
        Ok(self)
    }

    pub(super) fn approval_key(&self, issuer: IssuerName<'_>) -> Option<&ApprovalKey> {
        self.approval.get(issuer.issuer_id)?.get(issuer.kid)
    }

    pub(super) fn identity_key(&self, issuer: IssuerName<'_>) -> Option<&IdentityKey> {
        self.identity.get(issuer.issuer_id)?.get(issuer.kid)
    }
}

impl ApprovalKey {
    pub(super) fn allows_action_type(&self, action_type: &str) -> bool {
        self.allowed_action_types.is_empty()
            || (self.allowed_action_types.iter()).any(|pattern| matches(pattern, action_type))
    }

    /// A key for some environments is not for an action without one.
    pub(super) fn allows_environment(&self, environment: Option<&str>) -> bool {
        self.allowed_environments.is_empty()
            || environment.is_some_and(|name| is_listed(&self.allowed_environments, name))
    }

    fn read(entry: &Object) -> Result<Self, &'static str> {
        let known = [
            "alg",
            "key",
            "allowed_action_types",
            "allowed_environments",
            "required_role",
        ];
        let key = read_key(entry, &known)?;
        let required_role = match optional(entry, "required_role") {
            None => None,
            Some(Value::String(role)) if !role.is_empty() => Some(role.clone()),
            Some(_) => return Err("has a `required_role` that is not a name"),
        };
        let allowed_action_types = read_names(entry, "allowed_action_types")
            .ok_or("has `allowed_action_types` that are not an array of names")?;
        if !(allowed_action_types.iter()).all(|pattern| is_pattern(pattern)) {
            return Err("has `allowed_action_types` with a `*` that is not in a `.*` at the end");
        }
        Ok(Self {
            key,
            required_role,
            allowed_action_types,
            allowed_environments: read_environments(entry)?,
        })
    }
}

impl IdentityKey {
    pub(super) fn allows_role(&self, role: &str) -> bool {
        self.allowed_roles.is_empty() || is_listed(&self.allowed_roles, role)
    }

    pub(super) fn allows_environment(&self, environment: &str) -> bool {
        self.allowed_environments.is_empty() || is_listed(&self.allowed_environments, environment)
    }

    fn read(entry: &Object) -> Result<Self, &'static str> {
        let known = ["alg", "key", "allowed_roles", "allowed_environments"];
        Ok(Self {
            key: read_key(entry, &known)?,
            allowed_roles: read_names(entry, "allowed_roles")
                .ok_or("has `allowed_roles` that are not an array of names")?,
            allowed_environments: read_environments(entry)?,
        })
    }
}

/// The names by which an artifact or an assertion refers to a key.
#[derive(Clone, Copy)]
pub(super) struct IssuerName<'a> {
    pub(super) issuer_id: &'a str,
    pub(super) kid: &'a str,
}

impl<'a> IssuerName<'a> {
    /// Reads the names, if the issuer is of one of these types.
    pub(super) fn read(issuer: &'a Object, types: &[&str]) -> Option<Self> {
        let is_known = text(issuer, "type").is_some_and(|name| types.contains(&name));
        Some(Self {
            issuer_id: text(issuer, "issuer_id")?,
            kid: text(issuer, "kid").filter(|_| is_known)?,
        })
    }
}

/// Whether a type of action matches a pattern: `deploy.*` matches `deploy` and `deploy.canary`, and
/// not `deployment`.
fn matches(pattern: &str, action_type: &str) -> bool {
    match pattern.strip_suffix(".*") {
        None => pattern == action_type,
        Some(prefix) => (action_type.strip_prefix(prefix))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
    }
}

fn is_pattern(pattern: &str) -> bool {
    let name = pattern.strip_suffix(".*").unwrap_or(pattern);
    !name.is_empty() && !name.contains('*')
}

fn is_listed(names: &[String], name: &str) -> bool {
    names.iter().any(|listed| listed == name)
}

fn parse<K>(
    text: &str,
    read: impl Fn(&Object) -> Result<K, &'static str>,
) -> Result<Issuers<K>, TrustError> {
    let Unique(json) = serde_json::from_str::<Unique<Value>>(text)
        .map_err(|error| TrustError(format!("the issuers cannot be read: {error}")))?;
    let Value::Object(issuers) = json else {
        return Err(TrustError("the issuers are not a JSON object".to_owned()));
    };
    let mut read_issuers = Issuers::new();
    for (issuer_id, keys) in issuers {
        let Value::Object(keys) = keys else {
            let issuer_id = excerpt(&issuer_id);
            let why = format!("the issuer `{issuer_id}` is not an object of its keys");
            return Err(TrustError(why));
        };
        let mut read_keys = BTreeMap::new();
        for (kid, entry) in keys {
            let key = (entry.as_object().ok_or("is not an object")).and_then(&read);
            let key = key.map_err(|why| {
                let (kid, issuer_id) = (excerpt(&kid), excerpt(&issuer_id));
                TrustError(format!("the key `{kid}` of the issuer `{issuer_id}` {why}"))
            })?;
            read_keys.insert(kid, key);
        }
        read_issuers.insert(issuer_id, read_keys);
    }
    Ok(read_issuers)
}

fn read_key(entry: &Object, known: &[&str]) -> Result<Key, &'static str> {
    if !has_only(entry, known) {
        return Err("has an unknown member");
    }
    let algorithm = text(entry, "alg").ok_or("has no `alg`")?;
    let key = text(entry, "key").ok_or("has no `key`")?;
    Key::parse(algorithm, key)
}

fn read_environments(entry: &Object) -> Result<Vec<String>, &'static str> {
    read_names(entry, "allowed_environments")
        .ok_or("has `allowed_environments` that are not an array of names")
}

/// Reads an optional array of names. Returns `None` if it is anything else.
fn read_names(entry: &Object, name: &str) -> Option<Vec<String>> {
    let Some(names) = optional(entry, name) else {
        return Some(Vec::new());
    };
    let names = names.as_array().filter(|_| is_texts(names))?;
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    (names.iter().all(|name| !name.is_empty()))
        .then(|| names.into_iter().map(str::to_owned).collect())
}

/// The reason why the configuration of trusted issuers was rejected. It names the issuer and the
/// key, and repeats no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrustError(String);

/// Prints the ids of issuers and keys, and no key.
impl fmt::Debug for TrustedIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuers")
            .field("approval", &Ids(&self.approval))
            .field("identity", &Ids(&self.identity))
            .finish()
    }
}

struct Ids<'a, K>(&'a Issuers<K>);

impl<K> fmt::Debug for Ids<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = (self.0.iter()).map(|(issuer, keys)| (issuer, Vec::from_iter(keys.keys())));
        f.debug_map().entries(ids).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_ends_at_a_dot() {
        for (pattern, action_type, expected) in [
            ("deploy", "deploy", true),
            ("deploy", "deploy.canary", false),
            ("deploy", "Deploy", false),
            ("deploy.*", "deploy", true),
            ("deploy.*", "deploy.canary", true),
            ("deploy.*", "deploy.canary.eu", true),
            ("deploy.*", "deployment", false),
            ("deploy.*", "deployment.canary", false),
            ("deploy.*", "deploy*", false),
            ("deploy.*", "a.deploy.canary", false),
            ("deploy.*", "", false),
            ("a.b.*", "a.b", true),
            ("a.b.*", "a.b.c", true),
            ("a.b.*", "a.bc", false),
            ("a.b.*", "a", false),
            ("a.b.*", "a.", false),
            ("é.*", "é.x", true),
        ] {
            assert_eq!(
                matches(pattern, action_type),
                expected,
                "{pattern} {action_type}"
            );
        }
    }
}
