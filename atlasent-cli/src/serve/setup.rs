//! The start of a server: loads its policies, API keys and signing keys, creates the missing ones,
//! and builds the startup message.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use atlasent::text::quoted;
use atlasent_authority::keys::{ApiKey, KeyEnvironment, KeyFile};
use atlasent_authority::organizations::OrgFile;
use atlasent_authority::server::{ApiKeys, OrgRegistry, PolicyFolder};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{Policies, PostgresStore};
use secrecy::{ExposeSecret, SecretString};

use super::Serve;
use super::store::{AnyStore, StoreChoice};
use crate::data_dir;
use crate::exit::Failure;
use crate::files::write_new;
use crate::output::escaped;
use crate::variable;

/// The example policies, written at the first start if no policies are configured.
const EXAMPLES: [(&str, &str); 5] = [
    ("README.md", include_str!("../../policies/README.md")),
    ("deploy.cedar", include_str!("../../policies/deploy.cedar")),
    (
        "patients.cedar",
        include_str!("../../policies/patients.cedar"),
    ),
    (
        "entities.json",
        include_str!("../../policies/entities.json"),
    ),
    (
        "schema.cedarschema",
        include_str!("../../policies/schema.cedarschema"),
    ),
];

/// The loaded parts of a server.
pub(super) struct Setup {
    pub(super) policies: Policies,
    pub(super) folder: PolicyFolder,
    pub(super) keys: ApiKeys,
    pub(super) organizations: OrgRegistry,
    pub(super) signing: KeyRing,
    pub(super) message: StartupMessage,
    /// A new API key if no key exists. The caller stores it.
    pub(super) first_key: Option<FirstKey>,
}

/// The message that a server prints when it listens.
pub(super) struct StartupMessage {
    policies: PathBuf,
    policy_count: usize,
    /// The number of organizations beside `local`.
    organizations: usize,
    /// Whether this start wrote the example policies.
    examples: bool,
    data: PathBuf,
    signing_key: String,
    /// The API key that this start generated.
    new_key: Option<SecretString>,
}

impl Setup {
    pub(super) async fn load(
        arguments: &Serve,
        data: &Path,
        store: &AnyStore,
    ) -> Result<Self, Failure> {
        let option = arguments.policies.clone();
        let examples = option.is_none() && !data_dir::policy_folder(data).exists();
        let folder = option.unwrap_or_else(|| data_dir::policy_folder(data));
        if examples {
            write_examples(&folder)?;
        }
        let (policies, watched) = PolicyFolder::load(&folder).map_err(Failure::misuse)?;
        data_dir::warn_if_shared(&folder);
        let (keys, first) = load_api_keys(arguments.api_key_env.as_deref(), data, store).await?;
        let organizations = load_organizations(data, store).await?;
        let (first_key, new_key) = first.unzip();
        let signing_folder = data_dir::signing_folder(data);
        data_dir::create_private(&signing_folder)?;
        let signing = match &arguments.signing_key {
            Some(file) => KeyRing::from_key_file(file, signing_folder),
            None => KeyRing::open(signing_folder),
        };
        let signing = signing.map_err(Failure::misuse)?;
        let message = StartupMessage {
            policies: folder,
            policy_count: policies.len(),
            organizations: organizations.len(),
            examples,
            data: data.to_owned(),
            signing_key: signing.active().key_id().to_owned(),
            new_key,
        };
        Ok(Self {
            policies,
            folder: watched,
            keys,
            organizations,
            signing,
            message,
            first_key,
        })
    }
}

/// The first API key of an authority, not stored yet.
pub(super) struct FirstKey {
    key: ApiKey,
    store: FirstKeyStore,
}

enum FirstKeyStore {
    File(KeyFile),
    Database(PostgresStore),
}

impl FirstKey {
    /// Stores the key, so that the server accepts it.
    pub(super) async fn save(self) -> Result<(), Failure> {
        let saved = match self.store {
            FirstKeyStore::File(file) => file.add(self.key).map_err(Failure::misuse),
            FirstKeyStore::Database(store) => {
                let saved = store.put_api_key(&self.key).await;
                saved.map_err(Failure::misuse)
            }
        };
        saved.map_err(|failure| match failure {
            Failure::Misuse(why) => Failure::Misuse(format!(
                "the printed API key is invalid, it could not be stored: {why}"
            )),
            other => other,
        })
    }
}

