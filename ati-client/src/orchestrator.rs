//! Issues the token of an agent's sandbox, and the environment variables that it starts with.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use crate::{Claims, Error, RateSpec, SigningKey, build_scope_string, issue, parse_scopes};

/// The variable with the URL of the proxy.
const PROXY_URL: &str = "ATI_PROXY_URL";
/// The variable with the agent's token.
const SESSION_TOKEN: &str = "ATI_SESSION_TOKEN";

/// Issues tokens for the sandboxes that agents run in.
///
/// ```
/// use std::process::Command;
/// use ati_client::{Orchestrator, RateSpec, RateUnit, Sandbox, SigningKey};
///
/// let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let orchestrator = Orchestrator::new("https://ati.example.com/", key)?;
///
/// let sandbox = Sandbox::new("agent-7")
///     .tools(["web_search", "github:*"])
///     .skill("research-*")
///     .rate("tool:github:*", RateSpec::new(10, RateUnit::Hour));
/// let env = orchestrator.provision_sandbox(&sandbox)?;
/// assert_eq!(env.proxy_url(), "https://ati.example.com");
///
/// let mut agent = Command::new("my-agent");
/// env.apply_to(&mut agent); // ATI_PROXY_URL and ATI_SESSION_TOKEN
/// # Ok::<(), ati_client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Orchestrator {
    proxy_url: String,
    key: SigningKey,
    audience: Option<String>,
    issuer: Option<String>,
}

impl Orchestrator {
    /// Creates an orchestrator for agents that call their tools through the proxy at `proxy_url`.
    ///
    /// Slashes at the end of the URL are removed. The URL must hold no credentials, since agents
    /// and logs see it: the token is the credential.
    ///
    /// # Errors
    ///
    /// [`Error::BadProxyUrl`] if the URL is not `http://` or `https://`, a host, and optionally a
    /// port and a path. User information (`user:password@`), a query, a fragment and white space
    /// are refused.
    pub fn new(proxy_url: &str, key: SigningKey) -> Result<Self, Error> {
        let proxy_url = proxy_url.trim_end_matches('/');
        if !is_base_url(proxy_url) {
            return Err(Error::BadProxyUrl);
        }
        Ok(Self {
            proxy_url: proxy_url.to_owned(),
            key,
            audience: None,
            issuer: None,
        })
    }

    /// Sets the audience of the tokens. The default is `ati-proxy`. A second call replaces the
    /// audience.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the issuer of the tokens. The default is `ati-orchestrator`. A second call replaces the
    /// issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Issues a new token for `sandbox`.
    ///
    /// # Errors
    ///
    /// [`Error::BadScope`], [`Error::BadClaim`], [`Error::EmptyAudience`] or [`Error::TwoRates`] if
    /// a value of the sandbox or the orchestrator is invalid; the errors of [`issue`].
    pub fn provision_sandbox(&self, sandbox: &Sandbox) -> Result<SandboxEnv, Error> {
        let scope = build_scope_string(&sandbox.tools, &sandbox.skills, &sandbox.scopes)?;
        let mut claims = Claims::builder(&sandbox.agent_id).scopes(parse_scopes(&scope));
        if let Some(audience) = &self.audience {
            claims = claims.audience(audience);
        }
        if let Some(issuer) = &self.issuer {
            claims = claims.issuer(issuer);
        }
        if let Some(ttl) = sandbox.ttl {
            claims = claims.ttl(ttl);
        }
        for (pattern, rate) in &sandbox.rates {
            claims = claims.rate(pattern, *rate);
        }
        Ok(SandboxEnv {
            proxy_url: self.proxy_url.clone(),
            token: issue(&claims.build()?, &self.key)?,
        })
    }
}

/// Whether the text is `http://` or `https://`, a host, and optionally a port and a path, without
/// anything else.
fn is_base_url(url: &str) -> bool {
    let after_scheme = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let authority = after_scheme.and_then(|rest| rest.split('/').next());
    // Line breaks are refused because tools pass the URL on as a line of `NAME=value`. Backslashes
    // are refused because some parsers read them as slashes, which end the host.
    let is_plain = |c: char| {
        !c.is_whitespace() && !matches!(c, '?' | '#') && !c.escape_debug().any(|c| c == '\\')
    };
    url.chars().all(is_plain)
        && authority.is_some_and(|host| {
            // The text before an `@` is user information (RFC 3986 §3.2.1).
            !host.is_empty() && !host.starts_with(':') && !host.contains('@')
        })
}

/// The tools, skills and rates of one agent's sandbox.
///
/// The default grants no scope, and its token lives for one hour.
#[derive(Clone, Debug)]
#[must_use]
pub struct Sandbox {
    agent_id: String,
    tools: Vec<String>,
    skills: Vec<String>,
    scopes: Vec<String>,
    ttl: Option<Duration>,
    rates: Vec<(String, RateSpec)>,
}

impl Sandbox {
    /// Creates a sandbox for the agent `agent_id`.
    pub fn new(agent_id: impl Into<String>) -> Self {
        Self {
            agent_id: agent_id.into(),
            tools: Vec::new(),
            skills: Vec::new(),
            scopes: Vec::new(),
            ttl: None,
            rates: Vec::new(),
        }
    }

    /// Adds a tool: a name, or a prefix that ends in `*`. The leading `tool:` is optional.
    pub fn tool(self, tool: impl Into<String>) -> Self {
        self.tools([tool])
    }

    /// Adds tools.
    pub fn tools(mut self, tools: impl IntoIterator<Item: Into<String>>) -> Self {
        self.tools.extend(tools.into_iter().map(Into::into));
        self
    }

    /// Adds a skill: a name, or a prefix that ends in `*`. The leading `skill:` is optional.
    pub fn skill(self, skill: impl Into<String>) -> Self {
        self.skills([skill])
    }

    /// Adds skills.
    pub fn skills(mut self, skills: impl IntoIterator<Item: Into<String>>) -> Self {
        self.skills.extend(skills.into_iter().map(Into::into));
        self
    }

    /// Adds a scope, unchanged.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.scopes([scope])
    }

    /// Adds scopes, unchanged.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item: Into<String>>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Sets the token's lifetime, in whole seconds. The default is an hour. A second call replaces
    /// the lifetime.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Adds a rate. Provisioning fails if a pattern has two different rates: see
    /// [`ClaimsBuilder::rate`](crate::ClaimsBuilder::rate).
    pub fn rate(mut self, pattern: impl Into<String>, rate: RateSpec) -> Self {
        self.rates.push((pattern.into(), rate));
        self
    }
}

/// The two environment variables that an agent's sandbox starts with.
///
/// The token in them is a credential: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SandboxEnv {
    proxy_url: String,
    token: String,
}

impl SandboxEnv {
    /// Returns the names and values of `ATI_PROXY_URL` and `ATI_SESSION_TOKEN`.
    #[must_use]
    pub fn vars(&self) -> [(&'static str, &str); 2] {
        [(PROXY_URL, &self.proxy_url), (SESSION_TOKEN, &self.token)]
    }

    /// Returns the URL of the proxy, without a slash at the end.
    #[must_use]
    pub fn proxy_url(&self) -> &str {
        &self.proxy_url
    }

    /// Returns the agent's token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sets the two variables of a command that has not been started.
    pub fn apply_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.vars())
    }
}

impl fmt::Debug for SandboxEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxEnv")
            .field("proxy_url", &self.proxy_url)
            .field("token", &"[hidden]")
            .finish()
    }
}
