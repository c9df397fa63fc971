//! The settings of a guard: options, and the file of `--config`, whose values options replace.
//!
//! ```toml
//! name = "files"
//! agent = "coder"
//! policies = "policies"        # or url = "https://atlasent.example"
//! wait = "10m"
//!
//! [server]
//! command = ["npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv/files"]
//! env = { GITHUB_TOKEN = { file = "/run/secrets/github" } }
//! # or
//! # url = "https://mcp.example/mcp"
//! # bearer = { command = ["pass", "show", "mcp"] }
//!
//! [listen]
//! address = "127.0.0.1:8808"
//! url = "https://guard.example/mcp"
//! authorization_servers = ["https://login.example"]
//!
//! [paths]
//! root = "/srv/files"
//! arguments = ["path", "paths", "source", "destination"]
//!
//! [limits]
//! requests = 64
//!
//! [tools.write_file]
//! resource = "path"
//! require = { mode = { scope = "tool:files:write_file:mode" } }
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlasent_authority::duration::parse_duration;
use atlasent_mcp::guard::http::{is_issuer, is_origin};
use atlasent_mcp::guard::limits::Limits;
use atlasent_mcp::guard::message::is_request_method;
use atlasent_mcp::mapping::is_scope;
use atlasent_mcp::schema::Requirement;
use atlasent_mcp::{Mapping, Rule};
use serde::Deserialize;

use super::server::{ServerChoice, ServerTable};
use super::{CommonArgs, SideArgs};
use crate::exit::Failure;
use crate::files::explain_toml;
use crate::output::escaped;
use crate::serve::values::listen_address;

/// How long a held call waits for people, unless the settings say otherwise.
const WAIT: Duration = Duration::from_secs(600);

/// The error for a server without a name.
const NO_NAME: &str = "the server has no name: set `--name`, which is part of action names";

/// The error for a text that is not a scope.
const NO_SCOPE: &str = "a scope is one word of printable ASCII, such as `docs:read`";

/// The error for a method that no request has.
const NO_METHOD: &str = "no request has this method: it is that of a notification, or not 1 to 128 printable ASCII \
                         characters";

/// What is wrong with a text that is no URL of an authorization server.
const NO_ISSUER: &str = "is not the URL of an authorization server: write `https`, or `http` to this machine, without \
                         user, password, query and fragment, such as `https://login.example`";

/// What is wrong with a text that is no origin.
const NO_ORIGIN: &str = "is no origin: write the scheme, the host and a port that is not the default, such as \
                         `https://app.example`, without a slash at the end";

/// The settings of a guard.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) agent: Option<String>,
    pub(super) authority: AuthorityChoice,
    pub(super) wait: Duration,
    pub(super) server: Option<ServerChoice>,
    pub(super) listen: Option<ListenTable>,
    pub(super) paths: Option<PathsTable>,
    pub(super) mapping: Mapping,
    pub(super) limits: Limits,
}

/// A server, and its name in actions. Policies are written for both.
#[derive(Debug)]
pub(crate) struct NamedServer {
    pub(crate) name: String,
    pub(crate) server: ServerChoice,
}

/// Where decisions come from.
#[derive(Debug)]
pub(super) enum AuthorityChoice {
    /// Policies of this machine. With an address, people release what they hold there.
    Policies {
        folder: PathBuf,
        approvals: Option<SocketAddr>,
    },
    /// A server with the AtlaSent API.
    Url(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    name: Option<String>,
    agent: Option<String>,
    policies: Option<PathBuf>,
    approvals: Option<String>,
    url: Option<String>,
    wait: Option<String>,
    server: Option<ServerTable>,
    listen: Option<ListenTable>,
    paths: Option<PathsTable>,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    tools: BTreeMap<String, RuleTable>,
    #[serde(default)]
    methods: BTreeMap<String, RuleTable>,
    /// Whether only the named tools and methods are mapped.
    #[serde(default)]
    closed: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    action: Option<String>,
    resource: Option<String>,
    /// The scope that a token has to grant.
    scope: Option<String>,
    /// What a caller needs to set an argument of a tool, by the name of the argument.
    #[serde(default)]
    require: BTreeMap<String, RequirementTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequirementTable {
    scope: Option<String>,
    action: Option<String>,
}

/// The table `[listen]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenTable {
    pub(super) address: String,
    /// The URL of the endpoint as clients know it, which is the audience of ATI tokens.
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) authorization_servers: Vec<String>,
    /// The scopes that clients without a token are told to request.
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    /// The origins of web pages that may call.
    #[serde(default)]
    pub(super) origins: Vec<String>,
}

