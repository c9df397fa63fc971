//! Key rotation: several secrets, or a directory of keys, in the environment.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, SECRET, atlasent, claims, header, key, mac, now};

const OLD: &str = "c81f0e6b5f2c0a9d3e4b7a8190a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3";

const SECRETS: &str = "ATI_JWT_SECRETS";
const SHARED: &str = "ATI_JWT_SECRET";
const PRIVATE: &str = "ATI_JWT_PRIVATE_KEY";
const PUBLIC: &str = "ATI_JWT_PUBLIC_KEY";

fn issue() -> Atlasent {
    atlasent(["token", "issue", "--sub", "a", "--scope", "help"])
}

fn validate(token: &str) -> Atlasent {
    atlasent(["token", "validate"]).stdin(token)
}

fn provision() -> Atlasent {
    let arguments = ["token", "provision", "--agent", "a", "--proxy-url"];
    atlasent(arguments.into_iter().chain(["https://host"]))
}

/// Returns a token that was signed with the secret.
fn token_of(secret: &str) -> String {
    issue().env(SHARED, secret).prints()
}

/// Creates a directory with these test keys under these names.
fn keys(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, file) in files {
        fs::copy(key(file), directory.path().join(name)).unwrap();
    }
    directory
}

#[test]
fn tokens_of_each_secret_are_good_and_the_first_secret_issues() {
    let both = format!("{SECRET},{OLD}");
    for secret in [SECRET, OLD] {
        validate(&token_of(secret)).env(SECRETS, &both).prints();
        validate(&token_of(secret)).env(SECRETS, secret).prints();
    }
    let issued = issue().env(SECRETS, &both).prints();
    assert_eq!(header(&issued), json!({"alg": "HS256", "typ": "JWT"}));
    validate(&issued).env(SHARED, SECRET).prints();
    validate(&issued).env(SHARED, OLD).refusal();
    let provisioned = provision().env(SECRETS, &both).prints();
    let (_, token) = provisioned.trim_end().rsplit_once('=').unwrap();
    validate(token).env(SHARED, SECRET).prints();
}

#[test]
fn a_secret_that_was_removed_is_refused() {
    let line = validate(&token_of(OLD)).env(SECRETS, SECRET).refusal();
    assert!(line.contains("signature"), "{line}");
    // ATI_JWT_SECRETS takes precedence over ATI_JWT_SECRET, which is then ignored.
    validate(&token_of(OLD))
        .env(SECRETS, SECRET)
        .env(SHARED, OLD)
        .refusal();
}

#[test]
fn one_bad_secret_of_several_is_an_error_and_none_is_repeated() {
    let short = &OLD[..62];
    for secrets in [
        String::new(),
        ",".to_owned(),
        format!("{SECRET},"),
        format!(",{SECRET}"),
        format!("{SECRET},,{OLD}"),
        format!("{SECRET}, {OLD}"),
        format!("{SECRET},{short}"),
        format!("{SECRET},{}", OLD.replace('f', "g")),
        format!("{SECRET}\n{OLD}"),
        format!("{SECRET};{OLD}"),
    ] {
        for run in [issue(), provision(), validate(&token_of(SECRET))] {
            let line = run.env(SECRETS, &secrets).misuse();
            assert!(line.contains("`ATI_JWT_SECRETS`"), "{line}");
            assert!(!line.contains(&SECRET[..8]) && !line.contains(&OLD[..8]));
        }
    }
    for run in [issue(), validate(&token_of(SECRET))] {
        run.env(SECRETS, SECRET).env(SHARED, "no hex").misuse();
    }
    // An invalid secret is an error although a PEM key takes precedence.
    let run = issue().env(PRIVATE, key("test-p256.pkcs8.pem"));
    run.env(SECRETS, "no hex").misuse();
}

#[test]
fn a_directory_of_public_keys_validates_the_tokens_of_each() {
    let directory = keys(&[
        ("2026-05.pem", "test-p256.public.pem"),
        ("2026-11.pem", "test-other-p256.public.pem"),
    ]);
    let token = issue().env(PRIVATE, key("test-p256.pkcs8.pem")).prints();
    validate(&token).env(PUBLIC, directory.path()).prints();
    fs::remove_file(directory.path().join("2026-05.pem")).unwrap();
    validate(&token).env(PUBLIC, directory.path()).refusal();
    issue().env(PUBLIC, directory.path()).misuse();
}

