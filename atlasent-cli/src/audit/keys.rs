//! The public keys that the command line trusts.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use atlasent::audit::{KeyError, TrustedKeys};
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Failure;
use crate::output::quoted;

/// No set of keys is longer.
const LONGEST: u64 = 1024 * 1024;

/// The keys to verify with.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) trusted: TrustedKeys,
    /// What stood beside them and cannot count, and why.
    pub(super) left_out: Vec<String>,
    /// How many came without an id.
    bare: usize,
}

impl Keys {
    /// The keys in these files.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut keys = Self::default();
        for file in files {
            let in_file = |why: String| Failure::misuse(format!("{}: {why}", name(file)));
            let text = text(file).map_err(in_file)?;
            keys.add_text(&text).map_err(in_file)?;
        }
        if keys.trusted.is_empty() && !files.is_empty() {
            return Err(Failure::misuse(match keys.left_out.is_empty() {
                true => "the files of `--key` hold no key".to_owned(),
                false => format!("no key can be used: {}", keys.left_out.join("; ")),
            }));
        }
        Ok(keys)
    }

    fn add_text(&mut self, text: &str) -> Result<(), String> {
        if !text.trim_start().starts_with('{') {
            let id = format!("pem_{}", self.bare);
            self.bare += 1;
            return self.add(|keys| keys.pem(id, text));
        }
        // Nothing of the text is repeated: it may be a private key.
        let json: Value = serde_json::from_str(text).map_err(|error| {
            format!(
                "is not JSON beyond line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        match json.get("keys").and_then(Value::as_array) {
            Some(listed) => listed.iter().try_for_each(|key| self.add_json(key)),
            None => self.add_json(&json),
        }
    }

    fn add_json(&mut self, json: &Value) -> Result<(), String> {
        let is_jwk = json.get("kty").is_some();
        let Ok(listed) = Listed::deserialize(json) else {
            return Err(
                "is neither PEM, nor the answer of `GET /v1-signing-keys`, nor a JWK".to_owned(),
            );
        };
        let id = listed.key_id.or(listed.kid).unwrap_or_default();
        let why = match (is_jwk, listed.kty.as_deref(), listed.algorithm.as_deref()) {
            (true, Some("OKP"), _) | (false, _, None | Some("Ed25519")) => None,
            _ => Some("is not an Ed25519 key".to_owned()),
        };
        let status = listed
            .status
            .filter(|status| status != "active" && status != "retired");
        let why = why.or_else(|| status.map(|status| format!("is {}", quoted(&status))));
        if let Some(why) = why {
            self.left_out.push(format!("the key {} {why}", quoted(&id)));
            return Ok(());
        }
        match listed.public_key_pem {
            Some(pem) => self.add(|keys| keys.pem(id, &pem)),
            None if is_jwk => self.add(|keys| keys.jwk(&json.to_string())),
            None => Err("holds a key without a `public_key_pem`".to_owned()),
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

/// What either form says of a key.
#[derive(Deserialize)]
struct Listed {
    key_id: Option<String>,
    algorithm: Option<String>,
    public_key_pem: Option<String>,
    status: Option<String>,
    kid: Option<String>,
    kty: Option<String>,
}

fn text(file: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LONGEST {
        return Err("is longer than a set of keys".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not text".to_owned())
}

/// The name of a file that is there is no secret; anything else may be one in the wrong place.
fn name(file: &Path) -> String {
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

    fn keys(texts: &[&str]) -> Result<Keys, String> {
        let mut keys = Keys::default();
        texts.iter().try_for_each(|text| keys.add_text(text))?;
        Ok(keys)
    }

    fn ids(keys: &Keys) -> Vec<&str> {
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
        assert!(read.left_out.is_empty());
    }

    #[test]
    fn a_key_that_was_withdrawn_or_is_of_another_kind_is_left_out_and_named() {
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
            read.left_out,
            [
                "the key `old` is `revoked`",
                "the key `other` is not an Ed25519 key",
                "the key `rsa` is not an Ed25519 key"
            ]
        );
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
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
