//! The programs that the tests run, and where they are.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Policies that allow everything.
pub(crate) const EVERYTHING: &str = "permit (principal, action, resource);";

pub(crate) fn atlasent() -> &'static str {
    env!("CARGO_BIN_EXE_atlasent")
}

/// Returns a file beside this one.
pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/guard")
        .join(name)
}

/// Returns the folder of the servers and clients that `.ci/mcp` installs. Without it, prints that
/// the test is skipped, or fails if `ATLASENT_REQUIRE_MCP` is 1.
pub(crate) fn peers() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("mcp");
    if folder.join("installed").exists() {
        return Some(folder.canonicalize().unwrap());
    }
    let is_required = std::env::var_os("ATLASENT_REQUIRE_MCP").is_some_and(|value| value == "1");
    assert!(!is_required, "no servers and clients: run `.ci/mcp`");
    // Written directly, because the test harness shows the output of failures only.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: no servers and clients: `.ci/mcp` installs them"
    );
    None
}

/// A folder with policies and the data of a guard.
pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new(policies: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        std::fs::write(folder.path().join("policies/guard.cedar"), policies).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder
            .path()
            .canonicalize()
            .unwrap()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// Returns the command line of a guard named `name`, without the program and the server.
    pub(crate) fn guard(&self, name: &str) -> Vec<String> {
        let (policies, data) = (self.path("policies"), self.path("data"));
        [
            "guard",
            "--name",
            name,
            "--policies",
            &policies,
            "--data-dir",
            &data,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// Runs a program to its end. Returns its exit code, standard output and standard error.
pub(crate) fn run(program: &str, arguments: &[String]) -> (i32, String, String) {
    output(Command::new(program).args(arguments))
}

/// Creates an API key of the `live` environment in a data folder, and returns it.
pub(crate) fn create_live_key(data: &str, options: &[&str]) -> String {
    let mut command = Command::new(atlasent());
    command
        .args(["key", "create", "--environment", "live", "--data-dir", data])
        .args(options);
    let (code, key, stderr) = output(&mut command);
    assert_eq!(code, 0, "{stderr}");
    key.trim().to_owned()
}

pub(crate) fn output(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A process that ends with its owner.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A guard or an authority that listens until this is dropped.
pub(crate) struct Listening {
    /// Its URL, which is its first line.
    pub(crate) url: String,
    _process: Running,
}

impl Listening {
    /// Starts a command, which listens on a port of its own.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Running(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (_, address) = line.trim().rsplit_once("://").expect("an address");
        Self {
            url: format!("http://{address}"),
            _process: process,
        }
    }
}

/// A guard on pipes.
pub(crate) struct Piped {
    pub(crate) process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Piped {
    pub(crate) fn start(arguments: &[String]) -> Self {
        Self::run(Command::new(atlasent()).args(arguments))
    }

    /// Starts a guard by a command.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
        self.input.flush().unwrap();
    }

    /// Returns the next message, or `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let length = self.output.read_line(&mut line).unwrap();
        (length > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    pub(crate) fn request(&mut self, id: i64, method: &str, params: &Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        self.next().expect("a response")
    }

    pub(crate) fn initialize(&mut self) {
        let client = json!({"name": "t", "version": "1"});
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let response = self.request(0, "initialize", &params);
        assert!(response["result"].is_object(), "{response}");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    pub(crate) fn call(&mut self, id: i64, tool: &str, arguments: &Value) -> Value {
        self.request(
            id,
            "tools/call",
            &json!({"name": tool, "arguments": arguments}),
        )
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the command of the counting server of the library's tests.
pub(crate) fn counting_server(log: &str, fault: &str) -> Vec<String> {
    let script = here("../../../atlasent-mcp/tests/guard/fake_server.py");
    ["--", "python3", script.to_str().unwrap(), log, fault]
        .map(str::to_owned)
        .to_vec()
}
