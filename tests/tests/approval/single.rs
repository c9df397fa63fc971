//! What one approval has to be: its form, its action, the scope of its issuer.

use atlasent::approval::{
    ActionBinding, ApprovalArtifact, Expected, Reason, action_hash, verify_artifact,
};
use serde_json::{Value, json};

use crate::case::{Case, HASH, hex, now};

fn verdict(change: impl FnOnce(&mut Case)) -> Option<Reason> {
    let mut case = Case::new();
    change(&mut case);
    case.verdict().err()
}

/// The verdict with the value of a member, or without the member.
fn artifact_with(pointer: &str, value: Option<Value>) -> Option<Reason> {
    verdict(|case| set(&mut case.artifact, pointer, value))
}

fn assertion_with(pointer: &str, value: Option<Value>) -> Option<Reason> {
    verdict(|case| case.with_assertion(|assertion| set(assertion, pointer, value)))
}

fn set(object: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(member.to_owned(), value)),
        None => drop(parent.remove(member)),
    }
}

#[test]
fn what_is_no_object_is_missing() {
    let case = Case::new();
    for value in [
        json!(null),
        json!([]),
        json!([case.signed()]),
        json!(""),
        json!(1),
        json!(true),
    ] {
        let verified = verify_artifact(&value, &case.expected, &case.issuers(), now());
        assert_eq!(verified.err(), Some(Reason::MissingArtifact), "{value}");
    }
    let verified = verify_artifact(&json!({}), &case.expected, &case.issuers(), now());
    assert_eq!(verified.err(), Some(Reason::InvalidArtifactVersion));
}

#[test]
fn an_unknown_member_at_any_level_is_refused_though_it_is_signed() {
    for pointer in ["/new", "/Version", "/reviewer/new", "/issuer/new"] {
        let reason = artifact_with(pointer, Some(json!("x")));
        assert_eq!(reason, Some(Reason::InvalidArtifactVersion), "{pointer}");
    }
    for pointer in ["/new", "/subject/new", "/binding/new", "/issuer/new"] {
        let reason = assertion_with(pointer, Some(json!(null)));
        assert_eq!(reason, Some(Reason::InvalidIdentityVersion), "{pointer}");
    }
}

#[test]
fn a_malformed_member_of_an_artifact_fails_the_check_that_reads_it() {
    use Reason::{
        ActionMismatch, Expired, InvalidArtifactVersion, IssuedInFuture, ReviewerNotHuman,
        TenantMismatch, UntrustedIssuer,
    };
    let wrong = [
        json!(null),
        json!(7),
        json!(true),
        json!(["x"]),
        json!({}),
        json!(""),
    ];
    for (pointer, reason) in [
        ("/version", InvalidArtifactVersion),
        ("/approval_id", InvalidArtifactVersion),
        ("/nonce", InvalidArtifactVersion),
        ("/reviewer/principal_id", InvalidArtifactVersion),
        ("/tenant_id", TenantMismatch),
        ("/action_hash", ActionMismatch),
        ("/action_type", ActionMismatch),
        ("/resource_id", ActionMismatch),
        ("/reviewer", ReviewerNotHuman),
        ("/reviewer/principal_kind", ReviewerNotHuman),
        ("/issuer", UntrustedIssuer),
        ("/issuer/type", UntrustedIssuer),
        ("/issuer/issuer_id", UntrustedIssuer),
        ("/issuer/kid", UntrustedIssuer),
        ("/expires_at", Expired),
        ("/issued_at", IssuedInFuture),
    ] {
        assert_eq!(
            artifact_with(pointer, None).as_ref(),
            Some(&reason),
            "{pointer}"
        );
        for value in &wrong {
            // An empty object is a reviewer without a name.
            let expected = match (pointer, value) {
                ("/reviewer", Value::Object(_)) => &InvalidArtifactVersion,
                _ => &reason,
            };
            let found = artifact_with(pointer, Some(value.clone()));
            assert_eq!(found.as_ref(), Some(expected), "{pointer} {value}");
        }
    }
}

