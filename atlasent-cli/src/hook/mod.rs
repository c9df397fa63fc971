//! `atlasent hook`: decides on a tool call of a coding agent, in its pre-tool hook.
//!
//! Everything but an allow ends with the exit code that blocks the tool, and with the reason on
//! standard error. A thread does the work, so that a panic and a deadline are refusals as well: an
//! agent runs the tool if its hook crashes, or takes longer than the agent waits.

mod receipts;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use atlasent::authority::DynAuthority;
use atlasent::{Authority, Client, Permit};
use atlasent_authority::LocalAuthority;
use atlasent_authority::duration::parse_duration;
use atlasent_authority::trail::HeadFile;
use atlasent_mcp::gate::AuthorizedOperation;
use atlasent_mcp::hook::{Hook, HookCall, HookEnd, HookFormat};
use atlasent_mcp::{Caller, Refusal};
use clap::{Args, ValueEnum};

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::files::read_at_most;
use crate::guard::authority::LocalParts;
use crate::output::{self, Output};
use crate::runtime;
use crate::serve::store::AnyStore;
use crate::server::url_from_environment;
use receipts::OwedReceipts;

/// The largest input, in bytes. Agents pass whole files to tools that write them.
const MAX_INPUT_BYTES: usize = 16 << 20;

/// Decide on a tool call of a coding agent, as its pre-tool hook
#[derive(Args, Clone)]
#[command(next_line_help = true, after_help = EXAMPLES)]
pub(crate) struct HookArgs {
    /// The coding agent [default: found in the input]
    #[arg(long, value_name = "AGENT", value_enum)]
    format: Option<Format>,

    /// The agent that policies decide on [default: claude-code, codex, cursor or gemini-cli]
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,

    /// The directory of the policies that decide, on this machine
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    policies: Option<PathBuf>,

    /// The server that decides, with the API key in ATLASENT_API_KEY [default: $ATLASENT_BASE_URL]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    #[command(flatten)]
    data: DataDir,

    /// The argument that names the resource of a tool, such as Write=file_path; repeatable
    #[arg(long = "resource", value_name = "TOOL=ARGUMENT", value_parser = pair)]
    resources: Vec<(String, String)>,

    /// The name of an MCP server, by its URL or command, for Cursor; repeatable
    #[arg(long = "server", value_name = "NAME=ADDRESS", value_parser = pair)]
    servers: Vec<(String, String)>,

    /// How long a held call waits for people, such as 5m [default: it does not]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "policies")]
    wait: Option<Duration>,

    /// How long a decision may take, beside the wait, until the call is refused
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "20s")]
    timeout: Duration,

    /// Leave the agent's own questions to its user in place for a call that is allowed
    #[arg(long)]
    keep_prompts: bool,

    /// Run as the post-tool hook: record how a call ended, and decide on nothing
    #[arg(long, conflicts_with_all = ["wait", "keep_prompts"])]
    after: bool,
}

const EXAMPLES: &str = "\
Examples:
  atlasent hook --policies policies || exit 2
  atlasent hook --format claude --url https://atlasent.example --wait 5m --resource Write=file_path || exit 2
  atlasent hook --after --policies policies

Set the command as the hook that an agent runs before each tool. It reads the call from standard input, and writes the
decision to standard output in the agent's own words. A tool is the action `tool.NAME`, one of an MCP server
`mcp.SERVER.NAME`, with its input as the context. Everything but an allow has the exit code 2, which blocks the tool.
`|| exit 2` blocks it as well where `atlasent` is missing or was killed. With --after, set the command as the hook after
each tool, with the same policies or URL: it sends the receipt of the call's permit, and never blocks anything.";

/// The coding agents, as the option names them.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Claude,
    Codex,
    Cursor,
    Gemini,
}

impl From<Format> for HookFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Claude => Self::ClaudeCode,
            Format::Codex => Self::Codex,
            Format::Cursor => Self::Cursor,
            Format::Gemini => Self::GeminiCli,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write two texts with `=` between them"),
    }
}

