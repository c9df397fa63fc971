use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::*;
use crate::{Algorithm, Claims, VerifierBuilder, issue};

const HEX: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";

fn in_environment<T>(variables: &[(&str, &str)], read: impl FnOnce(EnvVars<'_>) -> T) -> T {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    read(EnvVars(&|name| variables.get(name).map(OsString::from)))
}

fn signing(variables: &[(&str, &str)]) -> Result<SigningKey, Error> {
    in_environment(variables, |environment| environment.signing_key())
}

fn verifying(variables: &[(&str, &str)]) -> Result<Vec<VerifyingKey>, Error> {
    in_environment(variables, |environment| environment.verifying_keys())
}

fn audiences(variables: &[(&str, &str)]) -> Result<Option<Vec<String>>, Error> {
    in_environment(variables, |environment| environment.audiences())
}

/// Returns the path of one of the test keys.
fn pem(name: &str) -> String {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokens/keys");
    keys.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_pem_key_comes_before_a_secret() {
    let (private, public) = (pem("p256.pkcs8.pem"), pem("p256.public.pem"));
    let (secret, private, public) = (
        (SECRET, HEX),
        (PRIVATE_KEY, &*private),
        (PUBLIC_KEY, &*public),
    );
    for (variables, issues, validates) in [
        (&[secret][..], Algorithm::Hs256, Algorithm::Hs256),
        (&[private], Algorithm::Es256, Algorithm::Es256),
        (&[private, secret], Algorithm::Es256, Algorithm::Es256),
        (&[private, public], Algorithm::Es256, Algorithm::Es256),
        (
            &[private, public, secret],
            Algorithm::Es256,
            Algorithm::Es256,
        ),
    ] {
        let (signing, verifying) = (signing(variables).unwrap(), verifying(variables).unwrap());
        assert_eq!(signing.algorithm(), issues);
        assert_eq!(verifying.len(), 1);
        assert_eq!(verifying[0].algorithm(), validates);
        let token = issue(&Claims::builder("a").build().unwrap(), &signing).unwrap();
        let verifier = crate::Verifier::builder(verifying).build().unwrap();
        assert!(verifier.verify(&token).is_ok());
    }
}

#[test]
fn a_public_key_validates_and_never_lets_the_secret_issue() {
    let public = pem("p256.public.pem");
    let variables = [(PUBLIC_KEY, &*public), (SECRET, HEX)];
    let keys = verifying(&variables).unwrap();
    assert_eq!((keys.len(), keys[0].algorithm()), (1, Algorithm::Es256));
    assert!(matches!(signing(&variables), Err(Error::NoKey { .. })));
}

#[test]
fn two_keys_that_do_not_belong_together_issue_nothing() {
    let (private, public) = (pem("p256.pkcs8.pem"), pem("other.public.pem"));
    let refusal = signing(&[(PRIVATE_KEY, &private), (PUBLIC_KEY, &public)]);
    assert!(matches!(refusal, Err(Error::BadKey { .. })));
}

#[test]
fn no_key_is_an_error_that_names_the_variables() {
    assert_eq!(
        signing(&[]).unwrap_err().to_string(),
        "no key is configured: set `ATI_JWT_PRIVATE_KEY` to a PEM file, or `ATI_JWT_SECRET` to a secret in hex"
    );
    assert_eq!(
        verifying(&[]).unwrap_err().to_string(),
        "no key is configured: set `ATI_JWT_PUBLIC_KEY` to a PEM file, or `ATI_JWT_SECRET` to a secret in hex"
    );
}

/// The current secret, and an older one.
const OLD: &str = "c81f0e6b5f2c0a9d3e4b7a8190a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3";

/// Whether a verifier of this environment accepts a token of the secret.
fn accepts(variables: &[(&str, &str)], secret: &str) -> bool {
    let claims = Claims::builder("a").build().unwrap();
    let token = issue(&claims, &SigningKey::from_hex(secret).unwrap()).unwrap();
    let verifier = in_environment(variables, |environment| {
        VerifierBuilder::from_environment(&environment)
    });
    verifier.unwrap().build().unwrap().verify(&token).is_ok()
}

#[test]
fn several_secrets_validate_and_the_first_issues() {
    let both = format!("{HEX},{OLD}");
    let several = [(SECRETS, both.as_str())];
    assert!(accepts(&several, HEX) && accepts(&several, OLD));
    assert!(accepts(&[(SECRETS, HEX)], HEX) && !accepts(&[(SECRETS, HEX)], OLD));
    let claims = Claims::builder("a").jti("1").issued_at(1).build().unwrap();
    assert_eq!(
        issue(&claims, &signing(&several).unwrap()),
        issue(&claims, &SigningKey::from_hex(HEX).unwrap())
    );
}

#[test]
fn several_secrets_come_before_one_which_is_checked_all_the_same() {
    let (several, one) = ((SECRETS, HEX), (SECRET, OLD));
    assert!(accepts(&[several, one], HEX) && !accepts(&[several, one], OLD));
    let refused = verifying(&[several, (SECRET, "no hex")]).unwrap_err();
    assert!(matches!(
        refused,
        Error::Environment {
            variable: SECRET,
            ..
        }
    ));
}

#[test]
fn one_bad_secret_of_several_is_an_error_that_repeats_none() {
    for bad in [
        String::new(),
        ",".to_owned(),
        format!("{HEX},"),
        format!(",{HEX}"),
        format!("{HEX},,{OLD}"),
        format!("{HEX}, {OLD}"),
        format!("{HEX} ,{OLD}"),
        format!("{HEX};{OLD}"),
        format!("{HEX}\n{OLD}"),
        format!("{HEX},{}", OLD.get(2..).unwrap()),
        format!("{HEX},{}", OLD.replace('c', "g")),
        format!("{HEX},0x{OLD}"),
    ] {
        for refusal in [
            signing(&[(SECRETS, &bad)]).map(drop),
            verifying(&[(SECRETS, &bad)]).map(drop),
            verifying(&[(SECRETS, &bad), (SECRET, HEX)]).map(drop),
        ] {
            let refusal = refusal.unwrap_err();
            assert!(
                matches!(
                    refusal,
                    Error::Environment {
                        variable: SECRETS,
                        ..
                    }
                ),
                "{bad}: {refusal}"
            );
            assert!(
                !refusal.to_string().contains(HEX.get(..8).unwrap()),
                "{refusal}"
            );
            assert!(
                !refusal.to_string().contains(OLD.get(2..8).unwrap()),
                "{refusal}"
            );
        }
    }
}

#[test]
fn a_secret_that_cannot_be_used_is_an_error_beside_a_pem_key() {
    let (private, public) = (pem("p256.pkcs8.pem"), pem("p256.public.pem"));
    for (variable, path) in [(PRIVATE_KEY, &private), (PUBLIC_KEY, &public)] {
        for secrets in [SECRET, SECRETS] {
            let variables = [(variable, path.as_str()), (secrets, "no hex")];
            let refused =
                |error| matches!(error, Error::Environment { variable, .. } if variable == secrets);
            assert!(refused(verifying(&variables).unwrap_err()));
            assert!(refused(signing(&variables).unwrap_err()));
        }
    }
}

/// Creates a directory with copies of test keys, each under the given name.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, key) in files {
        std::fs::copy(pem(key), directory.path().join(name)).unwrap();
    }
    directory
}

