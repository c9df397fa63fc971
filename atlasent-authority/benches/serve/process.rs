//! A server in a process of its own: this executable again, told which server to be.

use std::env;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use atlasent_authority::keys::ApiKey;
use atlasent_authority::organizations::Organization;
use atlasent_authority::server::{ApiKeys, OrgHosting, OrgRegistry, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{OrgId, Organizations, RateCounter, Store};
use atlasent_authority::{LocalAuthority, Policies};

use super::question::{self, POLICIES};

/// The variable that holds the address of a database.
pub(super) const DATABASE: &str = "ATLASENT_BENCH_POSTGRES";

/// The variable that holds how many organizations a server has beside `local`.
pub(super) const ORGANIZATIONS: &str = "ATLASENT_BENCH_ORGANIZATIONS";

/// Serves until the standard input ends. The address is the first line of the standard output.
pub(super) async fn serve<S: Store + RateCounter + Organizations<Store = S>>(store: S) {
    let policies = Policies::parse(POLICIES).unwrap();
    let authority = LocalAuthority::builder(policies).store(store);
    let organizations: usize = env::var(ORGANIZATIONS).map_or(0, |text| text.parse().unwrap());
    let ids: Vec<OrgId> = (0..organizations)
        .map(|number| format!("org-{number}").parse().unwrap())
        .collect();
    let mut keys = vec![key(None, OrgId::local())];
    keys.extend(
        (0..)
            .zip(&ids)
            .map(|(number, id)| key(Some(number), id.clone())),
    );
    // All organizations have the policies of one folder, which each of them loads for itself.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policies.cedar"), POLICIES).unwrap();
    let policies = folder.path().to_owned();
    let registry = OrgRegistry::new(ids.into_iter().map(Organization::new));
    let server = Server::new(
        authority.build().await.unwrap(),
        ApiKeys::new(keys),
        KeyRing::in_memory().unwrap(),
    )
    .organizations(OrgHosting::new(registry, move |_| policies.clone()));
    let any = "127.0.0.1:0".parse().unwrap();
    let listening = server.listen(any, None).await.unwrap();
    tell(listening.address());
    listening.run_until(closed()).await.unwrap();
}

/// Returns the key of an organization, without a rate limit that a benchmark could reach.
fn key(number: Option<usize>, id: OrgId) -> ApiKey {
    let mut key = ApiKey::parse_allow_weak(&question::api_key(number).into()).unwrap();
    key.org_id = id;
    key.rate_limit_per_minute = u64::MAX;
    key
}

pub(super) fn tell(address: SocketAddr) {
    println!("{address}");
}

pub(super) async fn closed() {
    let wait = || io::stdin().read_to_end(&mut Vec::new());
    drop(tokio::task::spawn_blocking(wait).await);
}

/// A running server, which is stopped when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    pub(super) address: SocketAddr,
}

impl Running {
    /// Starts a server with a number of organizations beside `local`. A server on a database uses
    /// `database`, or else the database that the environment names.
    pub(super) fn start(name: &str, database: Option<&str>, organizations: usize) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--serve", name])
            .env(ORGANIZATIONS, organizations.to_string())
            .envs(database.map(|address| (DATABASE, address)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut address).unwrap();
        Self {
            input: child.stdin.take(),
            child,
            address: address.trim().parse().unwrap(),
        }
    }

    /// Returns the processor time of the server's threads, where the system reports it.
    pub(super) fn computed(&self) -> Option<Duration> {
        processor_time(&Path::new("/proc").join(self.child.id().to_string()))
    }
}

/// Returns the processor time of a process, given its folder in `/proc`.
pub(super) fn processor_time(process: &Path) -> Option<Duration> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // After the name, which may contain anything: the 12th and 13th field are ticks of 10 ms.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
