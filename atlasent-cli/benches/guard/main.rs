//! The cost of `atlasent guard`: the duration of a tool call through it, of a list of 100 tools,
//! and the memory of its sessions.
//!
//! Each process is a real one: the guard is the built command, and server and proxy are this
//! executable again. A client calls one tool after the other.
//!
//! - `bare` is the client on the server, without anything between them.
//! - `proxy` forwards each message and reads none: what another hop costs.
//! - `guard` is `atlasent guard --policies`, whose store is on a disk.
//! - `decision` is what the guard asks its authority for each call, in this process and on the same
//!   disk: evaluate, verify and the receipt, with an `fsync`.
//!
//! `added` is the median beyond that of the proxy.
//!
//! | variable | default | |
//! |---|---|---|
//! | `ATLASENT_BENCH_CALLS` | 2000 | how many calls are measured, after a quarter as many |
//! | `ATLASENT_BENCH_SESSIONS` | 1000 | how many sessions the memory is divided by |
//!
//! Without `--bench`, as in `cargo test --benches`, all is run for a moment only, to see that it
//! runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

mod client;
mod decision;
mod proxy;
mod server;

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use client::{Http, Stdio};

/// The name of the server in actions.
const NAME: &str = "bench";
/// How many tools the server has. A policy permits every second one.
const TOOLS: usize = 100;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--server"] => return server::serve_stdio(),
        ["--http-server"] => return server::serve_http(),
        ["--proxy"] => return proxy::forward_stdio(),
        ["--http-proxy", upstream] => return proxy::forward_http(upstream),
        _ => {}
    }
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let calls = match measures {
        true => setting("ATLASENT_BENCH_CALLS", 2_000),
        false => 4,
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_policies(folder.path());

    println!("| | p50 | p99 | added |\n|---|---|---|---|");
    let decision = decision::measure(folder.path(), calls);
    println!("{}", row("decision", &decision, None));
    let server = || this(&["--server"]);
    let mut proxied = None;
    for (name, command) in [
        ("stdio, bare", server()),
        ("stdio, proxy", this(&["--proxy"])),
        (
            "stdio, guard",
            guard_before(folder.path(), "stdio", &server()),
        ),
    ] {
        let durations = Stdio::start(command).measure(calls);
        println!("{}", row(name, &durations, proxied));
        if name.ends_with("proxy") {
            proxied = Some(median(&durations));
        }
    }
    let (upstream, url) = client::listening(this(&["--http-server"]));
    let (proxy, proxy_url) = client::listening(this(&["--http-proxy", &url]));
    let mut guard = guard(folder.path(), "http");
    guard.args(["--listen", "127.0.0.1:0", "--upstream", &url]);
    let (guard, guard_url) = client::listening(guard);
    let mut proxied = None;
    for (name, url) in [
        ("HTTP, bare", &url),
        ("HTTP, proxy", &proxy_url),
        ("HTTP, guard", &guard_url),
    ] {
        let durations = Http::new(url).measure(calls);
        println!("{}", row(name, &durations, proxied));
        if name.ends_with("proxy") {
            proxied = Some(median(&durations));
        }
    }
    drop((upstream, proxy));

    let list = decision::measure_list(folder.path(), if measures { 200 } else { 2 });
    println!("{}", row("a list of 100 tools, filtered", &list, None));

    let sessions = match measures {
        true => setting("ATLASENT_BENCH_SESSIONS", 1_000),
        false => 4,
    };
    let (upstream, url) = client::listening(this(&["--http-server"]));
    let mut fresh = self::guard(folder.path(), "memory");
    fresh.args(["--listen", "127.0.0.1:0", "--upstream", &url]);
    // All sessions are those of one agent.
    let settings = folder.path().join("guard.toml");
    let limits = format!(
        "[limits]\nsessions = {0}\nsessions_per_agent = {0}\n",
        sessions + 1
    );
    std::fs::write(&settings, limits).unwrap();
    fresh.arg("--config").arg(settings);
    let (fresh, guard_url) = client::listening(fresh);
    let client = Http::new(&guard_url);
    client.measure(1);
    if let Some(before) = fresh.memory() {
        let open: Vec<Http> = (0..sessions).map(|_| client.another()).collect();
        let after = fresh.memory().unwrap();
        println!(
            "\n{} MiB before, {} MiB with {sessions} sessions: {} KiB each",
            before / 1024,
            after / 1024,
            after.saturating_sub(before) / u64::try_from(sessions).unwrap()
        );
        drop(open);
    }
    drop((upstream, guard, fresh));
}

fn setting(name: &str, default: usize) -> usize {
    let set = env::var(name).ok();
    set.map_or(default, |text| text.parse().unwrap())
}

/// Returns this executable with arguments.
fn this(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments);
    command
}

/// Returns a guard with a data folder of its own.
fn guard(folder: &Path, data: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atlasent"));
    command
        .args(["guard", "--name", NAME, "--policies"])
        .arg(folder.join("policies"))
        .arg("--data-dir")
        .arg(folder.join(data))
        // Two lines of log for each call.
        .stderr(std::process::Stdio::null());
    command
}

fn guard_before(folder: &Path, data: &str, server: &Command) -> Command {
    let mut command = guard(folder, data);
    command
        .arg("--")
        .arg(server.get_program())
        .args(server.get_args());
    command
}

/// Writes a policy for every second tool, which reads an argument.
fn write_policies(folder: &Path) {
    let policies = (0..TOOLS).step_by(2).map(|tool| {
        format!(
            "permit (principal, action == Action::\"mcp.{NAME}.tool_{tool}\", resource)\n\
             when {{ context.path like \"/srv/*\" }};\n"
        )
    });
    std::fs::create_dir(folder.join("policies")).unwrap();
    let text: String = policies.collect();
    std::fs::write(folder.join("policies/tools.cedar"), text).unwrap();
}

fn quantile(durations: &[Duration], of_hundred: usize) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * of_hundred / 100]
}

fn median(durations: &[Duration]) -> Duration {
    quantile(durations, 50)
}

fn row(name: &str, durations: &[Duration], floor: Option<Duration>) -> String {
    let added = floor.map(|floor| median(durations).saturating_sub(floor));
    let added = added
        .map(|added| format!("{added:.0?}"))
        .unwrap_or_default();
    let (p50, p99) = (median(durations), quantile(durations, 99));
    format!("| {name} | {p50:.0?} | {p99:.0?} | {added} |")
}