/// Decides on the call on standard input.
pub(crate) fn run(arguments: &HookArgs) -> Result<Output, Failure> {
    if arguments.after {
        let owned = arguments.clone();
        let late = |seconds: u64| format!("the receipt was not recorded within {seconds} s");
        let recorded = within(arguments.timeout, late, move || record(&owned));
        // After a tool, agents would show a hook's output to the model if it exited with code 2.
        return recorded.map(|()| Output::new("")).map_err(Failure::refused);
    }
    // Set as soon as it is known, so that each refusal has the words of the agent.
    let format: Arc<OnceLock<HookFormat>> = Arc::default();
    if let Some(given) = arguments.format {
        let _ = format.set(given.into());
    }
    let deadline = (arguments.timeout).saturating_add(arguments.wait.unwrap_or_default());
    let (owned, found) = (arguments.clone(), Arc::clone(&format));
    let late = |seconds: u64| {
        format!("the hook did not decide within {seconds} s. Send the same call again later.")
    };
    let decided = within(deadline, late, move || decide(&owned, &found));
    decided.map_err(|Block { reason, failure }| Failure::Blocked {
        answer: Output::new(format.get().map_or_else(String::new, |format| {
            format.deny(&reason, failure.as_deref()) + "\n"
        })),
        reason,
        failure,
    })
}

/// Why the tool does not run.
#[derive(Debug, PartialEq)]
struct Block {
    /// The reason, in words that a model can act on.
    reason: String,
    /// The failure of the authority, for the operator and not for the model.
    failure: Option<String>,
}

impl From<String> for Block {
    fn from(reason: String) -> Self {
        Self {
            reason,
            failure: None,
        }
    }
}

impl From<Refusal> for Block {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.advice(),
            failure: refusal.failure().map(str::to_owned),
        }
    }
}

/// Runs `work` on a new thread. A panic is an error, and so is a missed deadline, whose message
/// `late` returns. The thread is not joined, since the process ends.
fn within<T: Send + 'static, E: From<String> + Send + 'static>(
    deadline: Duration,
    late: impl FnOnce(u64) -> String,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().spawn(move || {
        // The receiver is gone only after the deadline.
        let _ = sender.send(work());
    });
    if let Err(error) = spawned {
        return Err(format!("the hook cannot start a thread: {error}").into());
    }
    match receiver.recv_timeout(deadline) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(late(deadline.as_secs()).into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err("the hook failed, and did nothing".to_owned().into())
        }
    }
}

/// Decides on the call.
fn decide(arguments: &HookArgs, found: &OnceLock<HookFormat>) -> Result<Output, Block> {
    let input = standard_input()?;
    let format = match found.get() {
        Some(format) => *format,
        None => HookFormat::detect(&input).ok_or_else(|| {
            "the input is not that of a hook before a tool of a known agent: set `--format`"
                .to_owned()
        })?,
    };
    let _ = found.set(format);
    let call = HookCall::parse(format, &input)?;
    let agent = arguments.agent.as_deref().unwrap_or(format.agent());
    let caller = Caller::configured(agent).map_err(|error| error.to_string())?;
    let decision = runtime::run(async {
        let authority = Deciding::open(arguments).await?;
        let mut hook = Hook::builder(Arc::clone(&authority.authority))
            .max_wait(arguments.wait.unwrap_or_default());
        for (tool, argument) in &arguments.resources {
            hook = hook.resource(tool, argument);
        }
        for (name, address) in &arguments.servers {
            hook = hook.server(name, address);
        }
        let permit = hook.build().permit(&call, &caller).await;
        // The tool runs in the agent, and the permit is used up.
        let decided = permit.map(|permit| keep_receipt(arguments, &call, &permit));
        authority.close().await;
        Ok(decided)
    });
    decision.map_err(|failure| failure.reason().to_owned())??;
    let answer = match arguments.keep_prompts {
        true => format.no_decision(),
        false => format.allow(),
    };
    match answer.is_empty() {
        true => Ok(Output::new("")),
        false => Ok(Output::new(answer + "\n")),
    }
}

/// Keeps what the post-tool hook needs to send the receipt. A call whose receipt cannot be kept
/// runs all the same: the trail then shows its permit as used, without an end.
fn keep_receipt(arguments: &HookArgs, call: &HookCall, permit: &Permit<AuthorizedOperation>) {
    let (Some(id), Some(receipt)) = (call.id(), permit.defer_receipt()) else {
        return;
    };
    let kept = data_folder(&arguments.data).and_then(|data| {
        let owed = OwedReceipts::open(&data)?;
        owed.keep(id, receipt).map_err(Failure::misuse)
    });
    if let Err(failure) = kept {
        let why = format!("the receipt of the call is not kept: {}", failure.reason());
        output::print_stderr_line("warning", &why);
    }
}

