//! The public keys of `audit verify --key`, read from PEM, JSON and JWK files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use atlasent::audit::{KeyError, TrustedKeys};
use atlasent::text::quoted;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Failure;

/// The largest file of keys, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 1024 * 1024;

/// The keys to verify a bundle with.
#[derive(Debug, Default)]
pub(super) struct VerificationKeys {
    pub(super) trusted: TrustedKeys,
    /// The keys that cannot be used, each with the reason.
    pub(super) ignored: Vec<String>,
    /// The number of keys without an id.
    unnamed: usize,
}

impl VerificationKeys {
    /// Reads the keys in the files. Fails if there are files without a usable key.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut keys = Self::default();
        for file in files {
            let in_file = |why: String| Failure::misuse(format!("{}: {why}", shown_path(file)));
            let text = read_text(file).map_err(in_file)?;
            keys.add_text(&text).map_err(in_file)?;
        }
        if keys.trusted.is_empty() && !files.is_empty() {
            return Err(Failure::misuse(match keys.ignored.is_empty() {
                true => "the files of `--key` hold no key".to_owned(),
                false => format!("no usable key: {}", keys.ignored.join("; ")),
            }));
        }
        Ok(keys)
    }

    fn add_text(&mut self, text: &str) -> Result<(), String> {
        if !text.trim_start().starts_with('{') {
            let id = format!("pem_{}", self.unnamed);
            self.unnamed += 1;
            return self.add(|keys| keys.pem(id, text));
        }
        // The error repeats no part of the text, which may be a private key.
        let json: Value = serde_json::from_str(text).map_err(|error| {
            format!(
                "invalid JSON at line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        match json.get("keys").and_then(Value::as_array) {
            Some(keys) => keys.iter().try_for_each(|key| self.add_json(key)),
            None => self.add_json(&json),
        }
    }

    fn add_json(&mut self, json: &Value) -> Result<(), String> {
        let is_jwk = json.get("kty").is_some();
        let Ok(entry) = KeyEntry::deserialize(json) else {
            return Err(
                "unknown key format: expected PEM, the response of `GET /v1-signing-keys` or a JWK"
                    .to_owned(),
            );
        };
        let id = entry.key_id.or(entry.kid).unwrap_or_default();
        let why = match (is_jwk, entry.kty.as_deref(), entry.algorithm.as_deref()) {
            (true, Some("OKP"), _) | (false, _, None | Some("Ed25519")) => None,
            _ => Some("is not an Ed25519 key".to_owned()),
        };
        let status = entry
            .status
            .filter(|status| status != "active" && status != "retired");
        let why =
            why.or_else(|| status.map(|status| format!("has the status {}", quoted(&status))));
        if let Some(why) = why {
            self.ignored.push(format!("the key {} {why}", quoted(&id)));
            return Ok(());
        }
        match entry.public_key_pem {
            Some(pem) => self.add(|keys| keys.pem(id, &pem)),
            None if is_jwk => self.add(|keys| keys.jwk(&json.to_string())),
            None => Err("a key lacks the member `public_key_pem`".to_owned()),
        }
    }

    fn add(
        &mut self,
        add: impl FnOnce(TrustedKeys) -> Result<TrustedKeys, KeyError>,
    ) -> Result<(), String> {
        let keys = std::mem::take(&mut self.trusted);
        self.trusted = add(keys).map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// The members of a key in either JSON form: an entry of `GET /v1-signing-keys`, or a JWK.
#[derive(Deserialize)]
struct KeyEntry {
    key_id: Option<String>,
    algorithm: Option<String>,
    public_key_pem: Option<String>,
    status: Option<String>,
    kid: Option<String>,
    kty: Option<String>,
}

fn read_text(file: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read =
        File::open(file).and_then(|file| file.take(MAX_KEY_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read the file: {error}"))?;
    if bytes.len() as u64 > MAX_KEY_FILE_BYTES {
        return Err(format!(
            "not a file of keys: it is larger than {MAX_KEY_FILE_BYTES} bytes"
        ));
    }
    String::from_utf8(bytes).map_err(|_| "not a file of keys: it is not UTF-8".to_owned())
}

/// Quotes the path of a key file. A path that does not exist may be a misplaced secret, so a long
/// one is not repeated.
fn shown_path(file: &Path) -> String {
    let shown = file.display().to_string();
    match file.exists() {
        true => format!("`{shown}`"),
        false => quoted(&shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
        -----END PUBLIC KEY-----\n";

    fn keys(texts: &[&str]) -> Result<VerificationKeys, String> {
        let mut keys = VerificationKeys::default();
        texts.iter().try_for_each(|text| keys.add_text(text))?;
        Ok(keys)
    }

    fn ids(keys: &VerificationKeys) -> Vec<&str> {
        keys.trusted.ids().collect()
    }

    fn listed(id: &str, more: &str) -> String {
        let pem = serde_json::json!(PEM);
        format!(r#"{{"key_id":"{id}","public_key_pem":{pem}{more}}}"#)
    }

    #[test]
    fn keys_are_read_in_every_form_and_keep_their_ids() {
        let one = listed(
            "one",
            r#","algorithm":"Ed25519","status":"active","created_at":null"#,
        );
        let two = listed("two", r#","status":"retired""#);
        let jwk = |id: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{X}"}}"#);
        let answer = format!(r#" {{"keys":[{one},{two}]}}"#);
        let set = format!(r#"{{"keys":[{},{}]}}"#, jwk("four"), jwk("five"));
        let read = keys(&[PEM, &answer, &jwk("three"), PEM, &set, &listed("six", "")]).unwrap();
        assert_eq!(
            ids(&read),
            [
                "pem_0", "one", "two", "three", "pem_1", "four", "five", "six"
            ]
        );
        assert!(read.ignored.is_empty());
    }

    #[test]
    fn a_revoked_key_and_a_key_of_another_algorithm_are_ignored_and_named() {
        let revoked = listed("old", r#","status":"revoked""#);
        let other = listed("other", r#","algorithm":"ES256""#);
        let rsa = r#"{"kty":"RSA","kid":"rsa"}"#;
        let set = format!(
            r#"{{"keys":[{revoked},{other},{rsa},{}]}}"#,
            listed("good", "")
        );
        let read = keys(&[&set]).unwrap();
        assert_eq!(ids(&read), ["good"]);
        assert_eq!(
            read.ignored,
            [
                "the key `old` has the status `revoked`",
                "the key `other` is not an Ed25519 key",
                "the key `rsa` is not an Ed25519 key"
            ]
        );
    }

    #[test]
    fn text_that_is_not_a_public_key_is_refused_and_not_repeated() {
        let private = PEM.replace("PUBLIC", "PRIVATE");
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{X}","d":"hunter2"}}"#);
        for text in [
            "",
            "hunter2",
            &private,
            &jwk,
            r#"{"hunter2"#,
            r#"{"secret":"hunter2"}"#,
            r#"{"keys":["hunter2"]}"#,
            r#"{"key_id":7}"#,
        ] {
            let error = keys(&[text]).unwrap_err();
            assert!(
                !error.contains("hunter2") && !error.contains("MCow"),
                "{error}"
            );
        }
    }
}