#[test]
fn a_directory_of_keys_validates_and_its_newest_issues() {
    let public = directory(&[
        ("2026-05.pem", "other.public.pem"),
        ("2026-11.pem", "p256.public.pem"),
    ]);
    let private = directory(&[("mine.pem", "p256.pkcs8.pem")]);
    let public = (PUBLIC_KEY, public.path().to_str().unwrap());
    let private = (PRIVATE_KEY, private.path().to_str().unwrap());
    let ids = |variables: &[_]| {
        let keys = verifying(variables).unwrap();
        keys.iter()
            .map(|key| key.id().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&[public]), ["2026-11", "2026-05"]);
    assert_eq!(ids(&[private]), ["mine"]);
    assert_eq!(signing(&[private]).unwrap().id(), Some("mine"));
    // The id comes from the file of the public key.
    assert_eq!(ids(&[public, private]), ["2026-11", "2026-05"]);
    assert_eq!(signing(&[public, private]).unwrap().id(), Some("2026-11"));
    let single = pem("p256.pkcs8.pem");
    let single = (PRIVATE_KEY, single.as_str());
    assert_eq!(signing(&[public, single]).unwrap().id(), Some("2026-11"));
    assert_eq!(signing(&[single]).unwrap().id(), None);
}

#[test]
fn a_private_key_without_its_public_half_in_the_directory_issues_nothing() {
    let public = directory(&[("2026-05.pem", "other.public.pem")]);
    let private = pem("p256.pkcs8.pem");
    let refusal = signing(&[
        (PRIVATE_KEY, &private),
        (PUBLIC_KEY, public.path().to_str().unwrap()),
    ]);
    assert!(matches!(refusal, Err(Error::BadKey { .. })));
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error_even_beside_a_good_secret() {
    let empty = directory(&[]);
    let mixed = directory(&[
        ("2026-05.pem", "p256.public.pem"),
        ("2026-11.pem", "p384.public.pem"),
    ]);
    for path in [&empty, &mixed] {
        for variable in [PUBLIC_KEY, PRIVATE_KEY] {
            let variables = [(variable, path.path().to_str().unwrap()), (SECRET, HEX)];
            let refused = |error| matches!(error, Error::Environment { variable: named, .. } if named == variable);
            assert!(refused(verifying(&variables).unwrap_err()));
            assert!(refused(signing(&variables).unwrap_err()));
        }
    }
}

/// Differs from ATI's proxy, which starts without authentication if its key is not usable.
#[test]
fn a_key_that_cannot_be_used_is_an_error_whatever_else_is_set() {
    let (wrong, not_pem) = (pem("ed25519.pkcs8.pem"), pem("../env.rs"));
    for (variable, value) in [
        (PRIVATE_KEY, "/nowhere/key.pem"),
        (PRIVATE_KEY, ""),
        (PRIVATE_KEY, &wrong),
        (PRIVATE_KEY, &not_pem),
        (PUBLIC_KEY, "/nowhere/key.pem"),
        (PUBLIC_KEY, ""),
        (PUBLIC_KEY, &wrong),
    ] {
        let refused = |error| matches!(error, Error::Environment { variable: named, .. } if named == variable);
        let variables = [(variable, value), (SECRET, HEX)];
        assert!(
            refused(signing(&variables).unwrap_err()),
            "{variable}={value}"
        );
        assert!(
            refused(verifying(&variables).unwrap_err()),
            "{variable}={value}"
        );
    }
    for secret in [
        "",
        "00",
        "no hex",
        &format!("{HEX}\n"),
        &HEX.replace('0', "x"),
    ] {
        for refusal in [
            signing(&[(SECRET, secret)]).map(drop),
            verifying(&[(SECRET, secret)]).map(drop),
        ] {
            let refusal = refusal.unwrap_err();
            assert!(
                matches!(
                    refusal,
                    Error::Environment {
                        variable: SECRET,
                        ..
                    }
                ),
                "{secret}"
            );
            assert!(
                secret.len() < 3 || !refusal.to_string().contains(secret),
                "{refusal}"
            );
        }
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let refusal = signing(&[(PRIVATE_KEY, "/nowhere/key.pem")]).unwrap_err();
    assert_eq!(
        refusal,
        invalid_variable(
            PRIVATE_KEY,
            Error::UnreadableKey {
                path: "/nowhere/key.pem".to_owned(),
                kind: io::ErrorKind::NotFound
            }
        )
    );
    assert_eq!(
        refusal.to_string(),
        "`ATI_JWT_PRIVATE_KEY`: the key file `/nowhere/key.pem` cannot be read: entity not found"
    );
}

#[test]
fn a_key_in_place_of_its_path_is_not_shown() {
    let pem = std::fs::read_to_string(pem("p256.pkcs8.pem")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let unwrapped = pem.replace('\n', "\\n");
    let under_comment = format!("# key.pem\n{pem}");
    let both = format!("{HEX},{OLD}");
    for value in [
        HEX,
        &HEX.to_uppercase(),
        &both,
        &pem,
        &unwrapped,
        &under_comment,
        &base64,
        &base64.replace('/', "_"),
    ] {
        for variable in [PRIVATE_KEY, PUBLIC_KEY] {
            let refusals = [
                signing(&[(variable, value)]).map(drop),
                verifying(&[(variable, value)]).map(drop),
            ];
            for refusal in refusals {
                let refusal = refusal.unwrap_err();
                assert_eq!(refusal, invalid_variable(variable, NOT_A_PATH));
                let shown = format!("{refusal} {refusal:?}");
                for piece in value.as_bytes().chunks(8) {
                    let piece = std::str::from_utf8(piece).unwrap();
                    assert!(!shown.contains(piece) || piece.len() < 8, "{shown}");
                }
            }
        }
    }
}

#[test]
fn a_path_that_cannot_be_read_is_shown() {
    for path in [
        "/nowhere/key",
        "nowhere.pem",
        "no/where.key",
        "./nowhere.pem",
    ] {
        for refusal in [
            signing(&[(PRIVATE_KEY, path)]).map(drop),
            verifying(&[(PRIVATE_KEY, path)]).map(drop),
            verifying(&[(PUBLIC_KEY, path)]).map(drop),
        ] {
            let shown = refusal.unwrap_err().to_string();
            assert!(shown.contains(&format!("`{path}`")), "{shown}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let environment = EnvVars(&|name| (name == SECRET).then(|| OsString::from_vec(vec![0xff])));
    assert_eq!(
        environment.signing_key().unwrap_err(),
        invalid_variable(SECRET, Error::NotText)
    );
}

#[test]
fn several_audiences_come_before_one() {
    let (several, one) = ((ACCEPTED_AUDIENCES, " a, b ,,c"), (AUDIENCE, "d, e"));
    let names = |variables: &[_]| audiences(variables).unwrap().unwrap_or_default();
    assert_eq!(names(&[several, one]), ["a", "b", "c"]);
    assert_eq!(names(&[one]), ["d, e"]);
    assert_eq!(audiences(&[]), Ok(None));
    for variable in [ACCEPTED_AUDIENCES, AUDIENCE] {
        for value in ["", " "] {
            let refusal = audiences(&[(variable, value), (AUDIENCE, value)]);
            assert_eq!(
                refusal,
                Err(invalid_variable(variable, Error::EmptyAudience))
            );
        }
    }
    assert_eq!(
        audiences(&[(ACCEPTED_AUDIENCES, ","), one]),
        Err(invalid_variable(ACCEPTED_AUDIENCES, Error::EmptyAudience))
    );
}

#[test]
fn a_verifier_is_as_the_environment_describes_it() {
    let build = |variables: &[_]| {
        in_environment(variables, |environment| {
            VerifierBuilder::from_environment(&environment)
        })
        .and_then(VerifierBuilder::build)
    };
    let key = SigningKey::from_hex(HEX).unwrap();
    let token = |claims: crate::ClaimsBuilder| issue(&claims.build().unwrap(), &key).unwrap();

    let verifier = build(&[(SECRET, HEX)]).unwrap();
    assert!(
        verifier
            .verify(&token(Claims::builder("a").no_issuer()))
            .is_ok()
    );
    assert_eq!(
        verifier.verify(&token(Claims::builder("a").audience("b"))),
        Err(Error::WrongAudience)
    );

    let verifier = build(&[(SECRET, HEX), (ISSUER, "us"), (AUDIENCE, "b")]).unwrap();
    assert!(
        verifier
            .verify(&token(Claims::builder("a").audience("b").issuer("us")))
            .is_ok()
    );
    assert_eq!(
        verifier.verify(&token(Claims::builder("a").audience("b"))),
        Err(Error::WrongIssuer)
    );
    assert_eq!(
        verifier.verify(&token(Claims::builder("a").issuer("us"))),
        Err(Error::WrongAudience)
    );

    assert_eq!(
        build(&[(SECRET, HEX), (ISSUER, "")]).unwrap_err(),
        invalid_variable(ISSUER, Error::EmptyIssuer)
    );
    assert!(matches!(build(&[(ISSUER, "us")]), Err(Error::NoKey { .. })));
}