#[test]
fn a_malformed_member_of_an_assertion_fails_the_check_that_reads_it() {
    use Reason::{
        IdentityActionMismatch, IdentityApprovalMismatch, IdentityEnvironmentMismatch,
        IdentityExpired, IdentityIssuedInFuture, IdentityNotHuman, IdentityReviewerMismatch,
        IdentityRoleMismatch, IdentityTenantMismatch, InvalidIdentityVersion,
        UntrustedIdentityIssuer,
    };
    let wrong = [
        json!(null),
        json!(7),
        json!(true),
        json!(["x"]),
        json!({}),
        json!(""),
    ];
    for (pointer, reason) in [
        ("/version", InvalidIdentityVersion),
        ("/binding", IdentityTenantMismatch),
        ("/binding/tenant_id", IdentityTenantMismatch),
        ("/binding/action_hash", IdentityActionMismatch),
        ("/subject", IdentityNotHuman),
        ("/subject/principal_kind", IdentityNotHuman),
        ("/subject/principal_id", IdentityReviewerMismatch),
        ("/binding/approval_id", IdentityApprovalMismatch),
        ("/role", IdentityRoleMismatch),
        ("/binding/environment", IdentityEnvironmentMismatch),
        ("/issuer", UntrustedIdentityIssuer),
        ("/issuer/type", UntrustedIdentityIssuer),
        ("/issuer/issuer_id", UntrustedIdentityIssuer),
        ("/issuer/kid", UntrustedIdentityIssuer),
        ("/expires_at", IdentityExpired),
        ("/issued_at", IdentityIssuedInFuture),
    ] {
        assert_eq!(
            assertion_with(pointer, None).as_ref(),
            Some(&reason),
            "{pointer}"
        );
        for value in &wrong {
            let found = assertion_with(pointer, Some(value.clone()));
            assert_eq!(found.as_ref(), Some(&reason), "{pointer} {value}");
        }
    }
}

#[test]
fn optional_members_have_their_form_or_are_absent_or_null() {
    for (pointer, wrong) in [
        ("/reviewer/email", json!(7)),
        ("/reviewer/groups", json!("g")),
        ("/reviewer/groups", json!([7])),
        ("/reviewer/roles", json!("qa_reviewer")),
        ("/reviewer/roles", json!(["qa_reviewer", 7])),
        ("/reviewer/roles", json!({"qa_reviewer": true})),
    ] {
        let reason = artifact_with(pointer, Some(wrong));
        assert_eq!(reason, Some(Reason::InvalidArtifactVersion), "{pointer}");
        let absent = match pointer {
            "/reviewer/roles" => Some(Reason::ReviewerLacksRole),
            _ => None,
        };
        assert_eq!(artifact_with(pointer, None), absent);
        assert_eq!(artifact_with(pointer, Some(Value::Null)), absent);
    }
    for absent in [None, Some(Value::Null)] {
        assert_eq!(assertion_with("/nonce", absent), None);
    }
    for wrong in [json!(""), json!("1234567"), json!(12_345_678)] {
        let reason = assertion_with("/nonce", Some(wrong));
        assert_eq!(reason, Some(Reason::InvalidIdentityVersion));
    }
}

#[test]
fn a_nonce_has_at_least_eight_characters() {
    for (nonce, expected) in [
        ("1234567", Some(Reason::InvalidArtifactVersion)),
        ("12345678", None),
        ("éééééé7", Some(Reason::InvalidArtifactVersion)),
        ("éééééé78", None),
    ] {
        assert_eq!(
            artifact_with("/nonce", Some(json!(nonce))),
            expected,
            "{nonce}"
        );
    }
}

