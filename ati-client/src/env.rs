//! Keys and settings from the environment variables that ATI's proxy and clients share.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;

use zeroize::Zeroizing;

use crate::redact::excerpt;
use crate::{Error, SigningKey, VerifyingKey};

const PUBLIC_KEY: &str = "ATI_JWT_PUBLIC_KEY";
const PRIVATE_KEY: &str = "ATI_JWT_PRIVATE_KEY";
const SECRET: &str = "ATI_JWT_SECRET";
const ISSUER: &str = "ATI_JWT_ISSUER";
const ACCEPTED_AUDIENCES: &str = "ATI_JWT_ACCEPTED_AUDIENCES";
const AUDIENCE: &str = "ATI_JWT_AUDIENCE";

/// How much of a key file is read. A key on P-256 has a few hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Where variables are looked up: in the process's environment, or in a test's table.
pub(crate) struct Environment<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'_> {
    pub(crate) fn of_process() -> Self {
        Self(&|name| std::env::var_os(name))
    }

    pub(crate) fn signing_key(&self) -> Result<SigningKey, Error> {
        let public = self.file(PUBLIC_KEY, VerifyingKey::from_pem)?;
        match (self.file(PRIVATE_KEY, SigningKey::from_pem)?, public) {
            (Some(key), Some(public)) if !public.is_of(&key) => Err(Error::BadKey {
                reason: "`ATI_JWT_PRIVATE_KEY` and `ATI_JWT_PUBLIC_KEY` do not belong together",
            }),
            (Some(key), _) => Ok(key),
            // With the secret, it would issue tokens that those with the public key refuse.
            (None, Some(_)) => Err(Error::NoKey {
                variables: "`ATI_JWT_PRIVATE_KEY` as well: `ATI_JWT_PUBLIC_KEY` only validates",
            }),
            (None, None) => self
                .secret(SigningKey::from_hex)?
                .ok_or(Error::NoKey {
                    variables: "`ATI_JWT_PRIVATE_KEY` to a PEM file, or `ATI_JWT_SECRET` to a secret in hex",
                }),
        }
    }

    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey, Error> {
        if let Some(key) = self.file(PUBLIC_KEY, VerifyingKey::from_pem)? {
            return Ok(key);
        }
        if let Some(key) = self.file(PRIVATE_KEY, SigningKey::from_pem)? {
            return Ok(key.verifying_key());
        }
        self.secret(VerifyingKey::from_hex)?.ok_or(Error::NoKey {
            variables: "`ATI_JWT_PUBLIC_KEY` to a PEM file, or `ATI_JWT_SECRET` to a secret in hex",
        })
    }

    /// The audiences to accept, if any are named.
    pub(crate) fn audiences(&self) -> Result<Option<Vec<String>>, Error> {
        for variable in [ACCEPTED_AUDIENCES, AUDIENCE] {
            let Some(value) = self.text(variable)? else {
                continue;
            };
            let audiences = match variable {
                AUDIENCE => vec![value.trim().to_owned()],
                _ => value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect(),
            };
            let audiences: Vec<String> = audiences
                .into_iter()
                .filter(|name| !name.is_empty())
                .collect();
            if audiences.is_empty() {
                return Err(of(variable, Error::EmptyAudience));
            }
            return Ok(Some(audiences));
        }
        Ok(None)
    }

    /// The issuer to require, if one is named.
    pub(crate) fn issuer(&self) -> Result<Option<String>, Error> {
        match self.text(ISSUER)? {
            Some(issuer) if issuer.is_empty() => Err(of(ISSUER, Error::EmptyIssuer)),
            issuer => Ok(issuer),
        }
    }

    fn secret<K>(&self, read: fn(&str) -> Result<K, Error>) -> Result<Option<K>, Error> {
        let secret = self.text(SECRET)?.map(Zeroizing::new);
        secret
            .map(|secret| read(&secret).map_err(|cause| of(SECRET, cause)))
            .transpose()
    }

    fn text(&self, variable: &'static str) -> Result<Option<String>, Error> {
        self.0(variable)
            .map(OsString::into_string)
            .transpose()
            .map_err(|_| of(variable, Error::NotText))
    }

    fn file<K>(
        &self,
        variable: &'static str,
        read: fn(&[u8]) -> Result<K, Error>,
    ) -> Result<Option<K>, Error> {
        let Some(path) = self.0(variable) else {
            return Ok(None);
        };
        // With room for any key, so that none of it is left behind where a smaller buffer was.
        let mut pem = Zeroizing::new(Vec::with_capacity(8 * 1024));
        File::open(&path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut pem))
            .map_err(|error| Error::UnreadableKey {
                path: excerpt(&path.to_string_lossy()),
                kind: error.kind(),
            })
            .and_then(|_| read(&pem))
            .map(Some)
            .map_err(|cause| of(variable, cause))
    }
}

fn of(variable: &'static str, cause: Error) -> Error {
    Error::Environment {
        variable,
        cause: Box::new(cause),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::{Algorithm, Claims, VerifierBuilder, issue};

    const HEX: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";

    fn in_environment<T>(variables: &[(&str, &str)], ask: impl FnOnce(Environment<'_>) -> T) -> T {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        ask(Environment(&|name| variables.get(name).map(OsString::from)))
    }

    fn signing(variables: &[(&str, &str)]) -> Result<SigningKey, Error> {
        in_environment(variables, |environment| environment.signing_key())
    }

    fn verifying(variables: &[(&str, &str)]) -> Result<VerifyingKey, Error> {
        in_environment(variables, |environment| environment.verifying_key())
    }

    fn audiences(variables: &[(&str, &str)]) -> Result<Option<Vec<String>>, Error> {
        in_environment(variables, |environment| environment.audiences())
    }

    /// The path of one of the keys of the tests.
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
            assert_eq!(verifying.algorithm(), validates);
            let token = issue(&Claims::builder("a").build().unwrap(), &signing).unwrap();
            let verifier = crate::Verifier::builder(verifying).build().unwrap();
            assert!(verifier.verify(&token).is_ok());
        }
    }

    #[test]
    fn a_public_key_validates_and_never_lets_the_secret_issue() {
        let public = pem("p256.public.pem");
        let variables = [(PUBLIC_KEY, &*public), (SECRET, HEX)];
        assert_eq!(verifying(&variables).unwrap().algorithm(), Algorithm::Es256);
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

    /// ATI's proxy starts without authentication when its key cannot be used.
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
            of(
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

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt;
        let environment =
            Environment(&|name| (name == SECRET).then(|| OsString::from_vec(vec![0xff])));
        assert_eq!(
            environment.signing_key().unwrap_err(),
            of(SECRET, Error::NotText)
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
                assert_eq!(refusal, Err(of(variable, Error::EmptyAudience)));
            }
        }
        assert_eq!(
            audiences(&[(ACCEPTED_AUDIENCES, ","), one]),
            Err(of(ACCEPTED_AUDIENCES, Error::EmptyAudience))
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
            of(ISSUER, Error::EmptyIssuer)
        );
        assert!(matches!(build(&[(ISSUER, "us")]), Err(Error::NoKey { .. })));
    }
}
