//! The sources of keys for tokens, their precedence, and errors for invalid keys.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use crate::support::{Atlasent, SECRET, atlasent, header, key, mac, payload, token};

const PRIVATE: &str = "ATI_JWT_PRIVATE_KEY";
const PUBLIC: &str = "ATI_JWT_PUBLIC_KEY";
const SHARED: &str = "ATI_JWT_SECRET";

fn issue() -> Atlasent {
    atlasent(["token", "issue", "--sub", "a", "--scope", "help"])
}

fn provision() -> Atlasent {
    atlasent([
        "token",
        "provision",
        "--agent",
        "a",
        "--proxy-url",
        "https://host",
    ])
}

fn validate(token: &str) -> Atlasent {
    atlasent(["token", "validate"]).stdin(token)
}

/// Returns each command that needs a key. `validate` gets a valid token.
fn commands_with_keys() -> [Atlasent; 3] {
    [issue(), provision(), validate(&token())]
}

#[test]
fn without_a_key_nothing_is_issued_or_validated() {
    for run in commands_with_keys() {
        let line = run.misuse();
        assert!(line.contains(SHARED), "{line}");
    }
}

#[test]
fn a_secret_that_cannot_be_used_is_an_error_and_is_not_repeated() {
    let odd = &SECRET[1..];
    let spaced = format!("{SECRET} ");
    let lined = format!("{SECRET}\n");
    let prefixed = format!("0x{SECRET}");
    let short = &SECRET[..62];
    let no_hex = SECRET.replace('f', "g");
    for secret in ["", " ", odd, &spaced, &lined, &prefixed, short, &no_hex] {
        for run in commands_with_keys() {
            let line = run.env(SHARED, secret).misuse();
            assert!(!line.contains(&SECRET[..20]), "{line}");
        }
    }
}

#[test]
fn a_secret_is_read_in_either_case_and_of_any_length_from_32_bytes_on() {
    let token = issue().env(SHARED, SECRET.to_uppercase()).prints();
    validate(&token).env(SHARED, SECRET).prints();
    let long = SECRET.repeat(4);
    validate(&issue().env(SHARED, &long).prints())
        .env(SHARED, &long)
        .prints();
}

#[test]
fn a_private_key_alone_issues_and_a_public_key_alone_validates() {
    for private in ["test-p256.pkcs8.pem", "test-p256.sec1.pem"] {
        let token = issue().env(PRIVATE, key(private)).prints();
        assert_eq!(header(&token), json!({"alg": "ES256", "typ": "JWT"}));
        validate(&token)
            .env(PUBLIC, key("test-p256.public.pem"))
            .prints();
        validate(&token)
            .env(PUBLIC, key("test-other-p256.public.pem"))
            .refusal();
    }
    provision()
        .env(PRIVATE, key("test-p256.pkcs8.pem"))
        .prints();
}

#[test]
fn a_public_key_cannot_issue() {
    issue().env(PUBLIC, key("test-p256.public.pem")).misuse();
    provision()
        .env(PUBLIC, key("test-p256.public.pem"))
        .misuse();
}

#[test]
fn keys_in_files_go_before_the_secret() {
    let both = |run: Atlasent| {
        run.keyed()
            .env(PRIVATE, key("test-p256.pkcs8.pem"))
            .env(PUBLIC, key("test-p256.public.pem"))
    };
    let token = both(issue()).prints();
    assert_eq!(header(&token)["alg"], "ES256");
    both(validate(&token)).prints();
    // A token that was signed with the secret is refused.
    both(validate(&issue().keyed().prints())).refusal();
}

#[test]
fn a_file_that_cannot_be_used_is_an_error_even_beside_a_good_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let good = fs::read(key("test-p256.pkcs8.pem")).unwrap();
    let files = [
        folder.path().to_owned(),
        folder.path().join("missing.pem"),
        file("empty.pem", b""),
        file("noise.pem", &[0xff; 300]),
        file("cut.pem", &good[..good.len() / 2]),
        file("hex.pem", SECRET.as_bytes()),
        key("test-p384.pkcs8.pem"),
        key("test-rsa.public.pem"),
    ];
    for path in &files {
        issue().keyed().env(PRIVATE, path).misuse();
        provision().keyed().env(PRIVATE, path).misuse();
        validate(&token()).keyed().env(PUBLIC, path).misuse();
    }
    issue()
        .keyed()
        .env(PRIVATE, key("test-p256.public.pem"))
        .misuse();
    validate(&token()).keyed().env(PUBLIC, "").misuse();
    issue().keyed().env(PRIVATE, "").misuse();
}

#[test]
fn a_key_in_place_of_its_path_is_not_repeated() {
    let pem = fs::read_to_string(key("test-p256.pkcs8.pem")).unwrap();
    for value in [SECRET, &pem] {
        for variable in [PRIVATE, PUBLIC] {
            for run in commands_with_keys() {
                let line = run.env(variable, value).misuse();
                assert!(line.contains(&format!("`{variable}`")), "{line}");
                assert!(!line.contains(&SECRET[..8]), "{line}");
                assert!(!line.contains("BEGIN"), "{line}");
            }
        }
    }
}

#[test]
fn a_token_in_place_of_its_variable_is_not_repeated() {
    let token = token();
    let line = atlasent(["approvals", "list", "--token-env", &*token]).misuse();
    assert!(line.contains("`--token-env`"), "{line}");
    assert!(!line.contains(&token[..20]), "{line}");
}

#[test]
fn keys_that_do_not_belong_together_are_an_error() {
    issue()
        .env(PRIVATE, key("test-p256.pkcs8.pem"))
        .env(PUBLIC, key("test-other-p256.public.pem"))
        .misuse();
}

#[test]
fn the_key_says_how_a_token_is_signed_and_the_token_does_not() {
    let claims = String::from_utf8(payload(&token())).unwrap();
    let secret = base16ct::lower::decode_vec(SECRET).unwrap();
    for algorithm in ["none", "None", "HS384", "HS512", "ES256", "RS256", ""] {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
        validate(&mac(&header, &claims, &secret)).keyed().refusal();
    }
    // The public key is not secret, so an attacker can compute this signature.
    let public = key("test-p256.public.pem");
    let known = fs::read(&public).unwrap();
    for algorithm in ["HS256", "ES256"] {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
        validate(&mac(&header, &claims, &known))
            .env(PUBLIC, &public)
            .refusal();
    }
}

#[test]
fn a_variable_that_is_not_utf_8_is_an_error() {
    let noise = OsStr::from_bytes(b"\xff");
    for run in commands_with_keys() {
        run.env(SHARED, noise).misuse();
    }
    for run in commands_with_keys() {
        run.keyed().env("ATI_JWT_ISSUER", noise).misuse();
    }
    let run = validate(&token()).keyed();
    run.env("ATI_JWT_AUDIENCE", noise).misuse();
}

#[test]
fn an_empty_issuer_is_an_error() {
    for run in commands_with_keys() {
        let line = run.keyed().env("ATI_JWT_ISSUER", "").misuse();
        assert!(line.contains("`ATI_JWT_ISSUER`"), "{line}");
    }
}

#[test]
fn configuration_errors_are_reported_before_the_token() {
    // The invalid key is reported (exit code 2) although the token is invalid too.
    validate("sesame").env(SHARED, "no hex").misuse();
    validate("sesame").misuse();
}
