//! The measured servers, each in a process of its own: this executable again, told which server to
//! be.

use std::env;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use atlasent_authority::keys::ApiKey;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{RateCounter, Store};
use atlasent_authority::{LocalAuthority, MemoryStore, Policies, PostgresStore, RedbStore};

use super::floor;
use super::question::{API_KEY, POLICIES};

/// The variable that holds the address of a database.
pub(super) const DATABASE: &str = "ATLASENT_BENCH_POSTGRES";

/// The kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// HTTP alone: both answers are constants.
    Floor,
    Memory,
    /// Each answer is on disk before it is sent.
    Redb,
    /// Each answer is in a database before it is sent.
    Postgres,
    /// Two servers share one database.
    Replicas,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Floor,
        Self::Memory,
        Self::Redb,
        Self::Postgres,
        Self::Replicas,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Memory => "memory",
            Self::Redb => "redb",
            Self::Postgres => "postgres",
            Self::Replicas => "replicas",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns how many processes answer. Connections are spread over them.
    pub(super) fn processes(self) -> usize {
        match self {
            Self::Floor | Self::Memory | Self::Redb | Self::Postgres => 1,
            Self::Replicas => 2,
        }
    }

    /// Serves until the standard input ends. The address is the first line of the standard output.
    pub(super) fn serve(self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            match self {
                Self::Floor => floor::serve(tell, closed()).await,
                Self::Memory => serve(MemoryStore::with_limits(1_000_000, 1_000_000)).await,
                Self::Redb => {
                    // Beside the executables, since the folder of temporary files is often not on a
                    // disk.
                    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                    serve(RedbStore::open(folder.path().join("serve.redb")).unwrap()).await;
                }
                Self::Postgres | Self::Replicas => {
                    let address = env::var(DATABASE).unwrap();
                    serve(PostgresStore::connect(&address).await.unwrap()).await;
                }
            }
        });
    }
}

async fn serve(store: impl Store + RateCounter) {
    let policies = Policies::parse(POLICIES).unwrap();
    let authority = LocalAuthority::builder(policies).store(store);
    let mut key = ApiKey::parse_allow_weak(&API_KEY.to_owned().into()).unwrap();
    key.rate_limit_per_minute = u64::MAX;
    let server = Server::new(
        authority.build().await.unwrap(),
        ApiKeys::new([key]),
        KeyRing::in_memory().unwrap(),
    );
    let any = "127.0.0.1:0".parse().unwrap();
    let listening = server.listen(any, None).await.unwrap();
    tell(listening.address());
    listening.run_until(closed()).await.unwrap();
}

fn tell(address: SocketAddr) {
    println!("{address}");
}

async fn closed() {
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
    pub(super) fn start(kind: Kind) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--serve", kind.name()])
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
        let stat = Path::new("/proc")
            .join(self.child.id().to_string())
            .join("stat");
        let stat = std::fs::read_to_string(stat).ok()?;
        // After the name, which may contain anything: the 12th and 13th field are ticks of 10 ms.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
