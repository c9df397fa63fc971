//! Organizations that commands create and change while a server runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use atlasent_tests::postgres::PrivatePostgres;
use serde_json::{Value, json};

use super::commands::output;
use super::http::Connection;
use super::process::{Server, atlasent};

/// A server, and the commands on its organizations.
struct Served {
    server: Server,
    /// The options that name the location of the organizations.
    location: [String; 2],
    database: String,
}

impl Served {
    /// Starts a server on a data directory, with its keys and organizations in the database if one
    /// is given.
    fn start(data: &Path, database: Option<String>) -> Self {
        let folder = data.to_str().unwrap().to_owned();
        let (store, location) = match database {
            Some(_) => (
                ["--store-env", "STORE"],
                ["--store-env".to_owned(), "STORE".to_owned()],
            ),
            None => (["--store", "redb"], ["--data-dir".to_owned(), folder]),
        };
        let database = database.unwrap_or_default();
        let mut command = atlasent();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--policy-settle", "1s"])
            .args(store)
            .arg("--data-dir")
            .arg(data)
            .env("STORE", &database);
        Self {
            server: Server::run(command),
            location,
            database,
        }
    }

    /// Runs a command. Returns its standard output.
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = atlasent();
        command
            .args(arguments)
            .args(&self.location)
            .env("STORE", &self.database);
        let (code, stdout, stderr) = output(&mut command);
        assert_eq!(code, 0, "{stderr}");
        stdout
    }

    /// Evaluates until the answer is the expected one, and returns it.
    fn until(&self, key: &str, expected: impl Fn(u16, &Value) -> bool) -> Value {
        let request = json!({"action_type": "report.read", "actor_id": "bot", "context": {}});
        let started = Instant::now();
        loop {
            let mut connection = Connection::open(self.server.address, key).unwrap();
            let answer = connection.post("/v1-evaluate", &request).unwrap();
            if expected(answer.status, &answer.body) {
                return answer.body;
            }
            let seen = format!("{} {}", answer.status, answer.body);
            assert!(started.elapsed() < Duration::from_secs(20), "{seen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn databases() -> Vec<Option<String>> {
    let mut databases = vec![None];
    if let Some(server) = PrivatePostgres::shared() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        databases.push(Some(runtime.block_on(server.database())));
    }
    databases
}

#[test]
fn an_organization_is_created_changed_and_suspended_while_the_server_runs() {
    for database in databases() {
        let data = tempfile::tempdir().unwrap();
        let served = Served::start(data.path(), database);
        let policies = data.path().join("organizations/acme/policies");
        served.run(&["org", "create", "acme"]);
        let key = served.run(&["key", "create", "--org", "acme"]);
        let key = key.trim();
        if served.database.is_empty() {
            let denied = served.until(key, |status, _| status == 200);
            assert_eq!(denied["decision"], "deny");
            assert!(denied.get("permit_token").is_none_or(Value::is_null));
        } else {
            // Each server has its own folder of policies, which the command cannot know.
            served.until(key, |status, _| status == 503);
            fs::create_dir_all(&policies).unwrap();
        }
        let policy = "permit (principal, action == Action::\"report.read\", resource);";
        fs::write(policies.join("policies.cedar"), policy).unwrap();
        served.until(key, |_, body| body["decision"] == "allow");

        served.run(&["org", "suspend", "acme", "--reason", "a test"]);
        let refused = served.until(key, |status, _| status == 403);
        assert!(
            refused.to_string().contains("ORGANIZATION_SUSPENDED"),
            "{refused}"
        );
        assert!(!refused.to_string().contains("a test"), "{refused}");
        served.run(&["org", "resume", "acme"]);
        served.until(key, |_, body| body["decision"] == "allow");

        served.run(&["org", "set", "acme", "--rate-limit", "1"]);
        served.until(key, |status, _| status == 429);
        served.run(&["org", "set", "acme", "--rate-limit", "none"]);
        served.until(key, |status, _| status == 200);
        assert!(served.server.stop().0.success());
    }
}
