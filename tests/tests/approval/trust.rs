//! What a configuration of trusted issuers may be.

use atlasent::approval::TrustedIssuers;
use serde_json::{Value, json};

use crate::case::Signer;

fn error(entry: Value) -> String {
    let text = json!({"svc": {"k": entry}}).to_string();
    TrustedIssuers::parse(&text).unwrap_err().to_string()
}

fn identity_error(entry: Value) -> String {
    let text = json!({"idp": {"k": entry}}).to_string();
    let trusted = TrustedIssuers::default().identity_issuers(&text);
    trusted.unwrap_err().to_string()
}

#[test]
fn a_bad_key_is_named_and_not_repeated() {
    let key = |alg: &str, key: &str| json!({"alg": alg, "key": key});
    let identity_point = format!("01{}", "00".repeat(31));
    let no_point = format!("02{}", "00".repeat(31));
    for (entry, why) in [
        (json!([]), "is not an object"),
        (json!({}), "has no `alg`"),
        (json!({"alg": "HS256"}), "has no `key`"),
        (json!({"alg": "HS256", "key": 7}), "has no `key`"),
        (json!({"alg": null, "key": "00"}), "has no `alg`"),
        (
            key("none", ""),
            "has an `alg` that is neither `HS256` nor `Ed25519`",
        ),
        (
            key("hs256", "00"),
            "has an `alg` that is neither `HS256` nor `Ed25519`",
        ),
        (key("HS256", ""), "has an empty `key`"),
        (key("HS256", "5ec2e"), "has a `key` that is not hexadecimal"),
        (
            key("HS256", "5ecre7"),
            "has a `key` that is not hexadecimal",
        ),
        (
            key("Ed25519", "5ec2e7"),
            "has a `key` of Ed25519 that is not 32 bytes long",
        ),
        (
            key("Ed25519", ""),
            "has a `key` of Ed25519 that is not 32 bytes long",
        ),
        (
            key("Ed25519", &no_point),
            "has a `key` that is not a public key of Ed25519",
        ),
        (
            key("Ed25519", &identity_point),
            "has a weak `key`: anyone can sign for it",
        ),
    ] {
        assert_eq!(
            error(entry.clone()),
            format!("the key `k` of the issuer `svc` {why}")
        );
        assert_eq!(
            identity_error(entry),
            format!("the key `k` of the issuer `idp` {why}")
        );
    }
}

#[test]
fn a_bad_scope_is_named() {
    let with = |member: &str, value: &Value| {
        let mut entry = Signer::Hs256([1; 32]).trusted();
        entry[member] = value.clone();
        entry
    };
    for wrong in [json!("x"), json!([7]), json!([""]), json!({}), json!(true)] {
        for member in ["allowed_action_types", "allowed_environments"] {
            let text = error(with(member, &wrong));
            assert!(text.ends_with(&format!("has `{member}` that are not an array of names")));
        }
        for member in ["allowed_roles", "allowed_environments"] {
            let text = identity_error(with(member, &wrong));
            assert!(text.ends_with(&format!("has `{member}` that are not an array of names")));
        }
    }
    for wrong in [json!(""), json!(["qa"]), json!(7)] {
        let text = error(with("required_role", &wrong));
        assert!(
            text.ends_with("has a `required_role` that is not a name"),
            "{text}"
        );
    }
    for pattern in ["*", ".*", "deploy*", "*.deploy", "deploy.*.eu", "deploy.**"] {
        let text = error(with("allowed_action_types", &json!(["read", pattern])));
        assert!(
            text.ends_with("with a `*` that is not in a `.*` at the end"),
            "{pattern}"
        );
    }
}

#[test]
fn a_member_of_the_other_kind_is_unknown() {
    let mut approval = Signer::Hs256([1; 32]).trusted();
    approval["allowed_roles"] = json!([]);
    assert_eq!(
        error(approval),
        "the key `k` of the issuer `svc` has an unknown member"
    );
    for member in ["allowed_action_types", "required_role", "ALG"] {
        let mut identity = Signer::Hs256([1; 32]).trusted();
        identity[member] = json!(null);
        let text = identity_error(identity);
        assert_eq!(
            text,
            "the key `k` of the issuer `idp` has an unknown member"
        );
    }
}

#[test]
fn a_text_that_is_no_configuration_is_refused() {
    for (text, why) in [
        ("", "the issuers cannot be read: "),
        ("{", "the issuers cannot be read: "),
        (
            r#"{"a":{},"a":{}}"#,
            "the issuers cannot be read: the key `a` is repeated",
        ),
        (
            r#"{"a":{"k":1,"k":2}}"#,
            "the issuers cannot be read: the key `k` is repeated",
        ),
        ("[]", "the issuers are not a JSON object"),
        ("null", "the issuers are not a JSON object"),
        (r#"{"a":[]}"#, "the issuer `a` is not an object of its keys"),
    ] {
        let error = TrustedIssuers::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(why), "{error}");
        assert!(TrustedIssuers::default().identity_issuers(text).is_err());
    }
    assert!(TrustedIssuers::parse("{}").is_ok());
}
