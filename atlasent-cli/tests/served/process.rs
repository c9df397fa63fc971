//! Starts, stops and kills `atlasent serve` as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use super::http::Connection;

/// The API key of the tests.
pub(crate) const KEY: &str = "ask_test_0123456789abcdefghijklmnopqrstuvwxyz";

pub(crate) fn atlasent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atlasent"));
    command.env_clear().env("HOME", "/nonexistent");
    command
}

pub(crate) struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    /// The standard output that was read so far.
    pub(crate) stdout: String,
}

impl Server {
    /// Starts a server on a data directory, with the API key [`KEY`].
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        let mut command = atlasent();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
            .arg("--data-dir")
            .arg(data)
            .args(more)
            .env("KEY", KEY);
        Self::run(command)
    }

    /// Starts a server by a command, and waits until it listens.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut stdout = String::new();
        output.read_line(&mut stdout).unwrap();
        let address = stdout.trim().rsplit_once("://").map(|(_, address)| address);
        let address = address.and_then(|address| address.parse().ok());
        Self {
            address: address.unwrap_or_else(|| panic!("it does not listen: {stdout}")),
            process,
            output,
            stdout,
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address, KEY).unwrap()
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Stops the server with SIGTERM. Returns its exit status and standard output.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let status = self.process.wait().unwrap();
        self.output.read_to_string(&mut self.stdout).unwrap();
        (status, self.stdout.clone())
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops a server whose standard error is piped. Returns its exit status and log.
    pub(crate) fn stop_and_read_log(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let mut log = String::new();
        let mut pipe = self.process.stderr.take().unwrap();
        pipe.read_to_string(&mut log).unwrap();
        (self.process.wait().unwrap(), log)
    }

    pub(crate) fn signal(&self, name: &str) {
        // Every shell has `kill` built in. Some machines lack it as a program.
        let kill = format!("kill -{name} {}", self.process.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
