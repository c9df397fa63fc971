//! PgBouncer in transaction mode, in front of a server.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{PrivatePostgres, skipped};

const PORT: u16 = 6432;

/// A pooler that gives each transaction one of few connections.
#[derive(Debug)]
pub struct Pooler {
    folder: PathBuf,
    /// Stops the pooler when the pipe to it closes, also at the end of this process.
    guard: Option<Child>,
}

impl PrivatePostgres {
    /// Starts a pooler that opens two connections to each database at most. `settings` are further
    /// lines of its configuration. Returns `None` if no PgBouncer is installed.
    ///
    /// # Panics
    ///
    /// Panics if the pooler does not start, or if no PgBouncer is installed and
    /// `ATLASENT_REQUIRE_POSTGRES` is 1.
    pub async fn pooler(&self, name: &str, settings: &str) -> Option<Pooler> {
        let Some(program) = program() else {
            skipped("no PgBouncer found (install the package `pgbouncer`)");
            return None;
        };
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder).expect("a name of its own");
        if let Some((user, group)) = self.owner {
            std::os::unix::fs::chown(&folder, Some(user), Some(group)).expect("root may");
        }
        let (server, own) = (self.folder.display(), folder.display());
        self.write(
            &format!("{name}/pgbouncer.ini"),
            &format!(
                "[databases]\n\
                 * = host={server} user=postgres\n\
                 [pgbouncer]\n\
                 unix_socket_dir = {own}\n\
                 listen_port = {PORT}\n\
                 logfile = {own}/log\n\
                 auth_type = trust\n\
                 auth_file = {own}/users\n\
                 pool_mode = transaction\n\
                 default_pool_size = 2\n\
                 max_client_conn = 250\n\
                 {settings}\n"
            ),
        );
        self.write(&format!("{name}/users"), "\"postgres\" \"\"\n");
        let script = "trap '' HUP INT TERM; \"$1\" -q \"$2/pgbouncer.ini\" & cat; kill $!; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script, "guard"]);
        command.arg(program).arg(&folder);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        let command = command.current_dir("/tmp").stdin(Stdio::piped());
        let guard = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let pooler = Pooler {
            folder,
            guard: Some(guard.expect("a shell")),
        };
        for _ in 0..200 {
            if pooler.socket().exists() {
                return Some(pooler);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let log = std::fs::read_to_string(pooler.folder.join("log"));
        panic!("the pooler does not start: {log:?}");
    }
}

impl Pooler {
    /// Returns the URL of a database of the server, through this pooler.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{host}:{PORT}/{database}")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{PORT}"))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packaged = std::iter::once(PathBuf::from("/usr/sbin"));
    let programs = packaged.chain(std::env::split_paths(&path));
    programs
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.exists())
}
