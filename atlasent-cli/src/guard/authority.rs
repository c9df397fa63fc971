//! The authority of a guard: policies of this machine, or a server.

use std::path::Path;
use std::sync::Arc;

use atlasent::Client;
use atlasent::authority::DynAuthority;
use atlasent_authority::LocalAuthority;
use atlasent_authority::keys::KeyFile;
use atlasent_authority::server::{ApiKeys, PolicyFolder, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::trail::HeadFile;
use atlasent_mcp::Gate;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::settings::AuthorityChoice;
use crate::data_dir;
use crate::exit::Failure;
use crate::output;
use crate::serve::store::{AnyStore, ChainOptions, StoreChoice};

/// An authority that decides for a guard.
pub(super) struct GuardAuthority {
    pub(super) authority: Arc<dyn DynAuthority>,
    /// What runs beside the decisions of an authority of this machine.
    local: Option<RunningServer>,
}

/// Reads changed policies, and serves the people who release what the policies hold.
struct RunningServer {
    policies: watch::Receiver<()>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), Failure>>,
}

/// An authority of this machine, with what belongs to it in its data folder.
pub(crate) struct LocalParts {
    pub(crate) authority: LocalAuthority<AnyStore>,
    pub(crate) head: Option<HeadFile>,
    /// The keys that sign exports. A folder with such keys has had a store.
    signing: KeyRing,
    folder: PolicyFolder,
}

impl LocalParts {
    /// Opens the authority that decides by the policies of `folder`. `data` is its data folder.
    pub(crate) async fn open(folder: &Path, data: &Path) -> Result<Self, Failure> {
        let (policies, watched) = PolicyFolder::load(folder).map_err(Failure::misuse)?;
        data_dir::warn_if_shared(folder);
        let opened = AnyStore::open(&StoreChoice::Redb, data, &ChainOptions::default()).await;
        let (store, head) = opened.map_err(|failure| match failure {
            Failure::Misuse(why) => Failure::Misuse(format!(
                "{why}. One process uses a data directory at a time: for several, run `atlasent serve`, and set \
                 `--url`"
            )),
            other => other,
        })?;
        let authority = LocalAuthority::builder(policies).store(store).build().await;
        let signing_folder = data_dir::signing_folder(data);
        data_dir::create_private(&signing_folder)?;
        Ok(Self {
            authority: authority.map_err(Failure::misuse)?,
            head,
            signing: KeyRing::open(signing_folder).map_err(Failure::misuse)?,
            folder: watched,
        })
    }
}

impl GuardAuthority {
    /// Opens the authority. `data` is the folder of an authority of this machine.
    pub(super) async fn open(choice: &AuthorityChoice, data: &Path) -> Result<Self, Failure> {
        let (folder, address) = match choice {
            AuthorityChoice::Url(url) => {
                let client = Client::builder().base_url(url.clone()).build();
                return Ok(Self {
                    authority: Arc::new(client.map_err(Failure::misuse)?),
                    local: None,
                });
            }
            AuthorityChoice::Policies { folder, approvals } => (folder, *approvals),
        };
        let parts = LocalParts::open(folder, data).await?;
        let policies = parts.authority.watch_policies();
        let keys = ApiKeys::new(None)
            .with_file(KeyFile::new(data_dir::key_file(data)))
            .await;
        let keys = keys.map_err(Failure::misuse)?;
        let mut server = Server::new(parts.authority, keys, parts.signing).watch(parts.folder);
        if let Some(head) = parts.head {
            server = server.save_head(head);
        }
        let authority = Arc::new(server.authority());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let running = match address {
            None => tokio::spawn(async {
                let ran = server.run_without_listener(stopped).await;
                ran.map_err(Failure::misuse)
            }),
            Some(address) => {
                let listening = server.listen(address, None).await;
                let listening = listening.map_err(Failure::misuse)?;
                output::print_stderr_line("approvals", &format!("http://{}", listening.address()));
                tokio::spawn(async {
                    let ran = listening.run_until(stopped).await;
                    ran.map_err(Failure::misuse)
                })
            }
        };
        Ok(Self {
            authority,
            local: Some(RunningServer {
                policies,
                stop,
                running,
            }),
        })
    }

    /// Announces changed lists when other policies take effect. Returns whether that is ever known:
    /// a server does not tell.
    pub(super) fn announce_lists(&self, gate: &Gate) -> bool {
        let Some(local) = &self.local else {
            return false;
        };
        let (gate, changes) = (gate.clone(), local.policies.clone());
        tokio::spawn(async move { gate.announce_lists(changes).await });
        true
    }

    /// Ends what runs beside the decisions.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Some(RunningServer { stop, running, .. }) = self.local else {
            return Ok(());
        };
        drop(stop);
        running.await.map_err(Failure::misuse)?
    }
}
