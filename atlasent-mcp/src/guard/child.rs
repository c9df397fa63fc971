//! A server that runs as a child process, and is spoken to over its standard input and output.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::environment::withhold;
use super::lines::{LineReader, write_line};
use super::link::{CHANNEL, FromServer, ServerLink, ToServer};
use super::secret::EnvSecret;

/// How long a server may run after its standard input was closed, and again after a SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// The command that starts a server.
#[derive(Debug)]
pub struct ServerCommand {
    /// The program, which is searched for in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The environment variables with secrets that the server gets and the client does not.
    pub secrets: Vec<EnvSecret>,
    /// The environment variables of the guard that the server does not inherit, besides those of
    /// this project (`ATLASENT_…`, `ATI_…`), which no server inherits.
    pub withheld: Vec<String>,
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct ChildServer {
    /// Resolves to how the process ended.
    pub(crate) ended: JoinHandle<io::Result<ExitStatus>>,
    /// Ends the process: sent or dropped.
    stop: oneshot::Sender<()>,
}

impl ServerCommand {
    /// Starts the server. It inherits standard error and the environment, without the keys of the
    /// guard, and dies with the guard.
    pub(crate) fn start(&self) -> io::Result<(ServerLink, ChildServer)> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        withhold(command.as_std_mut(), &self.withheld);
        for secret in &self.secrets {
            command.env(secret.name(), secret.expose());
        }
        // A group of its own, so that a launcher such as `npx` ends together with what it launched,
        // and a Ctrl-C in a terminal reaches the guard first, which lets the server finish.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other(
                "the server has no standard input or output",
            ));
        };
        let (to_server, mut outgoing) = mpsc::channel::<ToServer>(CHANNEL);
        let (incoming, from_server) = mpsc::channel(CHANNEL);
        let (stop, stopped) = oneshot::channel::<()>();
        let reports = incoming.clone();

        let writing = tokio::spawn(async move {
            let mut input = input;
            while let Some(next) = outgoing.recv().await {
                if let Err(not_sent) = next.begin() {
                    if let Some(report) = not_sent.report(&next.message) {
                        let _ = reports.send(report).await;
                    }
                    continue;
                }
                // The server is gone: its output ends, too, and says so.
                if write_line(&mut input, next.message.text()).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(async move {
            let mut lines = LineReader::new(output);
            loop {
                let next = match lines.next().await {
                    Ok(Some(Ok(message))) => FromServer::Message {
                        message,
                        during: None,
                    },
                    Ok(Some(Err(malformed))) => FromServer::Malformed(malformed),
                    Ok(None) | Err(_) => break,
                };
                if incoming.send(next).await.is_err() {
                    return;
                }
            }
            let reason = "the server ended".to_owned();
            let _ = incoming.send(FromServer::Closed { reason }).await;
        });
        let ended = tokio::spawn(async move {
            tokio::select! {
                ended = child.wait() => return ended,
                _ = stopped => {}
            }
            // Dropping the writer closes the standard input, which asks a server to end.
            writing.abort();
            let _ = writing.await;
            end(&mut child).await
        });
        let link = ServerLink {
            sender: to_server,
            receiver: from_server,
        };
        Ok((link, ChildServer { ended, stop }))
    }
}

impl ChildServer {
    /// Asks the server to end, then forces it. Returns how it ended.
    pub(crate) async fn stop(self) -> io::Result<ExitStatus> {
        drop(self.stop);
        self.ended.await.map_err(io::Error::other)?
    }
}

/// Ends a process whose standard input is closed: it may end by itself, gets a SIGTERM, is killed.
async fn end(child: &mut Child) -> io::Result<ExitStatus> {
    if let Ok(ended) = timeout(GRACE, child.wait()).await {
        return ended;
    }
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};

        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let signal = |signal| {
            // It fails if the group has ended in the meantime.
            if let Some(group) = group {
                let _ = kill_process_group(group, signal);
            }
        };
        signal(Signal::TERM);
        if let Ok(ended) = timeout(GRACE, child.wait()).await {
            return ended;
        }
        signal(Signal::KILL);
    }
    child.start_kill()?;
    child.wait().await
}
