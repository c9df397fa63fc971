//! `atlasent policy init`: writes a commented starter policy set with its tests.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlasent_authority::{LocalAuthority, Policies};
use atlasent_mcp::guard::Upstream;
use atlasent_mcp::guard::describe::{DescribeCredentials, describe};
use atlasent_mcp::guard::secret::forbid_inspection;
use atlasent_mcp::starter::{Starter, StarterFile};
use atlasent_mcp::{Caller, Gate, Mapping};
use clap::Args;

use crate::exit::Failure;
use crate::files::write_new;
use crate::guard::server::ServerChoice;
use crate::guard::settings::NamedServer;
use crate::output::{Output, escaped, shell_argument};
use crate::runtime;

/// Write a commented starter policy set, with a schema, entities and tests
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy init
  atlasent policy init /etc/atlasent/policies
  atlasent policy init --name files --mcp \"npx -y @modelcontextprotocol/server-filesystem /srv/files\"
  atlasent policy init --name search --mcp https://mcp.example/mcp
  atlasent policy init --config guard.toml

Writes policies for two actions, a schema, entities, and tests for `atlasent policy test`. With --mcp or --config, asks
a server for its tools, and writes policies for these: a group of agents may call those that say that they only read,
and a person releases each call of the others. A server over HTTP gets the credentials of the settings file (`bearer`,
`header`) if it is the server of that file. No file is overwritten: if the directory already holds a policy or one of
these files, the command fails and writes nothing.")]
pub(crate) struct Init {
    /// The directory to write to, created if it does not exist
    #[arg(value_name = "DIR", default_value = "policies")]
    directory: PathBuf,

    /// The Model Context Protocol server that the policies are for: its command, or its URL
    #[arg(long, value_name = "SERVER")]
    mcp: Option<String>,

    /// The settings file of `atlasent guard`, with the name and the server [default: none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The name of the server in the actions, as in `atlasent guard --name`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// The agent that connects to a server over HTTP to list its tools.
const CONNECTING_AGENT: &str = "policy-init";

/// The files of the set that belongs to no server.
const EXAMPLE: [(&str, &str); 6] = [
    ("payments.cedar", include_str!("../../init/payments.cedar")),
    ("files.cedar", include_str!("../../init/files.cedar")),
    (
        "suspended.cedar",
        include_str!("../../init/suspended.cedar"),
    ),
    (
        "schema.cedarschema",
        include_str!("../../init/schema.cedarschema"),
    ),
    ("entities.json", include_str!("../../init/entities.json")),
    ("tests.json", include_str!("../../init/tests.json")),
];

/// Writes all files of the set, or no file.
pub(crate) fn run(arguments: &Init) -> Result<Output, Failure> {
    let directory = &arguments.directory;
    // Before a server is started in vain.
    refuse_policies(directory, &[])?;
    let (files, warnings) = match (&arguments.mcp, &arguments.config, &arguments.name) {
        (None, None, None) => (example(), Vec::new()),
        (None, None, Some(_)) => {
            return Err(Failure::misuse(
                "`--name` names a server: also set `--mcp` or `--config`",
            ));
        }
        _ => policies_for_server(arguments)?,
    };
    refuse_policies(directory, &files)?;
    let write_failure = |path: &Path, error: &io::Error| {
        let path = path.display();
        Failure::misuse(format!(
            "cannot write `{path}`, so nothing was written: {error}"
        ))
    };
    let is_new = !directory.exists();
    fs::create_dir_all(directory).map_err(|error| write_failure(directory, &error))?;
    let mut written = Vec::new();
    for file in &files {
        let path = directory.join(&file.name);
        match write_new(&path, &file.content) {
            Ok(()) => written.push(path),
            Err(error) => {
                remove_written(&written, directory, is_new);
                return Err(write_failure(&path, &error));
            }
        }
    }
    let use_them = next_command(arguments);
    Ok(Output::new(report(
        directory, &written, &warnings, use_them,
    )))
}

fn example() -> Vec<StarterFile> {
    let file = |(name, content): (&str, &str)| StarterFile {
        name: name.to_owned(),
        content: content.to_owned(),
    };
    EXAMPLE.map(file).into()
}

/// Returns the starter policies for the tools of a server, and warnings about what they do not
/// cover.
fn policies_for_server(arguments: &Init) -> Result<(Vec<StarterFile>, Vec<String>), Failure> {
    let (words, url) = match &arguments.mcp {
        None => (Vec::new(), None),
        Some(url) if is_url(url) => (Vec::new(), Some(&**url)),
        Some(command) => (command_words(command)?, None),
    };
    let config = arguments.config.as_deref();
    let NamedServer { name, server } =
        NamedServer::load(config, arguments.name.as_deref(), &words, url)?;
    let mapping = Mapping::standard(&name).map_err(Failure::misuse)?;
    forbid_inspection();
    let described = runtime::run(async {
        let (upstream, credentials) = connection(&server, mapping).await?;
        let described = describe(&upstream, credentials).await;
        described.map_err(|error| {
            let shown = server.program().unwrap_or_else(|| name.clone());
            Failure::misuse(format!("the server `{shown}`: {error}"))
        })
    })?;
    let starter = Starter::new(&name, &described.tools, &described.prompts);
    let starter = starter.map_err(|error| Failure::misuse(error.to_string()))?;
    let starter = starter.with_resource_templates(&described.resource_templates);
    Ok((starter.files(), starter.warnings().to_vec()))
}

fn is_url(server: &str) -> bool {
    server.starts_with("https://") || server.starts_with("http://")
}

fn command_words(command: &str) -> Result<Vec<OsString>, Failure> {
    let words = shlex::split(command)
        .ok_or_else(|| Failure::misuse("`--mcp`: a quote in the command is not closed"))?;
    match words.is_empty() {
        true => Err(Failure::misuse("`--mcp`: the command is empty")),
        false => Ok(words.into_iter().map(OsString::from).collect()),
    }
}

/// Returns how a server is reached. As in a guard, sending its credentials needs a permit. No
/// policies are written yet, so an authority of this process grants the permit to connect, and
/// nothing else.
async fn connection(
    server: &ServerChoice,
    mapping: Mapping,
) -> Result<(Upstream, Option<DescribeCredentials>), Failure> {
    // The name of a server has letters, digits, `-` and `_` only.
    let policy = format!(
        r#"permit (principal == Agent::"{CONNECTING_AGENT}", action == Action::"mcp.{}:connect", resource);"#,
        mapping.server()
    );
    let policies = Policies::parse(&policy).map_err(Failure::misuse)?;
    let authority = LocalAuthority::builder(policies).build().await;
    let authority = Arc::new(authority.map_err(Failure::misuse)?);
    let gate = Gate::builder(authority, mapping).build();
    let (upstream, secret) = server.upstream(&**gate.authority())?;
    let Some(secret) = secret else {
        return Ok((upstream, None));
    };
    let caller = Caller::configured(CONNECTING_AGENT).map_err(Failure::misuse)?;
    let credentials = DescribeCredentials {
        gate,
        caller,
        secret,
    };
    Ok((upstream, Some(credentials)))
}

/// Refuses a directory that already holds a policy or one of the files.
fn refuse_policies(directory: &Path, files: &[StarterFile]) -> Result<(), Failure> {
    match conflicting_file(directory, files)? {
        None => Ok(()),
        Some(existing) => Err(Failure::misuse(format!(
            "`{}` already exists, so nothing was written: choose another directory",
            existing.display()
        ))),
    }
}

/// Returns an existing file that conflicts with the set: a file of the same name, or a policy,
/// which the new schema may reject. Of several, returns the first by name.
fn conflicting_file(directory: &Path, files: &[StarterFile]) -> Result<Option<PathBuf>, Failure> {
    let read_failure = |error: io::Error| {
        let shown = directory.display();
        Failure::misuse(format!("cannot read `{shown}`: {error}"))
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read_failure(error)),
    };
    let mut conflicting = Vec::new();
    for entry in entries {
        let path = entry.map_err(read_failure)?.path();
        let same_name = path
            .file_name()
            .is_some_and(|name| files.iter().any(|file| name == file.name.as_str()));
        if same_name
            || path
                .extension()
                .is_some_and(|extension| extension == "cedar")
        {
            conflicting.push(path);
        }
    }
    Ok(conflicting.into_iter().min())
}

