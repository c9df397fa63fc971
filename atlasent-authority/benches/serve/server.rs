//! The measured servers.

use std::env;

use atlasent_authority::{MemoryStore, PostgresStore, RedbStore};

use super::floor;
use super::process::{DATABASE, closed, serve, tell};

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
        let runtime = atlasent_authority::server::runtime().unwrap();
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