#[test]
fn an_assertion_that_is_not_required_may_be_absent_and_is_verified_when_present() {
    let not_required = |case: &mut Case| {
        case.expected = Expected::new("org-1", HASH)
            .environment("production")
            .required_role("qa_reviewer");
    };
    for absent in [None, Some(Value::Null)] {
        let reason = verdict(|case| {
            not_required(case);
            case.assertion = absent;
        });
        assert_eq!(reason, None);
    }
    for wrong in [json!("x"), json!([]), json!(false), json!({})] {
        for required in [true, false] {
            let reason = verdict(|case| {
                if !required {
                    not_required(case);
                }
                case.assertion = Some(wrong.clone());
            });
            assert_eq!(reason, Some(Reason::InvalidIdentityVersion), "{wrong}");
        }
    }
    let reason = verdict(|case| {
        not_required(case);
        case.with_assertion(|assertion| assertion["role"] = json!("reader"));
    });
    assert_eq!(reason, Some(Reason::IdentityRoleMismatch));
    let reason = verdict(|case| case.assertion = Some(Value::Null));
    assert_eq!(reason, Some(Reason::MissingIdentity));
}

#[test]
fn the_role_of_the_issuers_key_takes_precedence() {
    let lead = |case: &mut Case| case.trusted_key()["required_role"] = json!("security_lead");
    assert_eq!(verdict(lead), Some(Reason::ReviewerLacksRole));
    let reason = verdict(|case| {
        lead(case);
        case.artifact["reviewer"]["roles"] = json!(["security_lead"]);
    });
    assert_eq!(reason, Some(Reason::IdentityRoleMismatch));
    let reason = verdict(|case| {
        lead(case);
        case.artifact["reviewer"]["roles"] = json!(["security_lead"]);
        case.with_assertion(|assertion| assertion["role"] = json!("security_lead"));
    });
    assert_eq!(reason, None);
}

#[test]
fn without_a_required_role_any_reviewer_and_any_asserted_role_will_do() {
    let reason = verdict(|case| {
        case.expected = Expected::new("org-1", HASH).environment("production");
        case.artifact["reviewer"]["roles"] = json!([]);
        case.with_assertion(|assertion| assertion["role"] = json!("anything"));
    });
    assert_eq!(reason, None);
}

#[test]
fn a_scope_that_is_absent_or_empty_restricts_nothing() {
    for scope in [Value::Null, json!([])] {
        let reason = verdict(|case| {
            for member in ["allowed_action_types", "allowed_environments"] {
                case.trusted_key()[member] = scope.clone();
            }
            for member in ["allowed_roles", "allowed_environments"] {
                case.trusted_identity_key()[member] = scope.clone();
            }
        });
        assert_eq!(reason, None);
    }
    let reason = verdict(|case| {
        case.trusted_key()["allowed_action_types"] = json!(["read", "deploy.*"]);
        case.trusted_key()["allowed_environments"] = json!(["staging", "production"]);
        case.trusted_identity_key()["allowed_roles"] = json!(["reader", "qa_reviewer"]);
        case.trusted_identity_key()["allowed_environments"] = json!(["production"]);
    });
    assert_eq!(reason, None);
}

#[test]
fn a_pattern_of_an_issuer_ends_at_a_dot() {
    for (pattern, expected) in [
        ("deploy.*", None),
        ("deploy.production.*", None),
        ("deploy.prod.*", Some(Reason::IssuerActionType)),
        ("deploy.production.eu.*", Some(Reason::IssuerActionType)),
        ("deploy", Some(Reason::IssuerActionType)),
    ] {
        let scope = json!([pattern]);
        let reason = verdict(|case| case.trusted_key()["allowed_action_types"] = scope);
        assert_eq!(reason, expected, "{pattern}");
    }
}

#[test]
fn an_issuer_of_some_environments_approves_no_action_without_one() {
    let without = |environments: Value| {
        verdict(|case| {
            case.expected = Expected::new("org-1", HASH);
            case.trusted_key()["allowed_environments"] = environments;
            case.with_assertion(|assertion| assertion["binding"]["environment"] = json!(""));
        })
    };
    assert_eq!(without(json!([])), None);
    assert_eq!(
        without(json!(["production"])),
        Some(Reason::IssuerEnvironment)
    );
    let reason = verdict(|case| case.expected = Expected::new("org-1", HASH));
    assert_eq!(reason, Some(Reason::IdentityEnvironmentMismatch));
}