/// Removes the files that were written before the failure, and a new directory.
fn remove_written(written: &[PathBuf], directory: &Path, is_new: bool) {
    for path in written {
        let _ = fs::remove_file(path);
    }
    if is_new {
        let _ = fs::remove_dir(directory);
    }
}

/// Returns the command that uses the written policies: a guard for the server, or `serve`.
fn next_command(arguments: &Init) -> String {
    let policies = shell_argument(&arguments.directory.to_string_lossy());
    if arguments.config.is_none() && arguments.mcp.is_none() {
        return format!("atlasent serve --policies {policies}");
    }
    let config = arguments.config.as_ref();
    let config =
        config.map(|file| format!(" --config {}", shell_argument(&file.to_string_lossy())));
    let name = arguments.name.as_ref();
    let name = name.map(|name| format!(" --name {name}"));
    let server = arguments.mcp.as_ref().map(|server| {
        if is_url(server) {
            return format!(" --upstream {}", shell_argument(server));
        }
        let words = shlex::split(server).unwrap_or_default();
        let words = shlex::try_join(words.iter().map(String::as_str));
        // A command that cannot be quoted is shown as it was given.
        format!(" -- {}", words.as_deref().unwrap_or(server))
    });
    let [config, name, server] = [config, name, server].map(Option::unwrap_or_default);
    format!("atlasent guard{config}{name} --policies {policies}{server}")
}

fn report(
    directory: &Path,
    written: &[PathBuf],
    warnings: &[String],
    next_command: String,
) -> String {
    let wrote = written
        .iter()
        .map(|path| format!("wrote {}", path.display()));
    let next = [
        format!(
            "atlasent policy check --strict {}",
            shell_argument(&directory.to_string_lossy())
        ),
        format!(
            "atlasent policy test {}",
            shell_argument(&directory.join("tests.json").to_string_lossy())
        ),
        next_command,
    ];
    let next = next.iter().map(|command| format!("  {command}"));
    let warnings = warnings.iter().map(|warning| format!("note: {warning}"));
    let lines = wrote
        .chain(warnings)
        .chain(["Next, edit the policies and their tests, and run:".to_owned()])
        .chain(next);
    lines.map(|line| escaped(&line) + "\n").collect()
}
