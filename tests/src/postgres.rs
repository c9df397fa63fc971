//! A PostgreSQL server of the tests' own: started once for each test program, gone when the program ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that has no server fails"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{env, fs};

/// A server on a socket in a folder that nobody else may look into.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    folder: PathBuf,
    guard: Mutex<Option<Guard>>,
    databases: AtomicU32,
}

/// The server, and the pipe that keeps it alive: a shell ends it when the pipe is closed, however this program ends.
#[derive(Debug)]
struct Guard {
    shell: Child,
    alive: ChildStdin,
}

/// The server, or nothing on a machine that has none; then it is said why, and `ATLASENT_REQUIRE_POSTGRES=1` makes it a
/// failure.
///
/// # Panics
///
/// When there is a server, and it does not start; or when there is none and there has to be one.
#[must_use]
pub fn postgres() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    let server = SERVER.get_or_init(|| find().map(Postgres::start)).as_ref();
    if server.is_none() {
        let why = "no PostgreSQL server was found: install the package `postgresql`";
        let required = env::var("ATLASENT_REQUIRE_POSTGRES").is_ok_and(|required| required == "1");
        assert!(!required, "{why}");
        // Not by `println!`, which the harness keeps to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
    }
    server
}

/// The folder of `postgres` and `initdb`: the newest one of the places where they are put.
fn find() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    // Debian keeps each version apart.
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    folders.splice(0..0, versions.into_iter().rev());
    folders.into_iter().find(|folder| {
        ["initdb", "postgres"]
            .iter()
            .all(|name| folder.join(name).is_file())
    })
}

impl Postgres {
    /// One more server, for a test that ends it. None where there is none.
    #[must_use]
    pub fn another() -> Option<Self> {
        postgres()?;
        find().map(Self::start)
    }

    fn start(binaries: PathBuf) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("atlasent-pg")
            .tempdir()
            .unwrap()
            .keep();
        let server = Self {
            binaries,
            folder,
            guard: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        // It refuses to run as root, so there it runs as the user that its package makes.
        if is_root() {
            let owner = format!("{}:", server_user());
            run(Command::new("chown").arg(owner).arg(&server.folder));
        }
        run(server
            .as_its_user("initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=atlasent",
                "--encoding=UTF8",
                "--pgdata",
            ])
            .arg(server.data()));
        server.restart();
        server
    }

    /// A new, empty database, and its address.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run(Command::new(self.binaries.join("psql"))
            .args([
                "--quiet",
                "--no-psqlrc",
                "--username=atlasent",
                "--dbname=postgres",
                "--host",
            ])
            .arg(&self.folder)
            .arg(format!("--command=CREATE DATABASE {name}")));
        self.address(&name)
    }

    /// Ends the server as a power failure does.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn crash(&self) {
        let guard = self
            .guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut guard = guard.expect("it is running");
        writeln!(guard.alive, "crash").unwrap();
        drop(guard.alive);
        guard.shell.wait().unwrap();
    }

    /// Starts it again, on what it had.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&self) {
        let script = r#"
            "$@" &
            server=$!
            read -r how
            if [ "$how" = crash ]; then
                kill -QUIT $server
                wait $server
            else
                kill -INT $server
                wait $server
                rm -rf "$FOLDER"
            fi
        "#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .env("FOLDER", &self.folder);
        let server = self.as_its_user("postgres");
        command.arg(server.get_program()).args(server.get_args());
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "max_connections=200",
                "-c",
                "shared_buffers=64MB",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let alive = shell.stdin.take().unwrap();
        let mut log = BufReader::new(shell.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let start = said.len();
            let read = log.read_line(&mut said).unwrap();
            assert!(read > 0, "PostgreSQL does not start:\n{said}");
            if said
                .get(start..)
                .is_some_and(|line| line.contains("ready to accept connections"))
            {
                break;
            }
        }
        // What it says from now on has to go somewhere.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Guard { shell, alive });
    }

    fn address(&self, database: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://atlasent@{host}/{database}?sslmode=disable")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of the server, run as a user that it takes.
    fn as_its_user(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let user = server_user();
        command
            .args(["--reuid", user, "--regid", user, "--clear-groups"])
            .arg(program)
            .current_dir(&self.folder);
        command
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}

fn server_user() -> &'static str {
    let known = Command::new("id").arg("postgres").output();
    match known.is_ok_and(|known| known.status.success()) {
        true => "postgres",
        false => "nobody",
    }
}

fn run(command: &mut Command) {
    let output = command.current_dir(Path::new("/")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