#[test]
fn an_issuer_cannot_widen_its_scope_by_naming_another_type_of_action() {
    let action = ActionBinding::new("deploy.production", "deploy-bot")
        .resource_id("cluster-7")
        .environment("production");
    let mut case = Case::new();
    case.expected = Expected::for_action("org-1", &action);
    case.assertion = None;
    case.trusted_key()["allowed_action_types"] = json!(["deploy.staging"]);
    case.artifact["action_hash"] = json!(action_hash(&action));
    assert_eq!(case.verdict(), Err(Reason::IssuerActionType));
    case.artifact["action_type"] = json!("deploy.staging");
    assert_eq!(case.verdict(), Err(Reason::ActionMismatch));
    case.artifact["action_type"] = json!("deploy.production");
    case.artifact["resource_id"] = json!("cluster-8");
    assert_eq!(case.verdict(), Err(Reason::ActionMismatch));
    case.artifact["resource_id"] = json!("cluster-7");
    case.trusted_key()["allowed_action_types"] = json!(["deploy.*"]);
    assert_eq!(case.verdict(), Ok(()));
}

#[test]
fn with_a_hash_alone_the_artifact_names_its_action() {
    let reason = verdict(|case| {
        case.expected = Expected::new("org-1", HASH).environment("production");
        case.artifact["action_type"] = json!("deploy.staging");
        case.artifact["resource_id"] = json!("");
    });
    assert_eq!(reason, None);
    let reason = verdict(|case| {
        case.expected = Expected::new("org-1", HASH.to_uppercase()).environment("production");
    });
    assert_eq!(reason, Some(Reason::ActionMismatch));
}

#[test]
fn a_verified_approval_says_who_approved_what() {
    let case = Case::new();
    let verified = case.verify().unwrap();
    assert_eq!(
        verified.to_json(),
        json!({"approval_id": "apr-ada", "artifact_hash": verified.artifact_hash,
            "reviewer_id": "ada", "issuer_id": "svc-0", "kid": "k"})
    );
    assert_eq!(verified.reviewer_roles, ["reader", "qa_reviewer"]);
    let identity = verified.identity.as_ref().unwrap();
    assert_eq!((&*identity.issuer_id, &*identity.kid), ("idp-0", "k"));
    assert_eq!(
        (&*identity.role, identity.nonce.as_deref()),
        ("qa_reviewer", Some("assertion-nonce"))
    );
    assert_eq!(
        (&*verified.nonce.tenant_id, &*verified.nonce.value),
        ("org-1", "nonce-ada")
    );
    // The hash of an artifact does not depend on the form of its signature.
    let mut artifact = case.signed();
    artifact["signature"] = json!(artifact["signature"].as_str().unwrap().to_uppercase());
    let other = verify_artifact(&artifact, &case.expected, &case.issuers(), now());
    assert_eq!(other, Ok(verified));
}

#[test]
fn an_artifact_that_a_client_read_into_its_type_verifies() {
    let case = Case::new();
    let typed: ApprovalArtifact = serde_json::from_value(case.signed()).unwrap();
    let verified = verify_artifact(&typed.into(), &case.expected, &case.issuers(), now());
    assert_eq!(verified, case.verify());
}

#[test]
fn the_keys_of_issuers_do_not_show() {
    let mut case = Case::new();
    let secret = hex(&[1; 32]);
    assert_eq!(case.trusted_key()["key"], json!(secret));
    let shown = format!("{:?}", case.issuers());
    assert_eq!(
        shown,
        r#"TrustedIssuers { approval: {"svc-0": ["k"]}, identity: {"idp-0": ["k"]} }"#
    );
}
