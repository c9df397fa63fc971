//! A valid approval, and each fault that a check of the contract finds.

use atlasent::approval::{
    Expected, MemoryNonces, Reason, TrustedIssuers, Verified, verify_artifact,
};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

pub(crate) const NOW: &str = "2026-11-01T12:10:00Z";
pub(crate) const HASH: &str = "3e1b84a739589412d3f252253c346523a55ec3d0c27ae59c341d56f96a0c4d6f";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// The private half of a key, and the form of its signatures.
#[derive(Clone)]
pub(crate) enum Signer {
    Hs256([u8; 32]),
    Ed25519([u8; 32]),
}

impl Signer {
    /// The member of the trusted issuers for this key.
    pub(crate) fn trusted(&self) -> Value {
        match self {
            Self::Hs256(secret) => json!({"alg": "HS256", "key": hex(secret)}),
            Self::Ed25519(seed) => {
                let public = SigningKey::from_bytes(seed).verifying_key();
                json!({"alg": "Ed25519", "key": hex(public.as_bytes())})
            }
        }
    }

    pub(crate) fn sign(&self, object: &mut Value) {
        object.as_object_mut().unwrap().remove("signature");
        let signature = self.signature(sorted(object).as_bytes());
        object["signature"] = json!(signature);
    }

    pub(crate) fn signature(&self, message: &[u8]) -> String {
        match self {
            Self::Hs256(secret) => {
                let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
                hex(&mac.chain_update(message).finalize().into_bytes())
            }
            Self::Ed25519(seed) => hex(&SigningKey::from_bytes(seed).sign(message).to_bytes()),
        }
    }
}

/// The canonical JSON of a value without numbers.
fn sorted(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.chars().collect::<Vec<_>>());
            let member =
                |(name, value): (&String, &Value)| format!("{}:{}", json!(name), sorted(value));
            format!("{{{}}}", join(members.into_iter().map(member).collect()))
        }
        Value::Array(items) => format!("[{}]", join(items.iter().map(sorted).collect())),
        _ => value.to_string(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An approval before it is signed, and what the verifier knows.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) artifact: Value,
    pub(crate) assertion: Option<Value>,
    /// Takes the place of the signed artifact.
    pub(crate) replacement: Option<Value>,
    pub(crate) signer: Signer,
    pub(crate) identity_signer: Signer,
    pub(crate) trusted: Value,
    pub(crate) trusted_identity: Value,
    pub(crate) expected: Expected,
    pub(crate) replayed: bool,
}

impl Case {
    pub(crate) fn new() -> Self {
        Self::numbered(0, "ada", Signer::Hs256([1; 32]), Signer::Ed25519([2; 32]))
    }

    /// An approval by this person, from the issuers `svc-<number>` and `idp-<number>`.
    pub(crate) fn numbered(
        number: usize,
        person: &str,
        signer: Signer,
        identity_signer: Signer,
    ) -> Self {
        let (svc, idp) = (format!("svc-{number}"), format!("idp-{number}"));
        let artifact = json!({
            "version": "approval_artifact.v1", "approval_id": format!("apr-{person}"),
            "tenant_id": "org-1", "action_type": "deploy.production", "resource_id": "cluster-7",
            "action_hash": HASH,
            "reviewer": {"principal_id": person, "principal_kind": "human",
                "email": "someone@example.org", "groups": ["g"], "roles": ["reader", "qa_reviewer"]},
            "issuer": {"type": "approval_service", "issuer_id": svc, "kid": "k"},
            "issued_at": "2026-11-01T12:00:00Z", "expires_at": "2026-11-01T13:00:00Z",
            "nonce": format!("nonce-{person}"),
        });
        let assertion = json!({
            "version": "identity_assertion.v1",
            "subject": {"principal_id": person, "principal_kind": "human"}, "role": "qa_reviewer",
            "binding": {"approval_id": format!("apr-{person}"), "action_hash": HASH,
                "tenant_id": "org-1", "environment": "production"},
            "issuer": {"type": "oidc", "issuer_id": idp, "kid": "k"},
            "issued_at": "2026-11-01T12:00:00Z", "expires_at": "2026-11-01T13:00:00Z",
            "nonce": "assertion-nonce",
        });
        Self {
            artifact,
            assertion: Some(assertion),
            replacement: None,
            trusted: json!({svc: {"k": signer.trusted()}}),
            trusted_identity: json!({idp: {"k": identity_signer.trusted()}}),
            signer,
            identity_signer,
            expected: Expected::new("org-1", HASH)
                .action_type("deploy.production")
                .resource_id("cluster-7")
                .environment("production")
                .required_role("qa_reviewer")
                .require_identity_assertion(),
            replayed: false,
        }
    }

    /// The assertion, which a case that lacks it has only in name.
    pub(crate) fn with_assertion(&mut self, change: impl FnOnce(&mut Value)) {
        if let Some(assertion) = &mut self.assertion {
            change(assertion);
        }
    }

    pub(crate) fn trusted_key(&mut self) -> &mut Value {
        let issuers = self.trusted.as_object_mut().unwrap();
        &mut issuers.values_mut().next().unwrap()["k"]
    }

    pub(crate) fn trusted_identity_key(&mut self) -> &mut Value {
        let issuers = self.trusted_identity.as_object_mut().unwrap();
        &mut issuers.values_mut().next().unwrap()["k"]
    }

    pub(crate) fn issuers(&self) -> TrustedIssuers {
        TrustedIssuers::parse(&self.trusted.to_string())
            .and_then(|trusted| trusted.identity_issuers(&self.trusted_identity.to_string()))
            .unwrap()
    }

