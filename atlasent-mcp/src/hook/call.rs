//! The inputs of hooks, read strictly.

use std::collections::BTreeMap;

use atlasent::Context;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::HookFormat;
use super::end::CallId;
use crate::operation::{Operation, shown};
use crate::refusal::Refusal;

/// The prefix of the names that agents give to the tools of MCP servers: `mcp__server__tool`.
const MCP_PREFIX: &str = "mcp__";

/// A tool call that a coding agent is about to run.
#[derive(Clone, Debug)]
pub struct HookCall {
    /// The name of the tool, as the agent calls it.
    name: String,
    server: Server,
    /// The call, under the name that the tool's server gives it.
    operation: Operation,
    /// The id of the call, which the post-tool hook repeats. Unset if the agent sends no id.
    id: Option<CallId>,
}

/// The MCP server that a tool belongs to.
#[derive(Clone, Debug)]
enum Server {
    /// The tool is one of the agent itself.
    Agent,
    Name(String),
    /// The URL of the server, or the command that starts it. Cursor does not tell its name.
    Address(String),
}

/// The input of an agent that names the tool and passes its input.
#[derive(Deserialize)]
struct ToolInput<'a> {
    tool_name: String,
    #[serde(borrow)]
    tool_input: &'a RawValue,
    mcp_context: Option<McpContext>,
}

/// The server of a tool, as Gemini CLI tells it.
#[derive(Deserialize)]
struct McpContext {
    server_name: String,
    tool_name: String,
}

/// The input of Cursor for a command of the shell.
#[derive(Deserialize)]
struct ShellInput {
    command: String,
    cwd: String,
}

/// The input of Cursor for a tool of an MCP server.
#[derive(Deserialize)]
struct CursorMcpInput {
    tool_name: String,
    /// The JSON text of the arguments.
    tool_input: String,
    url: Option<String>,
    command: Option<String>,
}

/// The input of Cursor for a file.
#[derive(Deserialize)]
struct ReadInput {
    file_path: String,
}

#[derive(Deserialize)]
struct Event {
    hook_event_name: String,
}

impl HookCall {
    /// Reads the input of a hook. Members that are not about the call are ignored.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the input is not a JSON object, repeats a member at any depth, is of another
    /// event than the start of a tool call, or has a call in another format.
    pub fn parse(format: HookFormat, input: &str) -> Result<Self, Refusal> {
        // A member that stands twice could be read in two ways.
        Context::parse(input)
            .map_err(|_| malformed("is not a JSON object, or repeats a member"))?;
        let event: Event = read(input)?;
        let call = match (format, &*event.hook_event_name) {
            (HookFormat::ClaudeCode | HookFormat::Codex, "PreToolUse")
            | (HookFormat::Cursor, "preToolUse")
            | (HookFormat::GeminiCli, "BeforeTool") => Self::of_tool(read(input)?),
            (HookFormat::Cursor, "beforeShellExecution") => {
                let ShellInput { command, cwd } = read(input)?;
                Self::of_agent(
                    "Shell",
                    &json!({"command": command, "cwd": cwd}).to_string(),
                )
            }
            (HookFormat::Cursor, "beforeReadFile") => {
                let ReadInput { file_path } = read(input)?;
                Self::of_agent("Read", &json!({"file_path": file_path}).to_string())
            }
            (HookFormat::Cursor, "beforeMCPExecution") => Self::of_cursor_server(read(input)?),
            (_, event) => Err(malformed(&format!(
                "is for the event `{}`, which is not the start of a tool call",
                shown(event)
            ))),
        };
        Ok(Self {
            id: CallId::read(input),
            ..call?
        })
    }

    fn of_tool(input: ToolInput<'_>) -> Result<Self, Refusal> {
        let ToolInput {
            tool_name,
            tool_input,
            mcp_context,
        } = input;
        let arguments = tool_input.get();
        if let Some(context) = mcp_context {
            return Self::new(
                tool_name,
                Server::Name(context.server_name),
                &context.tool_name,
                arguments,
            );
        }
        let Some(name) = tool_name.strip_prefix(MCP_PREFIX) else {
            return Self::of_agent(&tool_name, arguments);
        };
        // The name of a server ends at the first separator, as the agents read it.
        let Some((server, tool)) = name.split_once("__") else {
            return Err(malformed("names an MCP server and no tool of it"));
        };
        let (server, tool) = (server.to_owned(), tool.to_owned());
        Self::new(tool_name, Server::Name(server), &tool, arguments)
    }

    fn of_cursor_server(input: CursorMcpInput) -> Result<Self, Refusal> {
        let address = match (input.url, input.command) {
            (Some(address), None) | (None, Some(address)) => address,
            _ => return Err(malformed("has not one of `url` and `command`")),
        };
        let tool = input.tool_name;
        Self::new(
            tool.clone(),
            Server::Address(address),
            &tool,
            &input.tool_input,
        )
    }

    fn of_agent(tool: &str, arguments: &str) -> Result<Self, Refusal> {
        Self::new(tool.to_owned(), Server::Agent, tool, arguments)
    }

    fn new(name: String, server: Server, tool: &str, arguments: &str) -> Result<Self, Refusal> {
        let operation = Operation::tool(tool, arguments)?;
        Ok(Self {
            name,
            server,
            operation,
            id: None,
        })
    }

    /// Returns the name of the tool, as the agent calls it.
    #[must_use]
    pub fn tool_name(&self) -> &str {
        &self.name
    }

    /// Returns the call, with the text of its arguments.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Returns the id of the call, which the post-tool hook repeats, or `None` if the agent sends
    /// no id.
    #[must_use]
    pub fn id(&self) -> Option<&CallId> {
        self.id.as_ref()
    }

    /// Returns the name of the MCP server, or `None` for a tool of the agent. `names` has the names
    /// by address.
    pub(super) fn server<'a>(
        &'a self,
        names: &'a BTreeMap<String, String>,
    ) -> Result<Option<&'a str>, Refusal> {
        match &self.server {
            Server::Agent => Ok(None),
            Server::Name(name) => Ok(Some(name)),
            Server::Address(address) => match names.get(address) {
                Some(name) => Ok(Some(name)),
                None => Err(Refusal::deny(
                    "NOT_MAPPED",
                    "the MCP server of this tool has no name in the settings of the hook",
                )),
            },
        }
    }
}

pub(super) fn read<'a, T: Deserialize<'a>>(input: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(input).map_err(|_| malformed("lacks a member, or has one of another type"))
}

pub(super) fn malformed(why: &str) -> Refusal {
    Refusal::invalid("MALFORMED", format!("the input of the hook {why}"))
}
