//! An agent's loop with three tools. One of them deletes, and waits for a person.
//!
//! ```text
//! cargo run --bin agent_loop
//! ```
//!
//! The model's tool calls arrive as JSON. Each tool is a `#[protect]` function, so that its body
//! runs with a permit or not at all. The model gets the result or the refusal, and goes on. A call
//! on hold goes to a person instead: the loop does not repeat it, however often the model does.
#![allow(clippy::print_stdout, reason = "it prints what happens")]

use std::collections::BTreeMap;
use std::error::Error;

use atlasent::{Action, Decision, Permit, protect};
use atlasent_authority::{LocalAuthority, Policies};
use serde::Deserialize;
use serde_json::{Value, json};

/// The folder that the build script checks the code against.
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

/// The arguments of the tool `list_files`. A tool's arguments are the action that is decided on,
/// and come back in the permit, so that nothing else can run.
#[derive(Action, Deserialize)]
#[action("list_files")]
struct ListFiles {
    #[action(resource)]
    folder: String,
}

/// The arguments of the tool `write_file`.
#[derive(Action, Deserialize)]
#[action("write_file")]
struct WriteFile {
    #[action(resource)]
    path: String,
    /// The policies do not read the text, so it stays out of the context and of the audit trail.
    #[action(skip)]
    text: String,
}

/// The arguments of the tool `delete_folder`.
#[derive(Action, Deserialize)]
#[action("delete_folder")]
struct DeleteFolder {
    #[action(resource)]
    folder: String,
}

/// The tools of one agent: an authority, and the files.
struct Tools {
    agent: String,
    authority: LocalAuthority,
    files: BTreeMap<String, String>,
}

impl Tools {
    fn new() -> Result<Self, Box<dyn Error>> {
        let files = [
            ("logs/monday.txt", "disk almost full"),
            ("logs/tuesday.txt", "disk full"),
        ];
        Ok(Self {
            agent: "tidy-bot".into(),
            authority: LocalAuthority::in_memory(Policies::from_dir(POLICIES)?)?,
            files: files.map(|(path, text)| (path.into(), text.into())).into(),
        })
    }

    #[protect(action = action, agent = self.agent, authority = self.authority)]
    async fn list_files(
        &self,
        action: ListFiles,
        permit: Permit<ListFiles>,
    ) -> Result<String, ToolError> {
        let ListFiles { folder } = permit.into_action();
        let paths: Vec<&str> = self.paths_in(&folder).collect();
        Ok(paths.join(", "))
    }

    #[protect(action = action, agent = self.agent, authority = self.authority)]
    async fn write_file(
        &mut self,
        action: WriteFile,
        permit: Permit<WriteFile>,
    ) -> Result<String, ToolError> {
        let WriteFile { path, text } = permit.into_action();
        let answer = format!("wrote {path}");
        self.files.insert(path, text);
        Ok(answer)
    }

    #[protect(action = action, agent = self.agent, authority = self.authority)]
    async fn delete_folder(
        &mut self,
        action: DeleteFolder,
        permit: Permit<DeleteFolder>,
    ) -> Result<String, ToolError> {
        let DeleteFolder { folder } = permit.into_action();
        let paths: Vec<String> = self.paths_in(&folder).map(str::to_owned).collect();
        for path in &paths {
            self.files.remove(path);
        }
        Ok(format!("deleted {} files", paths.len()))
    }

    fn paths_in(&self, folder: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{folder}/");
        let paths = self.files.keys().map(String::as_str);
        paths.filter(move |path| path.starts_with(&prefix))
    }

    /// Calls the tool that the model names, with the model's arguments.
    async fn call(&mut self, call: &ToolCall) -> Result<String, ToolError> {
        let arguments = call.arguments.clone();
        match call.name.as_str() {
            "list_files" => self.list_files(serde_json::from_value(arguments)?).await,
            "write_file" => self.write_file(serde_json::from_value(arguments)?).await,
            "delete_folder" => self.delete_folder(serde_json::from_value(arguments)?).await,
            _ => Err(ToolError::UnknownTool),
        }
    }
}

/// A tool call, as the model sends it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
struct ToolCall {
    name: String,
    arguments: Value,
}

/// Why a tool returned no result.
#[derive(Debug)]
enum ToolError {
    /// The authority refused the action, or could not be asked.
    Refused(atlasent::Error),
    /// The model's arguments do not fit the tool.
    Arguments(serde_json::Error),
    /// The model named a tool that does not exist.
    UnknownTool,
}