/// Loads the API keys that the server accepts: the one in the environment variable, and those in
/// the key file or the shared database. If there is no key at all, generates the first one, which
/// the caller stores.
async fn load_api_keys(
    variable: Option<&str>,
    data: &Path,
    store: &AnyStore,
) -> Result<(ApiKeys, Option<(FirstKey, SecretString)>), Failure> {
    let from_env = variable.map(key_from_env).transpose()?;
    let file = KeyFile::new(data_dir::key_file(data));
    let stored = match store {
        AnyStore::Postgres(store) => store.api_keys().await.map_err(Failure::misuse)?,
        AnyStore::Memory(_) | AnyStore::Redb(_) => file.load().map_err(Failure::misuse)?,
    };
    let mut new = None;
    if from_env.is_none() && stored.is_empty() {
        let (mut key, secret) = ApiKey::generate(KeyEnvironment::Test).map_err(Failure::misuse)?;
        key.name = Some("created by `atlasent serve` at its first start".to_owned());
        let store = match store {
            AnyStore::Postgres(store) => FirstKeyStore::Database(store.clone()),
            AnyStore::Memory(_) | AnyStore::Redb(_) => FirstKeyStore::File(file.clone()),
        };
        new = Some((FirstKey { key, store }, secret));
    }
    let api_keys = ApiKeys::new(from_env);
    let api_keys = match store {
        AnyStore::Postgres(store) => api_keys.with_database(store.clone()).await,
        AnyStore::Memory(_) | AnyStore::Redb(_) => api_keys.with_file(file).await,
    };
    Ok((api_keys.map_err(Failure::misuse)?, new))
}

/// Loads the organizations of the file or of the shared database.
async fn load_organizations(data: &Path, store: &AnyStore) -> Result<OrgRegistry, Failure> {
    let registry = OrgRegistry::default();
    let registry = match store {
        AnyStore::Postgres(store) => registry.with_database(store.clone()).await,
        AnyStore::Memory(_) | AnyStore::Redb(_) => {
            let file = OrgFile::new(data_dir::organization_file(data));
            registry.with_file(file).await
        }
    };
    registry.map_err(Failure::misuse)
}

fn key_from_env(variable: &str) -> Result<ApiKey, Failure> {
    let name = quoted(variable);
    let text = variable::read("--api-key-env", variable)?;
    ApiKey::parse(&SecretString::from(text))
        .map_err(|error| Failure::misuse(format!("`--api-key-env`: {name}: {error}")))
}

fn write_examples(folder: &Path) -> Result<(), Failure> {
    data_dir::create_private(folder)?;
    for (name, text) in EXAMPLES {
        let path = folder.join(name);
        write_new(&path, text).map_err(|error| {
            Failure::misuse(format!("cannot write `{}`: {error}", path.display()))
        })?;
    }
    Ok(())
}

impl StartupMessage {
    /// Whether the message contains a new API key.
    pub(super) fn has_new_key(&self) -> bool {
        self.new_key.is_some()
    }

    /// Returns the message for a server at this URL.
    pub(super) fn text(&self, url: &str, store: &StoreChoice, console: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, url, store, console);
        text
    }

    fn write(
        &self,
        out: &mut String,
        url: &str,
        store: &StoreChoice,
        console: bool,
    ) -> std::fmt::Result {
        let policies = escaped(&self.policies.to_string_lossy());
        writeln!(out, "atlasent serves {url}")?;
        writeln!(out, "  policies  {} in {policies}", self.policy_count)?;
        writeln!(out, "  store     {store}")?;
        if self.organizations > 0 {
            writeln!(out, "  orgs      {} beside `local`", self.organizations)?;
        }
        let data = escaped(&self.data.to_string_lossy());
        writeln!(out, "  data      {data}")?;
        writeln!(
            out,
            "  signing   {} ({url}/v1-signing-keys)",
            self.signing_key
        )?;
        if console {
            writeln!(out, "  console   {url}/console")?;
        }
        if self.examples {
            writeln!(
                out,
                "\nExample policies were written to {policies} (see its README.md). They allow `deploy-bot` to perform\n\
                 `deploy.production` and hold a rollout to more than 50 replicas. Edit them; changes are loaded without a restart."
            )?;
        }
        if let Some(key) = &self.new_key {
            writeln!(
                out,
                "\nThis API key is shown once; only its hash is stored. `atlasent key create` creates others.\n\n  {}\n",
                key.expose_secret()
            )?;
            writeln!(
                out,
                "Example request:\n\n  curl {url}/v1-evaluate -H 'Authorization: Bearer <the key>' -H 'Content-Type: application/json' \\\n    \
                 -d '{{\"action_type\":\"deploy.production\",\"actor_id\":\"deploy-bot\",\"context\":{{\"commit\":\"4f2a9c1\",\"replicas\":3}}}}'\n"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn examples_are_never_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "another's").unwrap();
        let policies = folder.path().join("policies");
        std::fs::create_dir(&policies).unwrap();
        std::os::unix::fs::symlink(&elsewhere, policies.join("deploy.cedar")).unwrap();
        assert!(write_examples(&policies).is_err());
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"another's");
    }

    #[test]
    fn control_characters_in_paths_are_escaped() {
        let message = StartupMessage {
            policies: PathBuf::from("a\n\u{1b}[31m\u{202e}"),
            policy_count: 1,
            organizations: 0,
            examples: true,
            data: PathBuf::from("b\r\u{9b}2J"),
            signing_key: "k".to_owned(),
            new_key: None,
        };
        let text = message.text("http://127.0.0.1:8080", &StoreChoice::Memory, true);
        let acts = |character| character != '\n' && crate::output::is_terminal_control(character);
        assert!(!text.contains(acts), "{text:?}");
        assert!(
            text.contains("1 in a\\u{a}\\u{1b}[31m\\u{202e}\n"),
            "{text}"
        );
    }
}
