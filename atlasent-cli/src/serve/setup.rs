//! What a server needs before it starts, made where it is not there: policies, keys, and a welcome.

use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use atlasent_authority::keys::{ApiKey, KeyEnvironment, KeyFile};
use atlasent_authority::server::{ApiKeys, PolicyFolder};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{Policies, PostgresStore};
use secrecy::{ExposeSecret, SecretString};

use super::Serve;
use super::store::{AnyStore, StoreChoice};
use crate::data;
use crate::exit::Failure;
use crate::files::write_new;
use crate::output::{harmless, quoted};

/// The policies of the quickstart, to start with.
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

/// What a server needs.
pub(super) struct Setup {
    pub(super) policies: Policies,
    pub(super) folder: PolicyFolder,
    pub(super) keys: ApiKeys,
    pub(super) signing: KeyRing,
    pub(super) welcome: Welcome,
    /// A new API key, if no key exists. It is not kept yet.
    pub(super) first_key: Option<FirstKey>,
}

/// What there is to say at the start.
pub(super) struct Welcome {
    policies: PathBuf,
    policy_count: usize,
    /// Whether the policies are the examples, made just now.
    examples: bool,
    data: PathBuf,
    signing_key: String,
    /// An API key that was made just now.
    new_key: Option<SecretString>,
}

impl Setup {
    pub(super) async fn load(
        arguments: &Serve,
        data: &Path,
        store: &AnyStore,
    ) -> Result<Self, Failure> {
        let given = arguments.policies.clone();
        let examples = given.is_none() && !data::policy_folder(data).exists();
        let folder = given.unwrap_or_else(|| data::policy_folder(data));
        if examples {
            write_examples(&folder)?;
        }
        let (policies, watched) = PolicyFolder::load(&folder).map_err(Failure::misuse)?;
        data::warn_if_shared(&folder);
        let (keys, first) = keys(arguments.api_key_env.as_deref(), data, store).await?;
        let (first_key, new_key) = first.unzip();
        let signing_folder = data::signing_folder(data);
        data::make(&signing_folder)?;
        let signing = match &arguments.signing_key {
            Some(file) => KeyRing::from_key_file(file, signing_folder),
            None => KeyRing::open(signing_folder),
        };
        let signing = signing.map_err(Failure::misuse)?;
        let welcome = Welcome {
            policies: folder,
            policy_count: policies.len(),
            examples,
            data: data.to_owned(),
            signing_key: signing.active().key_id().to_owned(),
            new_key,
        };
        Ok(Self {
            policies,
            folder: watched,
            keys,
            signing,
            welcome,
            first_key,
        })
    }
}

/// The first API key of an authority, before it is kept.
pub(super) struct FirstKey {
    key: ApiKey,
    place: FirstPlace,
}

enum FirstPlace {
    File(KeyFile),
    Database(PostgresStore),
}

impl FirstKey {
    /// Keeps the key, so that the server accepts it.
    pub(super) async fn keep(self) -> Result<(), Failure> {
        let kept = match self.place {
            FirstPlace::File(file) => file.add(self.key).map_err(Failure::misuse),
            FirstPlace::Database(store) => {
                let kept = store.put_api_key(&self.key).await;
                kept.map_err(Failure::misuse)
            }
        };
        kept.map_err(|failure| match failure {
            Failure::Misuse(why) => {
                Failure::Misuse(format!("the API key that was shown is not kept: {why}"))
            }
            other => other,
        })
    }
}