/// Records how the call on standard input ended, if the pre-tool hook kept its receipt.
fn record(arguments: &HookArgs) -> Result<(), String> {
    let input = standard_input()?;
    let end = HookEnd::parse(&input).map_err(|refusal| refusal.reason().to_owned())?;
    let recorded = runtime::run(async {
        let owed = OwedReceipts::open(&data_folder(&arguments.data)?)?;
        let Some((receipt, duration)) = owed.find(end.id()).map_err(Failure::misuse)? else {
            return Ok(());
        };
        let receipt = end.receipt(receipt, duration);
        let authority = Deciding::open(arguments).await?;
        let recorded = Authority::complete(&*authority.authority, &receipt).await;
        authority.close().await;
        recorded.map_err(Failure::misuse)?;
        owed.remove(end.id()).map_err(Failure::misuse)
    });
    recorded.map_err(|failure| failure.reason().to_owned())
}

fn standard_input() -> Result<String, String> {
    let bytes = read_at_most(io::stdin().lock(), MAX_INPUT_BYTES)
        .map_err(|error| format!("the hook cannot read standard input: {error}"))?;
    let bytes = bytes.ok_or_else(|| {
        format!("the input of the hook exceeds the limit of {MAX_INPUT_BYTES} bytes")
    })?;
    String::from_utf8(bytes).map_err(|_| "the input of the hook is not UTF-8".to_owned())
}

/// The authority of one decision.
struct Deciding {
    authority: Arc<dyn DynAuthority>,
    local: Option<Local>,
}

/// An authority of this machine.
struct Local {
    authority: Arc<LocalAuthority<AnyStore>>,
    head: Option<HeadFile>,
    /// Held while the store is open: agents run tools side by side, and one process uses a store at
    /// a time.
    turn: File,
}

impl Deciding {
    async fn open(arguments: &HookArgs) -> Result<Self, Failure> {
        if let Some(policies) = &arguments.policies {
            let data = data_folder(&arguments.data)?;
            let turn = take_turn(&data)?;
            let parts = LocalParts::open(policies, &data).await?;
            let authority = Arc::new(parts.authority);
            return Ok(Self {
                authority: Arc::clone(&authority) as Arc<dyn DynAuthority>,
                local: Some(Local {
                    authority,
                    head: parts.head,
                    turn,
                }),
            });
        }
        let url = match &arguments.url {
            Some(url) => url.clone(),
            None => url_from_environment().ok_or_else(|| {
                Failure::misuse(
                    "nothing decides: set `--policies` to a directory of policies, or `--url` to a server",
                )
            })?,
        };
        let client = Client::builder()
            .base_url(url)
            .deadline(arguments.timeout)
            .receipts(true);
        Ok(Self {
            authority: Arc::new(client.build().map_err(Failure::misuse)?),
            local: None,
        })
    }

    /// Saves the head of the chain, by which the next hook finds a store that was replaced, and
    /// closes the store before the next hook takes its turn.
    async fn close(self) {
        let Self { authority, local } = self;
        drop(authority);
        let Some(local) = local else { return };
        if let Some(head) = &local.head {
            // A head that is not saved is that of an earlier event, which finds the same.
            let _ = head.save(local.authority.store()).await;
        }
        let Local {
            authority, turn, ..
        } = local;
        drop(authority);
        drop(turn);
    }
}

/// Returns the folder of the hooks, which is created for its owner alone.
fn data_folder(data: &DataDir) -> Result<PathBuf, Failure> {
    let folder = match data.option() {
        Some(folder) => folder.to_owned(),
        None => data.path()?.join("hook"),
    };
    data_dir::create_private(&folder)?;
    data_dir::resolve(&folder)
}

/// Waits until no other hook uses the folder.
fn take_turn(data: &Path) -> Result<File, Failure> {
    let path = data.join("hook.lock");
    let locked = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| Failure::misuse(format!("cannot lock `{}`: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_a_missed_deadline_are_refusals() {
        let long = Duration::from_secs(60);
        let words = |seconds: u64| format!("late after {seconds} s");
        let done: Result<u8, String> = within(long, words, || Ok(7));
        assert_eq!(done, Ok(7));
        let panicked: Result<(), String> = within(long, words, || panic!("a bug"));
        assert!(panicked.unwrap_err().contains("failed"));
        let late: Result<(), String> = within(Duration::from_millis(20), words, || {
            thread::sleep(Duration::from_secs(5));
            Ok(())
        });
        assert_eq!(late.unwrap_err(), "late after 0 s");
    }
}
