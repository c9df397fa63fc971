//! The authority of a guard: policies of this machine, or a server.

use std::path::Path;
use std::sync::Arc;

use atlasent::Client;
use atlasent::authority::DynAuthority;
use atlasent_authority::LocalAuthority;
use atlasent_authority::keys::KeyFile;
use atlasent_authority::server::{ApiKeys, PolicyFolder, Server};
use atlasent_authority::signing::KeyRing;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::settings::AuthorityChoice;
use crate::data_dir;
use crate::exit::Failure;
use crate::output;
use crate::serve::store::{AnyStore, ChainOptions, StoreChoice};

/// An authority that decides for a guard.
pub(super) struct GuardAuthority {
    pub(super) authority: Arc<dyn DynAuthority>,
    /// The server where people release what the policies hold.
    approvals: Option<Approvals>,
}

struct Approvals {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Failure>>,
}

impl GuardAuthority {
    /// Opens the authority. `data` is the folder of an authority of this machine.
    pub(super) async fn open(choice: &AuthorityChoice, data: &Path) -> Result<Self, Failure> {
        let (folder, address) = match choice {
            AuthorityChoice::Url(url) => {
                let client = Client::builder().base_url(url.clone()).build();
                return Ok(Self {
                    authority: Arc::new(client.map_err(Failure::misuse)?),
                    approvals: None,
                });
            }
            AuthorityChoice::Policies { folder, approvals } => (folder, *approvals),
        };
        let (policies, watched) = PolicyFolder::load(folder).map_err(Failure::misuse)?;
        data_dir::warn_if_shared(folder);
        let opened = AnyStore::open(&StoreChoice::Redb, data, &ChainOptions::default()).await;
        let (store, head) = opened.map_err(|failure| match failure {
            Failure::Misuse(why) => Failure::Misuse(format!(
                "{why}. One process uses the data directory of a guard at a time: for several guards, run \
                 `atlasent serve`, and set `--url`"
            )),
            other => other,
        })?;
        let authority = LocalAuthority::builder(policies).store(store).build().await;
        let authority = authority.map_err(Failure::misuse)?;
        let signing_folder = data_dir::signing_folder(data);
        data_dir::create_private(&signing_folder)?;
        let signing = KeyRing::open(signing_folder).map_err(Failure::misuse)?;
        let keys = ApiKeys::new(None)
            .with_file(KeyFile::new(data_dir::key_file(data)))
            .await;
        let mut server =
            Server::new(authority, keys.map_err(Failure::misuse)?, signing).watch(watched);
        if let Some(head) = head {
            server = server.save_head(head);
        }
        let authority = Arc::new(server.authority());
        let approvals = match address {
            None => None,
            Some(address) => {
                let listening = server
                    .listen(address, None)
                    .await
                    .map_err(Failure::misuse)?;
                output::print_stderr_line("approvals", &format!("http://{}", listening.address()));
                let (stop, stopped) = oneshot::channel::<()>();
                let serving = tokio::spawn(async move {
                    let stopped = async {
                        let _ = stopped.await;
                    };
                    listening.run_until(stopped).await.map_err(Failure::misuse)
                });
                Some(Approvals { stop, serving })
            }
        };
        Ok(Self {
            authority,
            approvals,
        })
    }

    /// Ends the server for approvals.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Some(Approvals { stop, serving }) = self.approvals else {
            return Ok(());
        };
        drop(stop);
        serving.await.map_err(Failure::misuse)?
    }
}
