//! Reads keys, audiences and issuer from the environment variables of ATI's proxy and clients.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{Error, SigningKey, VerifyingKey, key_file};

const PUBLIC_KEY: &str = "ATI_JWT_PUBLIC_KEY";
const PRIVATE_KEY: &str = "ATI_JWT_PRIVATE_KEY";
const SECRETS: &str = "ATI_JWT_SECRETS";
const SECRET: &str = "ATI_JWT_SECRET";
const ISSUER: &str = "ATI_JWT_ISSUER";
const ACCEPTED_AUDIENCES: &str = "ATI_JWT_ACCEPTED_AUDIENCES";
const AUDIENCE: &str = "ATI_JWT_AUDIENCE";

/// Looks up environment variables: those of the process, or a test's.
pub(crate) struct EnvVars<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl EnvVars<'_> {
    pub(crate) fn from_process() -> Self {
        Self(&|name| std::env::var_os(name))
    }

    /// Reads the newest key that signs.
    pub(crate) fn signing_key(&self) -> Result<SigningKey, Error> {
        let secrets = self.secrets()?;
        let public = self.public_keys()?;
        let private = self.private_keys()?;
        match (private.into_iter().next(), public.is_empty()) {
            (Some(key), true) => Ok(key),
            (Some(key), false) => with_id_of_public_key(key, &public),
            // A verifier with the public key would refuse tokens that are signed with the secret.
            (None, false) => Err(Error::NoKey {
                variables: "`ATI_JWT_PRIVATE_KEY` as well, because `ATI_JWT_PUBLIC_KEY` cannot sign",
            }),
            (None, true) => secrets.into_iter().next().ok_or(Error::NoKey {
                variables: "`ATI_JWT_PRIVATE_KEY` to a PEM file, or `ATI_JWT_SECRET` to a secret in hex",
            }),
        }
    }

    /// Reads every key that verifies, the newest first.
    pub(crate) fn verifying_keys(&self) -> Result<Vec<VerifyingKey>, Error> {
        let secrets = self.secrets()?;
        let public = self.public_keys()?;
        if !public.is_empty() {
            // The private key is not read: a service that only verifies may lack access to it.
            return Ok(public);
        }
        let private = self.private_keys()?;
        let signing = if private.is_empty() { secrets } else { private };
        if signing.is_empty() {
            return Err(Error::NoKey {
                variables: "`ATI_JWT_PUBLIC_KEY` to a PEM file, or `ATI_JWT_SECRET` to a secret in hex",
            });
        }
        Ok(signing.iter().map(SigningKey::verifying_key).collect())
    }

    /// Reads the accepted audiences. `None` if no variable names them.
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
                return Err(invalid_variable(variable, Error::EmptyAudience));
            }
            return Ok(Some(audiences));
        }
        Ok(None)
    }

    /// Reads the required issuer. `None` if the variable is unset.
    pub(crate) fn issuer(&self) -> Result<Option<String>, Error> {
        match self.text(ISSUER)? {
            Some(issuer) if issuer.is_empty() => Err(invalid_variable(ISSUER, Error::EmptyIssuer)),
            issuer => Ok(issuer),
        }
    }

    /// Reads the secrets, the newest first. `ATI_JWT_SECRETS` wins over `ATI_JWT_SECRET`, and both
    /// are checked.
    fn secrets(&self) -> Result<Vec<SigningKey>, Error> {
        let one = match self.secret_text(SECRET)? {
            Some(secret) => vec![parse_secret(SECRET, &secret)?],
            None => Vec::new(),
        };
        match self.secret_text(SECRETS)? {
            Some(secrets) => secrets
                .split(',')
                .map(|secret| parse_secret(SECRETS, secret))
                .collect(),
            None => Ok(one),
        }
    }

    fn secret_text(&self, variable: &'static str) -> Result<Option<Zeroizing<String>>, Error> {
        Ok(self.text(variable)?.map(Zeroizing::new))
    }

    fn public_keys(&self) -> Result<Vec<VerifyingKey>, Error> {
        self.key_files(PUBLIC_KEY, VerifyingKey::from_pem, |path| {
            VerifyingKey::from_pem_directory(path)
        })
    }

    fn private_keys(&self) -> Result<Vec<SigningKey>, Error> {
        self.key_files(PRIVATE_KEY, SigningKey::from_pem, |path| {
            SigningKey::from_pem_directory(path)
        })
    }

    /// Reads the keys in the file or the directory that the variable names. Returns an empty list
    /// only if the variable is unset.
    fn key_files<K>(
        &self,
        variable: &'static str,
        file: fn(&[u8]) -> Result<K, Error>,
        directory: fn(&Path) -> Result<Vec<K>, Error>,
    ) -> Result<Vec<K>, Error> {
        let Some(path) = self.0(variable).map(PathBuf::from) else {
            return Ok(Vec::new());
        };
        let keys = if path.is_dir() {
            directory(&path)
        } else {
            let key = key_file::read(&path, file).map_err(|cause| match cause {
                Error::UnreadableKey { .. } if may_be_key(&path) => NOT_A_PATH,
                cause => cause,
            });
            key.map(|key| vec![key])
        };
        keys.map_err(|cause| invalid_variable(variable, cause))
    }

    fn text(&self, variable: &'static str) -> Result<Option<String>, Error> {
        self.0(variable)
            .map(OsString::into_string)
            .transpose()
            .map_err(|_| invalid_variable(variable, Error::NotText))
    }
}

/// The error for a variable that names no readable file, and whose value an error must not show.
const NOT_A_PATH: Error = Error::BadKey {
    reason: "the value must be the path of a readable file; it is not shown here, because it may be a key",
};

/// Whether the value of a path variable may be a key by mistake: a secret in hex, base64 or PEM.
///
/// A value is taken for a path only if it is absolute or has a file extension, since hex and base64
/// have no `.`, and if it is one line without a PEM label.
fn may_be_key(value: &Path) -> bool {
    let text = value.to_string_lossy();
    let is_pem = text.contains("-----BEGIN") || text.contains(char::is_control);
    let is_path = value.is_absolute() || value.extension().is_some();
    is_pem || !is_path
}

/// Gives the private key the id of its public key, which is the id that verifiers know.
fn with_id_of_public_key(key: SigningKey, public: &[VerifyingKey]) -> Result<SigningKey, Error> {
    let half = public.iter().find(|public| public.is_public_half_of(&key));
    let half = half.ok_or(Error::BadKey {
        reason: "`ATI_JWT_PRIVATE_KEY` and `ATI_JWT_PUBLIC_KEY` do not belong together",
    })?;
    match half.id() {
        Some(id) => key.with_id(id),
        None => Ok(key),
    }
}

fn parse_secret(variable: &'static str, secret: &str) -> Result<SigningKey, Error> {
    SigningKey::from_hex(secret).map_err(|cause| invalid_variable(variable, cause))
}

fn invalid_variable(variable: &'static str, cause: Error) -> Error {
    Error::Environment {
        variable,
        cause: Box::new(cause),
    }
}

#[cfg(test)]
mod tests;
