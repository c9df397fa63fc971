//! A synchronous standby, which gives each commit the latency of the link to it.

use std::path::Path;
use std::time::Duration;

use super::{PrivatePostgres, configure};

/// The name by which the primary knows its standby.
const NAME: &str = "standby";

impl PrivatePostgres {
    /// Starts a standby that replicates from the socket in a folder, which leads to this server.
    /// From here on, each commit waits until the standby has it on disk, and holds its locks
    /// meanwhile.
    ///
    /// # Panics
    ///
    /// Panics if the standby does not start or does not connect.
    pub async fn standby(&self, link: &Path) {
        let data = self.folder.join(NAME).display().to_string();
        let host = self.folder.display().to_string();
        let copy = [
            "-h",
            &host,
            "-U",
            "postgres",
            "-D",
            &data,
            "-c",
            "fast",
            "--no-sync",
        ];
        self.run("pg_basebackup", &copy);
        let primary = format!(
            "primary_conninfo = 'host={} user=postgres application_name={NAME}'",
            link.display()
        );
        configure(&data, &["port = 5433", &primary]);
        self.write(&format!("{NAME}/standby.signal"), "");
        let log = self.folder.join("standby.log").display().to_string();
        self.run("pg_ctl", &["-D", &data, "-l", &log, "-w", "start"]);
        let url = self.url("postgres");
        for statement in [
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{NAME}'"),
            "SELECT pg_reload_conf()",
        ] {
            self.sql(&url, statement).await;
        }
        for _ in 0..100 {
            let states = self.sql(&url, "SELECT sync_state FROM pg_stat_replication");
            if states.await == ["sync"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the standby does not connect");
    }
}
