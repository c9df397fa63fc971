//! A PostgreSQL server for tests. It starts once, and stops with the process that started it, also
//! after a crash.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what tests call may panic as tests do"
)]

mod pooler;
mod standby;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

pub use pooler::Pooler;

/// A server that is reached through a socket in its own folder.
#[derive(Debug)]
pub struct PrivatePostgres {
    bin: PathBuf,
    folder: PathBuf,
    owner: Option<(u32, u32)>,
    databases: AtomicUsize,
    /// Stops the server when the pipe to it closes, also at the end of this process.
    guard: Option<Child>,
}

impl PrivatePostgres {
    /// Returns the server that all tests of this process share, or `None` if no server is
    /// installed.
    ///
    /// # Panics
    ///
    /// Panics if the server does not start, or if no server is installed and
    /// `ATLASENT_REQUIRE_POSTGRES` is 1.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PrivatePostgres>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[], &[])).as_ref()
    }

    /// Starts a server with these settings, which may name `files` in the folder above its data.
    ///
    /// # Panics
    ///
    /// Panics if the server does not start, or if no server is installed and
    /// `ATLASENT_REQUIRE_POSTGRES` is 1.
    #[must_use]
    pub fn start(settings: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        let Some(bin) = binaries() else {
            skipped("no PostgreSQL server found (install the package `postgresql`)");
            return None;
        };
        // Short, because the name is a part of the path of a socket.
        let folder = TempDir::with_prefix_in("pg", "/tmp").expect("a temporary folder");
        let owner = owner();
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).expect("root may");
        }
        // From here on, dropping the guard removes the folder.
        let mut server = Self {
            bin,
            folder: folder.keep(),
            owner,
            databases: AtomicUsize::new(0),
            guard: None,
        };
        server.guard = Some(server.guarded());
        for (name, content) in files {
            server.write(name, content);
        }
        let data = server.data();
        server.run(
            "initdb",
            &[
                "-D",
                &data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
            ],
        );
        let sockets = format!("unix_socket_directories = '{}'", server.folder.display());
        let base = [
            "listen_addresses = ''",
            &sockets,
            "fsync = on",
            "max_connections = 300",
            "shared_buffers = 32MB",
            "log_min_messages = error",
        ];
        configure(&data, base.iter().chain(settings));
        server.restart();
        Some(server)
    }

    /// Stops the server as a crash does, without flushing.
    ///
    /// # Panics
    ///
    /// Panics if the server does not stop.
    pub fn crash(&self) {
        self.run(
            "pg_ctl",
            &["-D", &self.data(), "-m", "immediate", "-w", "stop"],
        );
    }

    /// Starts the server again after a [`crash`](Self::crash).
    ///
    /// # Panics
    ///
    /// Panics if the server does not start.
    pub fn restart(&self) {
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "start"]);
    }

    /// Returns the folder of the server's socket and data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates a database and returns its URL.
    ///
    /// # Panics
    ///
    /// Panics if the database cannot be created.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.sql(&self.url("postgres"), &format!("CREATE DATABASE {name}"))
            .await;
        self.url(&name)
    }

    /// Returns the URL of a database, which need not exist.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{host}/{database}")
    }

    /// Runs statements, and returns the first column of each row.
    ///
    /// # Panics
    ///
    /// Panics if the statements fail.
    pub async fn sql(&self, url: &str, statements: &str) -> Vec<String> {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .expect("a connection");
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(statements).await.expect(statements);
        connection.abort();
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        rows.collect()
    }

    /// Copies the rows of a database's tables into those of another one, with `pg_dump` and `psql`.
    ///
    /// # Panics
    ///
    /// Panics if a program fails.
    pub fn copy_rows(&self, from: &str, to: &str) {
        let file = self.folder.join("rows.sql").display().to_string();
        let dump = ["--data-only", "--table=atlasent_*", "--file", &file, from];
        self.run("pg_dump", &dump);
        let load = [
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "--single-transaction",
            "-f",
            &file,
            to,
        ];
        self.run("psql", &load);
    }

    /// Writes a file that only the server can read, as it requires for keys.
    fn write(&self, name: &str, content: &str) {
        let path = self.folder.join(name);
        std::fs::write(&path, content).expect("room for a file");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("our own file");
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group)).expect("root may");
        }
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).current_dir(&self.folder);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        let output = self.folder.join("output");
        let file = std::fs::File::create(&output).expect("a file for the output");
        let errors = file.try_clone().expect("a second handle");
        let status = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .status();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            let (output, log) = (read(output), read(self.folder.join("log")));
            panic!("{program}: {status:?}\n{output}\n{log}");
        }
    }

    /// Starts a shell that stops the server when this process ends. The shell ignores signals that
    /// may end this process.
    fn guarded(&self) -> Child {
        let script = "trap '' HUP INT TERM; cat; for pid in \"$2\"/*/postmaster.pid; do \
             \"$1\" -D \"${pid%/*}\" -m immediate -w stop; done; rm -rf \"$2\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "guard"]);
        command.arg(self.bin.join("pg_ctl")).arg(&self.folder);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        let command = command.current_dir("/tmp").stdin(Stdio::piped());
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell")
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

/// Says why tests are skipped, or panics if they must not be.
fn skipped(why: &str) {
    let required = std::env::var_os("ATLASENT_REQUIRE_POSTGRES").is_some_and(|v| v == "1");
    assert!(!required, "{why}");
    // Written directly, because the test harness shows the output of failures only.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Adds settings to those of a server's data.
fn configure<'a>(data: &str, settings: impl IntoIterator<Item = &'a &'a str>) {
    let mut file = std::fs::File::options()
        .append(true)
        .open(Path::new(data).join("postgresql.conf"))
        .expect("initdb made it");
    for setting in settings {
        writeln!(file, "{setting}").expect("room for the settings");
    }
}

/// Returns the folder of the newest server, or of the one that `ATLASENT_TEST_PG_BIN` names.
fn binaries() -> Option<PathBuf> {
    let programs = ["initdb", "pg_ctl", "postgres"];
    let is_whole = |folder: &PathBuf| programs.iter().all(|name| folder.join(name).exists());
    if let Some(named) = std::env::var_os("ATLASENT_TEST_PG_BIN") {
        return Some(PathBuf::from(named)).filter(is_whole);
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut versions: Vec<u32> = installed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable();
    let packaged = versions.iter().rev();
    let packaged = packaged.map(|version| format!("/usr/lib/postgresql/{version}/bin").into());
    let path = std::env::var_os("PATH").unwrap_or_default();
    packaged.chain(std::env::split_paths(&path)).find(is_whole)
}

/// Returns the user that runs the server if this process runs as root, since the server refuses to
/// run as root.
fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)))
}