/// Collects the API keys that the server accepts: the given one, and those of the file, or of the
/// database if servers share one. Without any key, generates the first, which is kept later.
async fn keys(
    variable: Option<&str>,
    data: &Path,
    store: &AnyStore,
) -> Result<(ApiKeys, Option<(FirstKey, SecretString)>), Failure> {
    let given = variable.map(given_key).transpose()?;
    let file = KeyFile::new(data::key_file(data));
    let known = match store {
        AnyStore::Postgres(store) => store.api_keys().await.map_err(Failure::misuse)?,
        AnyStore::Memory(_) | AnyStore::Redb(_) => file.load().map_err(Failure::misuse)?,
    };
    let mut new = None;
    if given.is_none() && known.is_empty() {
        let (mut key, secret) = ApiKey::generate(KeyEnvironment::Test).map_err(Failure::misuse)?;
        key.name = Some("made by `atlasent serve` at its first start".to_owned());
        let place = match store {
            AnyStore::Postgres(store) => FirstPlace::Database(store.clone()),
            AnyStore::Memory(_) | AnyStore::Redb(_) => FirstPlace::File(file.clone()),
        };
        new = Some((FirstKey { key, place }, secret));
    }
    let book = ApiKeys::new(given);
    let book = match store {
        AnyStore::Postgres(store) => book.with_database(store.clone()).await,
        AnyStore::Memory(_) | AnyStore::Redb(_) => book.with_file(file).await,
    };
    Ok((book.map_err(Failure::misuse)?, new))
}

fn given_key(variable: &str) -> Result<ApiKey, Failure> {
    let name = quoted(variable);
    let text = env::var(variable).map_err(|_| {
        Failure::misuse(format!(
            "`--api-key-env`: the environment variable {name} is not set, or is not UTF-8"
        ))
    })?;
    ApiKey::parse(&SecretString::from(text))
        .map_err(|error| Failure::misuse(format!("`--api-key-env`: {name} holds {error}")))
}

fn write_examples(folder: &Path) -> Result<(), Failure> {
    data::make(folder)?;
    for (name, text) in EXAMPLES {
        let path = folder.join(name);
        write_new(&path, text).map_err(|error| {
            Failure::misuse(format!("cannot write `{}`: {error}", path.display()))
        })?;
    }
    Ok(())
}

impl Welcome {
    /// Whether the text holds a new API key.
    pub(super) fn shows_key(&self) -> bool {
        self.new_key.is_some()
    }

    pub(super) fn text(&self, url: &str, store: &StoreChoice) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, url, store);
        text
    }

    fn write(&self, out: &mut String, url: &str, store: &StoreChoice) -> std::fmt::Result {
        let policies = harmless(&self.policies.to_string_lossy());
        writeln!(out, "atlasent serves {url}")?;
        writeln!(out, "  policies  {} in {policies}", self.policy_count)?;
        writeln!(out, "  store     {store}")?;
        let data = harmless(&self.data.to_string_lossy());
        writeln!(out, "  data      {data}")?;
        writeln!(
            out,
            "  signing   {} ({url}/v1-signing-keys)",
            self.signing_key
        )?;
        if self.examples {
            writeln!(
                out,
                "\nThe policies are examples, explained in {policies}/README.md: `deploy-bot` may do `deploy.production`,\n\
                 with more than 50 replicas a person has to agree. Change them there; they are read again when they change."
            )?;
        }
        if let Some(key) = &self.new_key {
            writeln!(
                out,
                "\nThis API key is shown once; only its hash is kept. `atlasent key create` makes others.\n\n  {}\n",
                key.expose_secret()
            )?;
            writeln!(
                out,
                "Try it:\n\n  curl {url}/v1-evaluate -H 'Authorization: Bearer <the key>' -H 'Content-Type: application/json' \\\n    \
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
    fn a_path_stays_on_its_line_and_obeys_no_terminal() {
        let welcome = Welcome {
            policies: PathBuf::from("a\n\u{1b}[31m\u{202e}"),
            policy_count: 1,
            examples: true,
            data: PathBuf::from("b\r\u{9b}2J"),
            signing_key: "k".to_owned(),
            new_key: None,
        };
        let text = welcome.text("http://127.0.0.1:8080", &StoreChoice::Memory);
        let acts = |character| character != '\n' && crate::output::acts_on_terminals(character);
        assert!(!text.contains(acts), "{text:?}");
        assert!(
            text.contains("1 in a\\u{a}\\u{1b}[31m\\u{202e}\n"),
            "{text}"
        );
    }
}
