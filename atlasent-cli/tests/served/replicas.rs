//! Two servers that share a database act as one authority.

mod approvals;

use std::path::Path;

use atlasent_tests::postgres::PrivatePostgres;
use serde_json::{Value, json};

use super::http::Connection;
use super::process::{KEY, Server, atlasent};

pub(crate) fn start(data: &Path, database: &str) -> Server {
    let mut command = atlasent();
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store-env",
            "STORE",
            "--data-dir",
        ])
        .arg(data)
        .env("STORE", database);
    Server::run(command)
}

/// Creates a database and returns its URL. Returns `None` without PostgreSQL.
pub(crate) fn database() -> Option<String> {
    let server = PrivatePostgres::shared()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    Some(runtime.unwrap().block_on(server.database()))
}

fn deploy() -> Value {
    json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "4f2a9c1", "replicas": 3 }
    })
}

fn key(command: &str, database: &str) -> String {
    let mut words = atlasent();
    words
        .args(command.split(' '))
        .args(["--store-env", "STORE"])
        .env("STORE", database);
    let output = words.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn of_64_who_use_a_permit_at_two_servers_one_gets_it() {
    let Some(database) = database() else {
        return;
    };
    let api_key = key("key create --rate 100000", &database);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let servers = folders
        .each_ref()
        .map(|folder| start(folder.path(), &database));
    let connect = |n: usize| Connection::open(servers[n % 2].address, &api_key).unwrap();

    for _ in 0..4 {
        let token =
            connect(0).post("/v1-evaluate", &deploy()).unwrap().body["permit_token"].clone();
        let good = std::thread::scope(|scope| {
            let using: Vec<_> = (0..64)
                .map(|n| {
                    let (mut connection, token) = (connect(n), &token);
                    scope.spawn(move || {
                        let question = json!({ "permit_token": token });
                        connection
                            .post("/v1-verify-permit", &question)
                            .unwrap()
                            .body["valid"]
                            == true
                    })
                })
                .collect();
            using
                .into_iter()
                .map(|using| u32::from(using.join().unwrap()))
                .sum::<u32>()
        });
        assert_eq!(good, 1);
    }

    // Both servers have one chain, and accept one key until it is revoked at both.
    let heads = [0, 1].map(|n| {
        let page = connect(n).get("/v1-audit/events?limit=500").unwrap().body;
        page["events"].as_array().unwrap().last().unwrap()["hash"].clone()
    });
    assert_eq!(heads[0], heads[1]);
    let id = connect(0).get("/v1-api-key-self").unwrap().body["key_id"].clone();
    key(&format!("key revoke {}", id.as_str().unwrap()), &database);
    for n in 0..2 {
        let refused = (0..300).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            connect(n).get("/v1-api-key-self").unwrap().status == 401
        });
        assert!(refused, "server {n} still accepts the key");
    }
}

#[test]
fn a_key_is_good_for_its_rate_at_all_servers_together() {
    let Some(database) = database() else {
        return;
    };
    let api_key = key("key create --rate 10", &database);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let servers = folders
        .each_ref()
        .map(|folder| start(folder.path(), &database));
    let statuses: Vec<_> = (0..40)
        .map(|n| {
            let mut connection = Connection::open(servers[n % 2].address, &api_key).unwrap();
            connection.get("/v1-api-key-self").unwrap().status
        })
        .collect();
    // The calls take less than a minute, so at most one new rate window begins.
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!((10..=20).contains(&answered), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn the_address_of_the_database_is_repeated_nowhere() {
    let data = tempfile::tempdir().unwrap();
    let output = atlasent()
        .args([
            "serve",
            "--api-key-env",
            "KEY",
            "--store-env",
            "STORE",
            "--data-dir",
        ])
        .arg(data.path())
        .env(
            "STORE",
            "postgres://me:hunter2@127.0.0.1:1/permits?sslmode=disable",
        )
        .env("KEY", KEY)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("127.0.0.1:1/permits") && !stderr.contains("hunter2"),
        "{stderr}"
    );
}