    /// The artifact with its signatures.
    pub(crate) fn signed(&self) -> Value {
        if let Some(replacement) = &self.replacement {
            return replacement.clone();
        }
        let mut artifact = self.artifact.clone();
        if let Some(mut assertion) = self.assertion.clone() {
            if assertion.is_object() {
                self.identity_signer.sign(&mut assertion);
            }
            artifact["identity_assertion"] = assertion;
        }
        self.signer.sign(&mut artifact);
        artifact
    }

    pub(crate) fn verify(&self) -> Result<Verified, Reason> {
        verify_artifact(&self.signed(), &self.expected, &self.issuers(), now())
    }

    /// Verifies the artifact and claims its nonce, which a replayed one has claimed before.
    pub(crate) fn verdict(&self) -> Result<(), Reason> {
        let nonces = MemoryNonces::default();
        if self.replayed {
            let first = Self {
                replayed: false,
                ..Self::new()
            };
            first
                .verify()?
                .claim(|claimed| nonces.claim(claimed, now()))?;
        }
        (self.verify()?).claim(|claimed| nonces.claim(claimed, now()))
    }
}

/// A fault, and the reason that the check for it gives.
#[derive(Clone)]
pub(crate) struct Fault(pub(crate) Reason, pub(crate) fn(&mut Case));

/// One fault for each reason, in the contract's order.
pub(crate) fn faults() -> Vec<Fault> {
    let mut faults = vec![
        Fault(Reason::MissingArtifact, |case| {
            case.replacement = Some(Value::Null);
        }),
        Fault(Reason::InvalidArtifactVersion, |case| {
            case.artifact["version"] = json!("approval_artifact.v2");
        }),
        Fault(Reason::TenantMismatch, |case| {
            case.artifact["tenant_id"] = json!("org-2");
        }),
        Fault(Reason::ActionMismatch, |case| {
            case.artifact["action_hash"] = json!("f".repeat(64));
        }),
        Fault(Reason::ReviewerNotHuman, |case| {
            case.artifact["reviewer"]["principal_kind"] = json!("agent");
        }),
        Fault(Reason::UntrustedIssuer, |case| {
            case.artifact["issuer"]["kid"] = json!("k2");
        }),
        Fault(Reason::ReviewerLacksRole, |case| {
            case.artifact["reviewer"]["roles"] = json!(["reader"]);
        }),
        Fault(Reason::IssuerActionType, |case| {
            case.trusted_key()["allowed_action_types"] = json!(["read.*"]);
        }),
        Fault(Reason::IssuerEnvironment, |case| {
            case.trusted_key()["allowed_environments"] = json!(["staging"]);
        }),
        Fault(Reason::Expired, |case| {
            case.artifact["expires_at"] = json!(NOW);
        }),
        Fault(Reason::IssuedInFuture, |case| {
            case.artifact["issued_at"] = json!("2026-11-01T12:15:01Z");
        }),
        Fault(Reason::InvalidSignature, |case| {
            case.signer = Signer::Hs256([99; 32]);
        }),
        Fault(Reason::MissingIdentity, |case| case.assertion = None),
    ];
    faults.extend(identity_faults());
    faults.push(Fault(Reason::Replay, |case| case.replayed = true));
    faults
}

/// One fault for each reason of the identity assertion, in the contract's order.
fn identity_faults() -> Vec<Fault> {
    vec![
        Fault(Reason::InvalidIdentityVersion, |case| {
            case.with_assertion(|identity| identity["version"] = json!("identity_assertion.v2"));
        }),
        Fault(Reason::IdentityTenantMismatch, |case| {
            case.with_assertion(|identity| identity["binding"]["tenant_id"] = json!("org-2"));
        }),
        Fault(Reason::IdentityActionMismatch, |case| {
            case.with_assertion(|identity| {
                identity["binding"]["action_hash"] = json!("f".repeat(64));
            });
        }),
        Fault(Reason::IdentityNotHuman, |case| {
            case.with_assertion(|identity| {
                identity["subject"]["principal_kind"] = json!("service_account");
            });
        }),
        Fault(Reason::IdentityReviewerMismatch, |case| {
            case.with_assertion(|identity| identity["subject"]["principal_id"] = json!("eve"));
        }),
        Fault(Reason::IdentityApprovalMismatch, |case| {
            case.with_assertion(|identity| identity["binding"]["approval_id"] = json!("apr-8"));
        }),
        Fault(Reason::IdentityRoleMismatch, |case| {
            case.with_assertion(|identity| identity["role"] = json!("reader"));
        }),
        Fault(Reason::IdentityEnvironmentMismatch, |case| {
            case.with_assertion(|identity| identity["binding"]["environment"] = json!("staging"));
        }),
        Fault(Reason::UntrustedIdentityIssuer, |case| {
            case.with_assertion(|identity| identity["issuer"]["issuer_id"] = json!("svc-0"));
        }),
        Fault(Reason::IdentityIssuerRole, |case| {
            case.trusted_identity_key()["allowed_roles"] = json!(["security_lead"]);
        }),
        Fault(Reason::IdentityIssuerEnvironment, |case| {
            case.trusted_identity_key()["allowed_environments"] = json!(["staging"]);
        }),
        Fault(Reason::IdentityExpired, |case| {
            case.with_assertion(|identity| identity["expires_at"] = json!(NOW));
        }),
        Fault(Reason::IdentityIssuedInFuture, |case| {
            case.with_assertion(|identity| identity["issued_at"] = json!("2026-11-01T12:15:01Z"));
        }),
        Fault(Reason::InvalidIdentitySignature, |case| {
            case.identity_signer = Signer::Ed25519([99; 32]);
        }),
    ]
}