/// The table `[paths]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PathsTable {
    pub(super) root: PathBuf,
    pub(super) arguments: Vec<String>,
}

/// The table `[limits]`. Missing limits have the defaults of [`Limits`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    sessions: Option<usize>,
    sessions_per_agent: Option<usize>,
    session_idle: Option<String>,
    requests: Option<usize>,
    server_requests: Option<usize>,
    resumable_messages: Option<usize>,
    resumable_bytes: Option<usize>,
}

impl Settings {
    /// Reads the file of `--config`, if there is one, and replaces its values by those of options.
    pub(super) fn load(arguments: &CommonArgs, sides: &SideArgs) -> Result<Self, Failure> {
        let file = match &arguments.config {
            Some(path) => SettingsFile::read(path)?,
            None => SettingsFile::default(),
        };
        let source = match &arguments.config {
            Some(path) => format!("`{}`: ", path.display()),
            None => String::new(),
        };
        let misuse = |why: String| Failure::misuse(format!("{source}{why}"));
        let name = arguments.name.clone().or(file.name);
        let name = name.ok_or_else(|| Failure::misuse(NO_NAME))?;
        let wait = match (sides.wait, &file.wait) {
            (Some(wait), _) => wait,
            (None, Some(text)) => {
                parse_duration(text).map_err(|error| misuse(format!("`wait`: {error}")))?
            }
            (None, None) => WAIT,
        };
        let approvals = match (sides.approvals, &file.approvals) {
            (Some(address), _) => Some(address),
            // `--url` replaces the policies of the file, and the address where people release what
            // these hold.
            (None, Some(_)) if arguments.url.is_some() && file.url.is_none() => None,
            (None, Some(text)) => Some(
                listen_address(text).map_err(|error| misuse(format!("`approvals`: {error}")))?,
            ),
            (None, None) => None,
        };
        // An option of one kind replaces a value of the other kind.
        let (policies, url) = match (&arguments.policies, &arguments.url) {
            (None, None) => (file.policies, file.url),
            (policies, url) => (policies.clone(), url.clone()),
        };
        let authority = match (policies, url) {
            (Some(folder), None) => AuthorityChoice::Policies { folder, approvals },
            (None, Some(_)) if approvals.is_some() => {
                return Err(misuse(
                    "approvals are given at the server of `url`, not here".to_owned(),
                ));
            }
            (None, Some(url)) => AuthorityChoice::Url(url),
            (None, None) => {
                return Err(Failure::misuse(
                    "nothing decides: set `--policies` to a directory of policies, or `--url` to a server",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(misuse("set one of `policies` and `url`".to_owned()));
            }
        };
        let server = ServerChoice::new(&sides.command, sides.upstream.as_deref(), file.server)
            .map_err(misuse)?;
        let listen = match sides.listen {
            Some(address) => Some(ListenTable {
                address: address.to_string(),
                ..file.listen.unwrap_or(ListenTable {
                    address: String::new(),
                    url: None,
                    authorization_servers: Vec::new(),
                    scopes: Vec::new(),
                    origins: Vec::new(),
                })
            }),
            None => file.listen,
        };
        if let Some(listen) = &listen {
            listen.check().map_err(misuse)?;
        }
        let limits = file.limits.limits();
        let limits = limits.map_err(|why| misuse(format!("`[limits]`: {why}")))?;
        let mapping = match file.closed {
            true => Mapping::closed(&name),
            false => Mapping::standard(&name),
        };
        let mut mapping = mapping.map_err(|error| misuse(format!("`name`: {error}")))?;
        // A server may have no tools, or never list them, so nothing that is known now waits for
        // the check against the tools.
        for (tool, rule) in file.tools {
            let in_table = |why: String| misuse(format!("`[tools.{tool}]`: {why}"));
            let rule = rule.rule().map_err(in_table)?;
            let checked = mapping.check_tool_rule(&tool, &rule);
            checked.map_err(|error| in_table(error.to_string()))?;
            mapping = mapping.tool(tool, rule);
        }
        for (method, rule) in file.methods {
            let in_table = |why: String| misuse(format!("`[methods.{method:?}]`: {why}"));
            if !rule.require.is_empty() {
                return Err(in_table(
                    "`require` is for the arguments of tools".to_owned(),
                ));
            }
            // The guard forwards no notification that the protocol does not know, mapped or not.
            if !is_request_method(&method) {
                return Err(in_table(NO_METHOD.to_owned()));
            }
            let rule = rule.rule().map_err(in_table)?;
            let checked = mapping.check_method_rule(&method, &rule);
            checked.map_err(|error| in_table(error.to_string()))?;
            mapping = mapping.method(method, rule);
        }
        Ok(Self {
            name,
            agent: arguments.agent.clone().or(file.agent),
            authority,
            wait,
            server,
            listen,
            paths: file.paths,
            mapping,
            limits,
        })
    }
}

impl NamedServer {
    /// Reads the name and the server from the file of `--config`, if there is one. The options
    /// `name`, `words` and `url` replace values of the file.
    pub(crate) fn load(
        config: Option<&Path>,
        name: Option<&str>,
        words: &[OsString],
        url: Option<&str>,
    ) -> Result<Self, Failure> {
        let file = config.map(SettingsFile::read).transpose()?;
        let file = file.unwrap_or_default();
        let name = name.map(str::to_owned).or(file.name);
        let name = name.ok_or_else(|| Failure::misuse(NO_NAME))?;
        let server = ServerChoice::new(words, url, file.server).map_err(Failure::misuse)?;
        let server = server.ok_or_else(|| {
            Failure::misuse("there is no server: set `--mcp`, or `[server]` in the settings file")
        })?;
        Ok(Self { name, server })
    }
}

impl SettingsFile {
    /// Reads the file. An error names the file, the line and the key, and repeats no value.
    fn read(path: &Path) -> Result<Self, Failure> {
        let misuse =
            |why: String| Failure::misuse(format!("`--config`: `{}`: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| misuse(error.to_string()))?;
        toml::from_str(&text).map_err(|error| misuse(explain_toml(&text, &error)))
    }
}

impl ListenTable {
    /// Checks the texts that clients are sent, or that are compared with what clients send.
    fn check(&self) -> Result<(), String> {
        let mut servers = self.authorization_servers.iter();
        if let Some(position) = servers.position(|text| !is_issuer(text)) {
            // The text may hold a password.
            let entry = position + 1;
            return Err(format!(
                "`listen.authorization_servers`: the entry {entry} {NO_ISSUER}"
            ));
        }
        if !self.scopes.iter().all(|scope| is_scope(scope)) {
            return Err(format!("`listen.scopes`: {NO_SCOPE}"));
        }
        match self.origins.iter().find(|text| !is_origin(text)) {
            Some(text) => Err(format!("`listen.origins`: `{}` {NO_ORIGIN}", escaped(text))),
            None => Ok(()),
        }
    }
}

impl LimitsTable {
    fn limits(self) -> Result<Limits, String> {
        let default = Limits::default();
        let session_idle = match self.session_idle {
            None => default.session_idle,
            Some(text) => {
                parse_duration(&text).map_err(|error| format!("`session_idle`: {error}"))?
            }
        };
        Ok(Limits {
            sessions: self.sessions,
            sessions_per_agent: self.sessions_per_agent,
            session_idle,
            requests: self.requests.unwrap_or(default.requests),
            server_requests: self.server_requests.unwrap_or(default.server_requests),
            resumable_messages: self
                .resumable_messages
                .unwrap_or(default.resumable_messages),
            resumable_bytes: self.resumable_bytes.unwrap_or(default.resumable_bytes),
        })
    }
}

impl RuleTable {
    fn rule(self) -> Result<Rule, String> {
        let mut rule = Rule::new();
        if let Some(action) = self.action {
            rule = rule.action(action);
        }
        if let Some(resource) = self.resource {
            rule = rule.resource(resource);
        }
        if let Some(scope) = self.scope {
            if !is_scope(&scope) {
                return Err(format!("`scope`: {NO_SCOPE}"));
            }
            rule = rule.scope(scope);
        }
        for (argument, table) in self.require {
            let requirement = table
                .requirement()
                .map_err(|why| format!("`require.{argument}`: {why}"))?;
            rule = rule.require(argument, requirement);
        }
        Ok(rule)
    }
}

impl RequirementTable {
    fn requirement(self) -> Result<Requirement, String> {
        let is_set = |text: &String| !text.is_empty();
        match (self.scope.filter(is_set), self.action.filter(is_set)) {
            (Some(scope), None) if !is_scope(&scope) => Err(format!("`scope`: {NO_SCOPE}")),
            (Some(scope), None) => Ok(Requirement::Scope(scope)),
            (None, Some(action)) => Ok(Requirement::Action(action)),
            _ => Err("set one of `scope` and `action`".to_owned()),
        }
    }
}
