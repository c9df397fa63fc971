//! What an idle organization costs: memory of the server, and bytes of a `redb` file.
//!
//! A server, in a process of its own, has many organizations with an API key each. Its resident
//! memory is read three times:
//!
//! - when it listens,
//! - when each organization has made one request and was removed from memory,
//! - with fewer organizations, while all of them have the starter policies loaded: first, each has
//!   its own set, whose files differ by a comment; then, all share one set.
//!
//! The rows are the growth divided by the number of organizations. They include what the store in
//! memory, or the page cache of `redb`, keeps of the request. The length of a `redb` file is read
//! after organizations were created, and after each has ten events.
//!
//! `ATLASENT_BENCH_ORGANIZATIONS` sets the number of organizations: 10,000 by default, and 10
//! without `--bench`, as in `cargo test --benches`. A tenth of them is loaded, and the file has
//! twice as many. The benchmark `serve` measures the throughput of many organizations.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use atlasent::Agent;
use atlasent_authority::keys::ApiKey;
use atlasent_authority::organizations::Organization;
use atlasent_authority::server::{ApiKeys, OrgHosting, OrgRegistry, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{
    Changeset, NewEvent, OrgId, Organizations, RateCounter, Store, StoreError,
};
use atlasent_authority::{LocalAuthority, MemoryStore, Policies, RedbStore};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

/// How many changes wait for the store at a time.
const AT_ONCE: usize = 256;

fn main() {
    let arguments: Vec<_> = env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        let count = arguments[at + 2].parse().unwrap();
        let stay = Stay::named(&arguments[at + 3]);
        match &*arguments[at + 1] {
            "memory" => runtime.block_on(serve(MemoryStore::new(), count, stay)),
            path => runtime.block_on(serve(RedbStore::open(path).unwrap(), count, stay)),
        }
        return;
    }
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let many = match (env::var("ATLASENT_BENCH_ORGANIZATIONS"), measures) {
        (Ok(many), _) => many.parse().unwrap(),
        (Err(_), true) => 10_000,
        (Err(_), false) => 10,
    };
    let (loaded, more) = (many / 10, 2 * many);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("| an organization, of {many} (loaded: of {loaded}) | store | KB |\n|---|---|---|");
    for store in ["memory", "redb"] {
        for stay in [Stay::None, Stay::Own, Stay::Same] {
            let place = match store {
                "memory" => PathBuf::from(store),
                _ => folder.path().join(format!("{}.redb", stay.name())),
            };
            let count = if stay == Stay::None { many } else { loaded };
            let served = Command::new(env::current_exe().unwrap())
                .arg("--serve")
                .arg(place)
                .arg(count.to_string())
                .arg(stay.name())
                .status();
            assert!(served.unwrap().success());
        }
    }
    let path = folder.path().join("store.redb");
    let [empty, created, with_events] = runtime.block_on(fill(&path, more)).unwrap();
    row("in the file, created", "redb", created - empty, more);
    row(
        "in the file, with ten events",
        "redb",
        with_events - empty,
        more,
    );
}

fn row(name: &str, store: &str, bytes: u64, organizations: usize) {
    let kilobytes = bytes as f64 / organizations as f64 / 1_000.0;
    println!("| {name} | {store} | {kilobytes:.1} |");
}

/// Which organizations stay in memory, and which policies they have.
#[derive(Clone, Copy, PartialEq)]
enum Stay {
    None,
    /// All organizations, each with its own set of policies.
    Own,
    /// All organizations, with one set of policies.
    Same,
}

impl Stay {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Own => "own",
            Self::Same => "same",
        }
    }

    fn named(name: &str) -> Self {
        let all = [Self::None, Self::Own, Self::Same];
        all.into_iter().find(|stay| stay.name() == name).unwrap()
    }
}

/// Copies the starter policies for an organization, with a comment that only its set has.
fn copy_policies(starter: &Path, to: &Path, id: &OrgId) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(starter).unwrap().map(Result::unwrap) {
        let mut text = fs::read_to_string(file.path()).unwrap();
        if file.path().extension().is_some_and(|end| end == "cedar") {
            text += &format!("\n// of {id}\n");
        }
        fs::write(to.join(file.file_name()), text).unwrap();
    }
}

