//! The settings file of `--webhooks`: the endpoints that the server notifies.
//!
//! ```toml
//! approval_url = "https://console.example/approvals/{id}"
//!
//! [[endpoint]]
//! name = "on-call"
//! url = "https://hooks.example/atlasent"
//! secrets = [{ file = "/run/secrets/webhook" }, { env = "OLD_WEBHOOK_SECRET" }]
//! events = ["approval.requested", "stop.set"]
//! organization = "acme"
//!
//! [[endpoint]]
//! name = "chat"
//! url_env = "SLACK_WEBHOOK_URL"
//! format = "slack"
//! ```

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use atlasent::text::quoted;
use atlasent_authority::server::webhooks::{
    WebhookEndpoint, WebhookFormat, WebhookSecret, Webhooks,
};
use serde::Deserialize;

use crate::exit::Failure;
use crate::files::explain_toml;
use atlasent_authority::duration::{parse_duration, parse_positive_duration};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    approval_url: Option<String>,
    #[serde(default)]
    endpoint: Vec<EndpointTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    name: String,
    organization: Option<String>,
    url: Option<String>,
    url_env: Option<String>,
    #[serde(default)]
    secrets: Vec<SecretTable>,
    events: Option<Vec<String>>,
    #[serde(default)]
    format: FormatName,
    timeout: Option<String>,
    retry_for: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTable {
    env: Option<String>,
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FormatName {
    #[default]
    Standard,
    Slack,
}

/// Reads the settings file. An error repeats no value of it, which may be a secret.
pub(super) fn load(path: &Path) -> Result<Webhooks, Failure> {
    let name = path.display();
    let misuse = |why: String| Failure::misuse(format!("`--webhooks`: `{name}`: {why}"));
    let text = fs::read_to_string(path).map_err(|error| misuse(error.to_string()))?;
    let file: SettingsFile =
        toml::from_str(&text).map_err(|error| misuse(explain_toml(&text, &error)))?;
    let mut webhooks = Webhooks::new();
    if let Some(url) = file.approval_url {
        if !url.contains("{id}") {
            return Err(misuse(
                "`approval_url` lacks `{id}`, the place of the id of a decision".to_owned(),
            ));
        }
        webhooks = webhooks.approval_url(url);
    }
    if file.endpoint.is_empty() {
        return Err(misuse("it has no `[[endpoint]]`".to_owned()));
    }
    for table in file.endpoint {
        let endpoint = table.endpoint().map_err(misuse)?;
        webhooks = webhooks
            .endpoint(endpoint)
            .map_err(|error| misuse(error.to_string()))?;
    }
    Ok(webhooks)
}

impl EndpointTable {
    fn endpoint(self) -> Result<WebhookEndpoint, String> {
        let name = &self.name;
        let of = |why: String| format!("the endpoint `{}`: {why}", name.escape_debug());
        let url = match (self.url, self.url_env) {
            (Some(url), None) => url,
            (None, Some(variable)) => variable_named(&variable).map_err(of)?,
            _ => return Err(of("write either `url` or `url_env`".to_owned())),
        };
        let mut endpoint = WebhookEndpoint::new(name, &url).map_err(|error| error.to_string())?;
        if let Some(organization) = &self.organization {
            let organization = organization.parse();
            let organization =
                organization.map_err(|error| of(format!("`organization`: {error}")))?;
            endpoint = endpoint.organization(organization);
        }
        for secret in self.secrets {
            endpoint = endpoint.secret(secret.read().map_err(of)?);
        }
        if let Some(events) = self.events {
            endpoint = endpoint.events(events).map_err(|error| error.to_string())?;
        }
        let in_member = |member: &str, error: &str| of(format!("`{member}`: {error}"));
        if let Some(text) = &self.timeout {
            // Without any time, no receiver could answer.
            let timeout = parse_positive_duration(text);
            let timeout = timeout.map_err(|error| in_member("timeout", error))?;
            endpoint = endpoint.timeout(timeout);
        }
        if let Some(text) = &self.retry_for {
            let time = parse_duration(text).map_err(|error| in_member("retry_for", error))?;
            endpoint = endpoint.retry_for(time);
        }
        Ok(endpoint.format(match self.format {
            FormatName::Standard => WebhookFormat::Standard,
            FormatName::Slack => WebhookFormat::Slack,
        }))
    }
}

impl SecretTable {
    fn read(&self) -> Result<WebhookSecret, String> {
        let (source, text) = match (&self.env, &self.file) {
            (Some(variable), None) => (variable.clone(), variable_named(variable)?),
            (None, Some(path)) => {
                let source = path.display().to_string();
                let text = fs::read_to_string(path);
                let text = text.map_err(|error| format!("`{source}`: {error}"))?;
                (source, text)
            }
            _ => {
                return Err(
                    "write a secret as `{ env = \"NAME\" }` or `{ file = \"PATH\" }`".to_owned(),
                );
            }
        };
        let secret = text.trim().parse();
        secret.map_err(|error| format!("`{source}`: {error}"))
    }
}

fn variable_named(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("the environment variable {} is not set", quoted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.toml");
        fs::write(&path, text).unwrap();
        let Err(Failure::Misuse(why)) = load(&path) else {
            panic!("{text}");
        };
        assert!(
            why.contains("webhooks.toml") && !why.contains("hunter2"),
            "{why}"
        );
        why
    }

    #[test]
    fn what_is_wrong_is_named_without_the_values() {
        let endpoint = "[[endpoint]]\nname = \"a\"\nurl = \"https://h/hunter2\"\n";
        for (text, expected) in [
            ("".to_owned(), "no `[[endpoint]]`"),
            (
                format!("{endpoint}secret = 1"),
                "line 4: unknown field `secret`",
            ),
            (
                format!("{endpoint}secrets = [\"hunter2\"]"),
                "line 4: a value has the wrong type",
            ),
            (format!("{endpoint}secrets = [{{}}]"), "write a secret as"),
            (
                format!("{endpoint}secrets = [{{ env = \"NOT_SET_AT_ALL\" }}]"),
                "`NOT_SET_AT_ALL` is not set",
            ),
            (
                format!(
                    "{endpoint}secrets = [{{ env = \"whsec_hunter2{}\" }}]",
                    "A".repeat(32)
                ),
                "a text of 45 characters is not set",
            ),
            (endpoint.to_owned(), "has no secret"),
            (
                format!("{endpoint}format = \"hunter2\""),
                "line 4: unknown variant, expected `standard` or `slack`",
            ),
            (
                format!("{endpoint}format = \"slack\"\norganization = \"A b\""),
                "`organization`: ",
            ),
            (
                format!("{endpoint}format = \"slack\"\nevents = [\"x\"]"),
                "unknown event `x`",
            ),
            (
                format!("{endpoint}format = \"slack\"\nretry_for = \"soon\""),
                "`retry_for`: invalid duration",
            ),
            (
                format!("{endpoint}format = \"slack\"\ntimeout = \"0\""),
                "`timeout`: the duration must be at least 1 second",
            ),
            (
                format!("{endpoint}format = \"slack\"\nurl_env = \"X\""),
                "either `url` or `url_env`",
            ),
            (
                format!("approval_url = \"https://c/hunter2\"\n{endpoint}"),
                "lacks `{id}`",
            ),
            (
                "[[endpoint]]\nname = \"a\"\nurl = \"http://hunter2.example\"".to_owned(),
                "use `https`",
            ),
            (
                format!("{endpoint}format = \"slack\"\n{endpoint}format = \"slack\""),
                "name of another",
            ),
        ] {
            let why = refused(&text);
            assert!(why.contains(expected), "{expected}: {why}");
        }
    }

    #[test]
    fn secrets_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let [secret, path] = ["secret", "webhooks.toml"].map(|name| folder.path().join(name));
        fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let text = format!(
            "[[endpoint]]\nname = \"a\"\nurl = \"https://h.example\"\ntimeout = \"20s\"\n\
             secrets = [{{ file = {secret:?} }}]\nevents = [\"stop.set\"]\n"
        );
        fs::write(&path, text).unwrap();
        assert!(load(&path).is_ok());
        fs::write(&secret, "hunter2").unwrap();
        let Err(Failure::Misuse(why)) = load(&path) else {
            panic!("it is no secret");
        };
        assert!(why.contains("whsec_") && !why.contains("hunter2"), "{why}");
    }
}
