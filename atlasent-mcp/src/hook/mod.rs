//! Tool calls of coding agents, decided on in their pre-tool hooks: [`Hook`].
//!
//! A coding agent starts a program before it runs a tool, writes the call to its standard input and
//! reads the decision from its standard output. The call becomes an
//! [`Operation`](crate::Operation), and a [`Gate`] obtains the permit.
//!
//! | tool | action | context | resource |
//! |---|---|---|---|
//! | a tool of the agent, such as `Bash` | `tool.Bash` | its input | the argument of [`HookBuilder::resource`] |
//! | `write_file` of the MCP server `files` | `mcp.files.write_file`, as for a guard | its input | as above |
//!
//! ```text
//! agent ──► HookCall::parse ──► Hook::permit ──► a permit ──► HookFormat::allow ──► the tool runs
//!                │                   └─► Refusal ──┐
//!                └─► Refusal ──────────────────────┴──► HookFormat::deny ──► the tool does not run
//!
//! the tool ended ──► HookEnd::parse ──► the receipt of the permit
//! ```

mod call;
mod end;
mod format;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atlasent::Permit;
use atlasent::authority::DynAuthority;

pub use call::HookCall;
pub use end::{CallId, HookEnd};
pub use format::HookFormat;

use crate::caller::Caller;
use crate::gate::{AuthorizedOperation, Gate, Silent};
use crate::mapping::{Mapping, Rule};
use crate::refusal::Refusal;

/// The exit code by which a hook blocks the tool. Each agent of [`HookFormat`] then reads the
/// reason from standard error. Any other code than 0 and this one is a failure of the hook, after
/// which these agents run the tool.
pub const BLOCKED: u8 = 2;

/// Decides on the tool calls of a coding agent.
///
/// ```
/// use std::sync::Arc;
/// use atlasent::testing::MockAuthority;
/// use atlasent_mcp::Caller;
/// use atlasent_mcp::hook::{Hook, HookCall, HookFormat};
///
/// # futures_executor::block_on(async {
/// let authority = Arc::new(MockAuthority::new().allow("tool.Bash"));
/// let hook = Hook::builder(authority).resource("Bash", "command").build();
///
/// let input = r#"{"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}}"#;
/// let format = HookFormat::detect(input).unwrap();
/// let call = HookCall::parse(format, input)?;
/// let permit = hook.permit(&call, &Caller::configured("claude-code").unwrap()).await?;
/// assert_eq!(permit.operation().arguments(), r#"{"command": "ls"}"#);
/// println!("{}", format.allow());
/// # Ok::<(), atlasent_mcp::Refusal>(()) }).unwrap();
/// ```
pub struct Hook {
    settings: HookBuilder,
}

/// Builds a [`Hook`]. A second call of a method replaces the first, where it names the same thing.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct HookBuilder {
    authority: Arc<dyn DynAuthority>,
    max_wait: Duration,
    /// The argument that names the resource, by the name of the tool.
    resources: BTreeMap<String, String>,
    /// The name of the MCP server, by its URL or command.
    servers: BTreeMap<String, String>,
}

impl Hook {
    /// Starts a hook that asks an authority.
    pub fn builder(authority: Arc<dyn DynAuthority>) -> HookBuilder {
        HookBuilder {
            authority,
            max_wait: Duration::ZERO,
            resources: BTreeMap::new(),
            servers: BTreeMap::new(),
        }
    }

    /// Obtains the permit for a call. The permit is used up: it is for this one execution.
    ///
    /// The tool runs in the agent, so no receipt is sent. To send one when the tool has ended, keep
    /// what [`Permit::defer_receipt`] returns until a post-tool hook reads the [`HookEnd`] of the
    /// same [`CallId`].
    ///
    /// # Errors
    ///
    /// [`Refusal`] for every call that must not run now. A call that the policies hold is refused
    /// after [`max_wait`](HookBuilder::max_wait), and the same call joins the waiting one.
    pub async fn permit(
        &self,
        call: &HookCall,
        caller: &Caller,
    ) -> Result<Permit<AuthorizedOperation>, Refusal> {
        let settings = &self.settings;
        let mapping = self.mapping(call)?;
        let gate = Gate::builder(Arc::clone(&settings.authority), mapping)
            .max_wait(settings.max_wait)
            .build();
        let granted = gate.permit(call.operation(), caller, &Silent).await?;
        Ok(granted)
    }

    /// Maps the one tool of a call, so that nothing else can be decided on.
    fn mapping(&self, call: &HookCall) -> Result<Mapping, Refusal> {
        let tool = call.operation().target().unwrap_or_default();
        let rule = match self.settings.resources.get(call.tool_name()) {
            Some(argument) => Rule::new().resource(argument),
            None => Rule::new(),
        };
        let (server, rule) = match call.server(&self.settings.servers)? {
            Some(server) => (server, rule),
            None => ("agent", rule.action(format!("tool.{tool}"))),
        };
        let mapping = Mapping::closed(server).map_err(|_| {
            let reason = "the name of the MCP server is not 1 to 64 letters, digits, `-` and `_`";
            Refusal::deny("NOT_MAPPED", reason)
        })?;
        Ok(mapping.tool(tool, rule))
    }
}

impl HookBuilder {
    /// Sets how long a held call waits for people. The default is zero, which refuses a held call
    /// at once.
    pub fn max_wait(mut self, at_most: Duration) -> Self {
        self.max_wait = at_most;
        self
    }

    /// Sets the argument that names the resource of a tool. `tool` is the name by which the agent
    /// calls it, such as `Bash` or `mcp__files__write_file`. A call in which the argument is
    /// absent, or is no string, is refused.
    pub fn resource(mut self, tool: impl Into<String>, argument: impl Into<String>) -> Self {
        self.resources.insert(tool.into(), argument.into());
        self
    }

    /// Sets the name of the MCP server that Cursor reaches at a URL, or starts with a command.
    /// Cursor does not tell the name, so calls of other servers are refused.
    pub fn server(mut self, name: impl Into<String>, address: impl Into<String>) -> Self {
        self.servers.insert(address.into(), name.into());
        self
    }

    /// Builds the hook.
    #[must_use]
    pub fn build(self) -> Hook {
        Hook { settings: self }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("max_wait", &self.settings.max_wait)
            .field("resources", &self.settings.resources)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookBuilder").finish_non_exhaustive()
    }
}