/// Serves a number of organizations, has each make a request, and prints how the memory of this
/// process grows.
async fn serve<S>(store: S, organizations: usize, stay: Stay)
where
    S: Store + RateCounter + Organizations<Store = S>,
{
    let name = match std::any::type_name::<S>().contains("Memory") {
        true => "memory",
        false => "redb",
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atlasent-cli/policies");
    let authority = LocalAuthority::builder(Policies::from_dir(&folder).unwrap()).store(store);
    let authority = authority.build().await.unwrap();
    let before = resident();
    let ids: Vec<OrgId> = (0..organizations)
        .map(|number| format!("org-{number}").parse().unwrap())
        .collect();
    let keys = ids.iter().map(|id| {
        let mut key = ApiKey::parse_allow_weak(&secret(id).into()).unwrap();
        key.org_id = id.clone();
        key
    });
    let registry = OrgRegistry::new(ids.iter().cloned().map(Organization::new));
    let is_unused = stay == Stay::None;
    let copies = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let own = copies.path().to_owned();
    if stay == Stay::Own {
        for id in &ids {
            copy_policies(&folder, &own.join(id.as_str()), id);
        }
    }
    let policies_of = move |id: &OrgId| match stay {
        Stay::Own => own.join(id.as_str()),
        Stay::None | Stay::Same => folder.clone(),
    };
    let max_loaded = if is_unused { 1 } else { organizations };
    let idle = Duration::from_secs(if is_unused { 1 } else { 600 });
    let hosting = OrgHosting::new(registry, policies_of)
        .max_loaded(NonZeroUsize::new(max_loaded).unwrap())
        .idle(idle);
    let server = Server::new(authority, ApiKeys::new(keys), KeyRing::in_memory().unwrap());
    let server = server.organizations(hosting);
    let listening = server.listen("127.0.0.1:0".parse().unwrap(), None).await;
    let listening = listening.unwrap();
    let address = listening.address();
    let serving = tokio::spawn(listening.run_until(std::future::pending()));
    let asking = tokio::task::spawn_blocking(move || {
        let mut client = Client::new(address);
        assert_eq!(client.ask("/healthz", "", None), 200);
        let registered = resident();
        for id in &ids {
            let body = r#"{"action_type":"deploy.production","actor_id":"deploy-bot","context":{"commit":"4f2a9c1","replicas":3}}"#;
            let status = client.ask("/v1-evaluate", body, Some(&secret(id)));
            assert_eq!(status, 200);
        }
        // Those that are not to stay in memory leave it within two rounds of the server.
        std::thread::sleep(Duration::from_secs(if is_unused { 4 } else { 0 }));
        (registered, resident())
    });
    let (registered, used) = asking.await.unwrap();
    serving.abort();
    if is_unused {
        let grown = registered.saturating_sub(before);
        row("registered, with an API key", name, grown, organizations);
    }
    let text = match stay {
        Stay::None => "and used once",
        Stay::Own => "and loaded, with starter policies of its own",
        Stay::Same => "and loaded, with the same starter policies as the others",
    };
    let grown = used.saturating_sub(registered);
    row(text, name, grown, organizations);
}

fn secret(id: &OrgId) -> String {
    format!("ask_test_a-benchmark-has-no-secrets-{id}")
}

/// The resident memory of this process in bytes; 0 where the system does not report it.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1_024
}

/// Creates organizations in a new file, then adds ten events to each. Returns the length of the
/// file before, in between and after.
async fn fill(path: &Path, organizations: usize) -> Result<[u64; 3], StoreError> {
    let store = RedbStore::open(path)?;
    let length = || fs::metadata(path).unwrap().len();
    let empty = length();
    let ids = (0..organizations).map(|number| format!("org-{number}").parse::<OrgId>().unwrap());
    let store = &store;
    stream::iter(ids.clone())
        .map(|id| async move { store.create_organization(&id).await })
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()))
        .await?;
    let created = length();
    stream::iter(ids)
        .map(|id| async move {
            let record = |changeset: &mut Changeset<'_>| {
                for number in 0..10 {
                    changeset.record(event(number));
                }
            };
            let store = store.organization(&id);
            store.commit(Timestamp::now(), Vec::new(), record).await
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |()| Ok(()))
        .await?;
    Ok([empty, created, length()])
}

/// An event as long as that of a permitted action.
fn event(number: u64) -> NewEvent {
    let mut event = NewEvent::new("evaluate.allow")
        .with("action_type", "payment.refund")
        .with("reason", "permitted by policy `refund-1`")
        .with("context_hash", "0123456789abcdef".repeat(4))
        .with("permit_hash", "0123456789abcdef".repeat(4))
        .with("expires_at", "2026-11-01T10:00:00.000000Z");
    event.actor_id = Some(Agent::new(format!("agent-{number}")).unwrap());
    event.resource_id = Some("account-12".into());
    event
}

/// A client with one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    /// Sends a request, a GET if it has no key, and returns the status.
    fn ask(&mut self, target: &str, body: &str, key: Option<&str>) -> u16 {
        let (method, length) = (if key.is_some() { "POST" } else { "GET" }, body.len());
        let key = key.unwrap_or_default();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if status == 0 {
                status = line.split(' ').nth(1).unwrap().parse().unwrap();
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            } else if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        status
    }
}
