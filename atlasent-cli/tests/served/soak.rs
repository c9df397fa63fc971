//! Load for a few seconds, or longer on demand: every request is answered, and memory stays flat.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::process::Server;

/// The duration in seconds, unless `ATLASENT_SOAK_SECONDS` sets another one.
const SECONDS: u64 = 4;

/// The number of concurrent clients.
const CLIENTS: usize = 8;

#[cfg(target_os = "linux")]
#[test]
fn under_load_everything_is_answered_and_memory_stays_flat() {
    let seconds = std::env::var("ATLASENT_SOAK_SECONDS");
    let seconds = seconds.map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    // A short permit lifetime, so that the load includes the removal of expired permits.
    let server = Server::start(data.path(), &["--permit-ttl", "1", "--log-level", "error"]);
    let (over, pairs) = (AtomicBool::new(false), AtomicU64::new(0));
    let memory = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, over, pairs) = (&server, &over, &pairs);
            scope.spawn(move || {
                let mut connection = server.connect();
                for n in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    let request = json!({
                        "action_type": "deploy.production", "actor_id": "deploy-bot",
                        "context": { "commit": format!("{client}-{n}"), "replicas": n % 100 },
                        "request_id": format!("{client}-{n}"),
                    });
                    let answer = connection.post("/v1-evaluate", &request).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    if let Some(token) = answer.body["permit_token"].as_str() {
                        let question = json!({ "permit_token": token, "actor_id": "deploy-bot" });
                        let verified = connection.post("/v1-verify-permit", &question).unwrap();
                        assert_eq!(verified.body["valid"], true, "{}", verified.body);
                        pairs.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let mut memory = Vec::new();
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(500));
            memory.push(resident(server.id()));
        }
        over.store(true, Ordering::SeqCst);
        memory
    });
    let events = server
        .connect()
        .get("/v1-audit/events?limit=1")
        .unwrap()
        .body["total"]
        .clone();
    println!(
        "{} pairs, {events} events, KiB: {memory:?}",
        pairs.load(Ordering::SeqCst)
    );
    assert!(pairs.load(Ordering::SeqCst) > 100);
    // The cache of the store may grow to 64 MiB. Beyond that, memory must not grow.
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    assert!(last < first + 100 * 1024, "{memory:?}");
}

/// Returns the resident memory of a process, in KiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
