//! An agent's loop on the client of `rmcp`. One of the server's tools waits for a person.
//!
//! ```text
//! cargo run --bin mcp_agent             # the person agrees
//! cargo run --bin mcp_agent -- reject   # the person does not
//! ```
//!
//! The client and the server know nothing of permits. The gate before the server obtains one for
//! each call: a held call stays open, the client hears of its progress, and the tool runs when the
//! person has agreed. A real person uses `atlasent approvals` or the console, at an authority that
//! `atlasent serve` serves.
#![allow(clippy::print_stdout, reason = "it prints what happens")]

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atlasent_authority::approvals::{ApprovalEntry, ApprovalList, Approver, Ballot};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_mcp::server::{Callers, GuardedServer};
use atlasent_mcp::{Caller, Gate, Mapping, Rule};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::{ClientHandler, RoleClient, ServiceExt, tool, tool_router};
use serde::Deserialize;
use serde_json::{Value, json};

/// The policies that decide.
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

/// The server's tools, and what runs in production.
#[derive(Clone, Default)]
struct Deployments {
    production: Arc<Mutex<Option<String>>>,
}

/// The arguments of the tool `deploy`.
#[derive(Deserialize, JsonSchema)]
struct Deploy {
    /// The commit to deploy.
    commit: String,
}

#[tool_router(server_handler)]
impl Deployments {
    /// Tells which commit runs in production.
    #[tool]
    async fn status(&self) -> String {
        match self.commit() {
            Some(commit) => format!("production runs {commit}"),
            None => "nothing is deployed".to_owned(),
        }
    }

    /// Deploys a commit to production.
    #[tool]
    async fn deploy(&self, Parameters(Deploy { commit }): Parameters<Deploy>) -> String {
        let answer = format!("deployed {commit}");
        *self
            .production
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(commit);
        answer
    }
}

impl Deployments {
    fn commit(&self) -> Option<String> {
        let production = self.production.lock();
        production.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The agent's side of the connection, which hears of calls that wait.
#[derive(Clone, Default)]
struct Progress;

impl ClientHandler for Progress {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        println!("  … {}", progress.message.unwrap_or_default());
    }
}

/// An agent that is connected to the guarded server.
struct Agent {
    client: RunningService<RoleClient, Progress>,
}

impl Agent {
    /// Starts the server behind a gate, and connects to it.
    async fn connect(
        server: Deployments,
        authority: Arc<LocalAuthority>,
    ) -> Result<Self, Box<dyn Error>> {
        let mapping = Mapping::standard("deployments")?;
        let mapping = mapping.tool("deploy", Rule::new().resource("commit"));
        let gate = Gate::builder(authority, mapping)
            .max_wait(Duration::from_secs(300))
            .progress_interval(Duration::from_millis(200))
            .build();
        let tools = Deployments::tool_router().list_all();
        let agent = Callers::configured(Caller::configured("release-bot")?);
        let server = GuardedServer::new(server, tools, gate, agent)?;
        // A pipe within this process, in place of standard input and output.
        let (theirs, ours) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            if let Ok(running) = server.serve(theirs).await {
                // How the connection ends is for its other side to tell.
                let _ = running.waiting().await;
            }
        });
        let client = Progress.serve(ours).await?;
        Ok(Self { client })
    }

    /// Returns the names of the tools that the agent could use.
    async fn tools(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let tools = self.client.list_all_tools().await?;
        Ok(tools.into_iter().map(|tool| tool.name.into()).collect())
    }

    /// Answers one message of the model: the text of the tool's result, or of its refusal.
    async fn answer(&self, message: &ToolCall) -> String {
        let call = CallToolRequestParams::new(message.name.to_owned());
        let call = match message.arguments.as_object() {
            Some(arguments) => call.with_arguments(arguments.clone()),
            None => call,
        };
        match self.client.call_tool(call).await {
            Ok(result) => {
                let text = result.content.first().and_then(|content| content.as_text());
                text.map(|text| text.text.clone()).unwrap_or_default()
            }
            Err(error) => format!("error: {error}"),
        }
    }
}

/// A tool call, as a model sends it.
struct ToolCall {
    name: &'static str,
    arguments: Value,
}

