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