#[test]
fn the_newest_key_of_a_directory_issues_and_names_itself() {
    let private = keys(&[
        ("2026-05.pem", "test-p256.sec1.pem"),
        ("2026-11.pem", "test-p256.pkcs8.pem"),
    ]);
    let token = issue().env(PRIVATE, private.path()).prints();
    let named = json!({"alg": "ES256", "typ": "JWT", "kid": "2026-11"});
    assert_eq!(header(&token), named);
    validate(&token).env(PRIVATE, private.path()).prints();
    validate(&token)
        .env(PUBLIC, key("test-p256.public.pem"))
        .prints();

    for (name, is_good) in [("2026-11.pem", true), ("2026-05.pem", false)] {
        let public = keys(&[(name, "test-p256.public.pem")]);
        let run = validate(&token).env(PUBLIC, public.path());
        if is_good {
            run.prints();
        } else {
            let line = run.refusal();
            assert!(line.contains("`kid`"), "{line}");
        }
    }
}

#[test]
fn no_file_of_a_directory_is_left_out_silently() {
    let good = ("2026-05.pem", "test-p256.public.pem");
    for (name, file) in [
        ("2026-11.pem", "test-rsa.public.pem"),
        ("2026-11.pem", "test-p256.pkcs8.pem"),
        ("2026-11.txt", "test-other-p256.public.pem"),
    ] {
        let directory = keys(&[good, (name, file)]);
        let run = validate(&token_of(SECRET)).keyed();
        let line = run.env(PUBLIC, directory.path()).misuse();
        assert!(line.contains(name), "{line}");
    }
    let empty = keys(&[]);
    let run = validate(&token_of(SECRET)).keyed();
    run.env(PUBLIC, empty.path()).misuse();
}

#[test]
fn a_file_s_name_stays_on_its_line() {
    let directory = keys(&[("\u{1b}[31m\n\u{202e}.pem", "test-rsa.public.pem")]);
    let line = validate("a.b.c").env(PUBLIC, directory.path()).misuse();
    assert!(line.contains("\\u{1b}[31m"), "{line}");
    assert!(!line.contains('\u{202e}'), "{line}");
}

/// Returns a token with this header, signed with [`SECRET`].
fn headed(header: &str) -> String {
    let claims =
        json!({"sub": "a", "aud": "ati-proxy", "iat": now(), "exp": now() + 60, "scope": ""});
    let secret = base16ct::lower::decode_vec(SECRET).unwrap();
    mac(header, &claims.to_string(), &secret)
}

#[test]
fn a_header_is_an_object_of_a_known_type() {
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/JWT",
        "Application/at+jwt",
    ] {
        let header = json!({"alg": "HS256", "typ": typ}).to_string();
        validate(&headed(&header)).keyed().prints();
    }
    validate(&headed(r#"{"alg":"HS256"}"#)).keyed().prints();
    for typ in [
        json!("JOSE"),
        json!("id+jwt"),
        json!(""),
        json!(null),
        json!(["JWT"]),
    ] {
        let header = json!({"alg": "HS256", "typ": typ}).to_string();
        validate(&headed(&header)).keyed().refusal();
    }
    for header in [r#"["HS256"]"#, r#"["HS256","JWT"]"#, "\"HS256\"", "null"] {
        validate(&headed(header)).keyed().refusal();
    }
}

#[test]
fn a_kid_is_ignored_if_keys_have_no_ids() {
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "theirs"}).to_string();
    let both = format!("{OLD},{SECRET}");
    validate(&headed(&header)).env(SECRETS, both).prints();
    validate(&headed(&header)).keyed().prints();
}

#[test]
fn ati_is_always_issued_and_another_version_is_refused() {
    for run in [issue(), provision()] {
        let output = run.keyed().prints();
        let token = output.trim_end().rsplit('=').next().unwrap();
        assert_eq!(claims(token)["ati"], json!({"v": 1}));
    }
    let with = |ati: Value| {
        let mut claims = claims(&token_of(SECRET));
        claims["ati"] = ati;
        crate::support::sign(&claims)
    };
    validate(&with(json!({"v": 1}))).keyed().prints();
    let line = validate(&with(json!({"v": 2}))).keyed().refusal();
    assert!(line.contains("`ati.v` is 2"), "{line}");
    for ati in [
        json!(null),
        json!([]),
        json!("1"),
        json!({}),
        json!({"v": "1"}),
        json!({"v": 1.0}),
    ] {
        let line = validate(&with(ati)).keyed().refusal();
        assert!(line.contains("`ati`"), "{line}");
    }
}

#[test]
fn a_leeway_above_ten_minutes_is_bad_usage() {
    let with = |seconds: &str| {
        let arguments = ["token", "validate", "--leeway", seconds];
        atlasent(arguments).keyed().stdin(token_of(SECRET))
    };
    with("600").prints();
    for seconds in ["601", "3600", &u64::MAX.to_string()] {
        let line = with(seconds).misuse();
        assert!(line.contains("600"), "{line}");
    }
}

#[test]
fn the_help_says_how_a_key_is_replaced() {
    for command in ["issue", "validate", "provision"] {
        let help = atlasent(["token", command, "--help"]).prints();
        assert!(
            help.contains(SECRETS) && help.contains("directory"),
            "{help}"
        );
    }
}