/// The messages of a model that deploys. A real loop gets each from the model, with the answers to
/// the earlier ones.
fn messages() -> [ToolCall; 4] {
    let call = |name, arguments| ToolCall { name, arguments };
    [
        call("status", json!({})),
        call("deploy", json!({"commit": "4f2a9c1"})),
        call("status", json!({})),
        // Not a tool of the server.
        call("rollback", json!({})),
    ]
}

/// What the person does with a held call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vote {
    Approve,
    Reject,
}

/// Waits for a held call, and decides on it. Returns what was decided on.
async fn decide(authority: &LocalAuthority, vote: Vote) -> Result<ApprovalEntry, Box<dyn Error>> {
    let held = loop {
        let open = authority.approvals(ApprovalList::Open, u64::MAX, 1);
        if let Some(held) = open.await?.into_iter().next() {
            break held;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let person = Approver::new("ann", ["release-manager"])?;
    let ballot = match vote {
        Vote::Approve => Ballot::approve(person),
        Vote::Reject => Ballot::reject(person),
    };
    authority.vote(held.id, ballot).await?;
    Ok(held)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let vote = match std::env::args().nth(1).as_deref() {
        Some("reject") => Vote::Reject,
        _ => Vote::Approve,
    };
    let authority = LocalAuthority::in_memory(Policies::from_dir(POLICIES)?)?;
    let authority = Arc::new(authority);
    let agent = Agent::connect(Deployments::default(), Arc::clone(&authority)).await?;
    println!("tools: {}\n", agent.tools().await?.join(", "));
    let person = tokio::spawn(async move {
        // Time to read what is asked.
        tokio::time::sleep(Duration::from_millis(700)).await;
        match decide(&authority, vote).await {
            Ok(held) => println!(
                "  ann: {vote:?} {} of {}",
                held.question.action, held.question.agent
            ),
            Err(error) => println!("  ann could not decide: {error}"),
        }
    });
    for message in messages() {
        println!("model: {} {}", message.name, message.arguments);
        println!("loop:  {}\n", agent.answer(&message).await);
    }
    person.await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the loop with a person who votes, or with nobody. Returns the answers, and what runs in
    /// production then.
    async fn run(vote: Option<Vote>) -> (Vec<String>, Option<String>) {
        let authority = LocalAuthority::in_memory(Policies::from_dir(POLICIES).unwrap()).unwrap();
        let (authority, server) = (Arc::new(authority), Deployments::default());
        let agent = Agent::connect(server.clone(), Arc::clone(&authority)).await;
        let agent = agent.unwrap();
        assert_eq!(agent.tools().await.unwrap(), ["deploy", "status"]);
        let person = async {
            match vote {
                Some(vote) => drop(decide(&authority, vote).await.unwrap()),
                None => std::future::pending().await,
            }
        };
        let production = server.clone();
        let conversation = async {
            let mut answers = Vec::new();
            for message in messages() {
                answers.push(agent.answer(&message).await);
            }
            answers
        };
        tokio::pin!(conversation);
        let answers = tokio::select! {
            answers = &mut conversation => answers,
            () = person => {
                // The held call ran nothing before the vote, and ends with it.
                conversation.await
            }
            () = tokio::time::sleep(Duration::from_secs(2)), if vote.is_none() => Vec::new(),
        };
        (answers, production.commit())
    }

    #[tokio::test]
    async fn a_held_tool_runs_once_the_person_agrees() {
        let (answers, production) = run(Some(Vote::Approve)).await;
        assert_eq!(answers[0], "nothing is deployed");
        assert_eq!(answers[1], "deployed 4f2a9c1");
        assert_eq!(answers[2], "production runs 4f2a9c1");
        assert!(
            answers[3].contains("no usable tool `rollback`"),
            "{answers:?}"
        );
        assert_eq!(production.as_deref(), Some("4f2a9c1"));
    }

    #[tokio::test]
    async fn a_rejected_tool_does_not_run_and_the_model_reads_why() {
        let (answers, production) = run(Some(Vote::Reject)).await;
        assert!(
            answers[1].contains("rejected by an approver"),
            "{answers:?}"
        );
        assert_eq!(answers[2], "nothing is deployed");
        assert_eq!(production, None);
    }

    #[tokio::test]
    async fn without_a_person_nothing_is_deployed() {
        let (answers, production) = run(None).await;
        assert_eq!((answers.len(), production), (0, None));
    }
}