impl From<atlasent::Error> for ToolError {
    fn from(error: atlasent::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<serde_json::Error> for ToolError {
    fn from(error: serde_json::Error) -> Self {
        Self::Arguments(error)
    }
}

/// A call on hold, for a person to decide.
struct HeldCall {
    call: ToolCall,
    reason: String,
    /// The id under which the authority's audit trail has the decision.
    evaluation_id: Option<String>,
}

/// The loop's state: the tools, and the calls that wait for a person.
struct AgentLoop {
    tools: Tools,
    held: Vec<HeldCall>,
}

impl AgentLoop {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            tools: Tools::new()?,
            held: Vec::new(),
        })
    }

    /// Answers one message of the model. The answer is the text that the model reads.
    async fn answer(&mut self, message: &str) -> String {
        let call: ToolCall = match serde_json::from_str(message) {
            Ok(call) => call,
            Err(error) => return format!("error: this is not a tool call: {error}"),
        };
        if self.held.iter().any(|held| held.call == call) {
            // The authority would hold it again. Only a person can change that.
            return "on hold: a person has this call already. Go on without it.".into();
        }
        match self.tools.call(&call).await {
            Ok(result) => result,
            Err(ToolError::Refused(error)) => self.answer_refusal(call, &error),
            Err(ToolError::Arguments(error)) => format!("error: {error}"),
            Err(ToolError::UnknownTool) => format!("error: there is no tool `{}`", call.name),
        }
    }

    /// Hands a call on hold to a person. Tells the model what was refused, and what to do next.
    fn answer_refusal(&mut self, call: ToolCall, error: &atlasent::Error) -> String {
        let Some(denied) = error.denied() else {
            // The cause is for the operator's log. The tool did not run.
            return "error: the action could not be decided on. Try again later.".into();
        };
        let reason = denied.reason().to_owned();
        match denied.decision() {
            Decision::Hold => {
                let answer = format!("on hold: {reason}. Go on without it.");
                self.held.push(HeldCall {
                    call,
                    reason,
                    evaluation_id: denied.evaluation_id().map(str::to_owned),
                });
                answer
            }
            Decision::Escalate => format!("escalate: {reason}. Ask the person you work for."),
            Decision::Deny | Decision::Allow => format!("denied: {reason}. Do not try again."),
        }
    }
}

/// The messages of a model that tidies up. A real loop gets each from the model, with the answers
/// to the earlier ones.
fn messages() -> [String; 6] {
    let call = |name, arguments| json!({"name": name, "arguments": arguments}).to_string();
    [
        call("list_files", json!({"folder": "logs"})),
        call(
            "write_file",
            json!({"path": "reports/disk.txt", "text": "full since Tuesday"}),
        ),
        call(
            "write_file",
            json!({"path": "logs/tuesday.txt", "text": ""}),
        ),
        call("delete_folder", json!({"folder": "logs"})),
        // Models repeat themselves.
        call("delete_folder", json!({"folder": "logs"})),
        call("list_files", json!({"folder": "logs"})),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut agent_loop = AgentLoop::new()?;
    for message in messages() {
        println!("model: {message}");
        println!("loop:  {}\n", agent_loop.answer(&message).await);
    }

    println!("For a person to decide:");
    for held in &agent_loop.held {
        println!(
            "  {} {}: {} (evaluation {})",
            held.call.name,
            held.call.arguments,
            held.reason,
            held.evaluation_id.as_deref().unwrap_or("unknown"),
        );
    }

    println!("\nThe audit trail:");
    let trail = agent_loop.tools.authority.trail().await?;
    println!("{}", atlasent_examples::table(&trail));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run() -> (AgentLoop, Vec<String>) {
        let mut agent_loop = AgentLoop::new().unwrap();
        let mut answers = Vec::new();
        for message in messages() {
            answers.push(agent_loop.answer(&message).await);
        }
        (agent_loop, answers)
    }

    #[tokio::test]
    async fn the_model_reads_the_result_or_the_reason() {
        let (_, answers) = run().await;
        assert_eq!(
            answers,
            [
                "logs/monday.txt, logs/tuesday.txt",
                "wrote reports/disk.txt",
                "denied: agents write below reports/ only. Do not try again.",
                "on hold: a person decides what is deleted. Go on without it.",
                "on hold: a person has this call already. Go on without it.",
                "logs/monday.txt, logs/tuesday.txt",
            ]
        );
    }

    #[tokio::test]
    async fn a_refused_tool_changes_nothing() {
        let (agent_loop, _) = run().await;
        let files = &agent_loop.tools.files;
        assert_eq!(files["logs/tuesday.txt"], "disk full");
        assert_eq!(files["reports/disk.txt"], "full since Tuesday");
        assert_eq!(files.len(), 3);
    }

    #[tokio::test]
    async fn a_held_call_goes_to_a_person_once_and_is_not_asked_again() {
        let (agent_loop, _) = run().await;
        let [held] = agent_loop.held.as_slice() else {
            panic!("{} calls are on hold", agent_loop.held.len());
        };
        assert_eq!(held.call.name, "delete_folder");
        assert_eq!(held.reason, "a person decides what is deleted");
        assert!(held.evaluation_id.is_some());

        let trail = agent_loop.tools.authority.trail().await.unwrap();
        let asked = trail
            .events
            .iter()
            .filter(|event| event.payload.text("action_type").as_deref() == Some("delete_folder"));
        let kinds: Vec<_> = asked.map(|event| &*event.envelope.kind).collect();
        assert_eq!(kinds, ["evaluate.hold", "approval.requested"]);
    }

    #[tokio::test]
    async fn a_call_that_makes_no_sense_runs_nothing() {
        let mut agent_loop = AgentLoop::new().unwrap();
        for message in [
            "rm -rf logs",
            r#"{"name": "format_disk", "arguments": {}}"#,
            r#"{"name": "delete_folder", "arguments": {"path": "logs"}}"#,
        ] {
            let answer = agent_loop.answer(message).await;
            assert!(answer.starts_with("error: "), "{answer}");
        }
        assert_eq!(agent_loop.tools.files.len(), 2);
        let trail = agent_loop.tools.authority.trail().await.unwrap();
        let mut actions = trail
            .events
            .iter()
            .filter_map(|event| event.payload.text("action_type"));
        assert!(actions.next().is_none());
    }
    #[test]
    fn every_action_is_checked_against_the_policies() {
        for site in atlasent::sites() {
            // A typed action is checked where it is derived.
            let is_typed = site.function().is_some() && site.type_name().is_some();
            assert!(site.is_checked() || is_typed, "{site:?}");
        }
    }
}
