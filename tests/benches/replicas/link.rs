//! A link that takes time: what is sent through it arrives later, in both directions.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The name of a PostgreSQL server's socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// Opens a link to the server whose socket is in a folder. A round trip through the link takes
/// `round_trip` longer. Returns the folder of the link's own socket. The link lasts as long as the
/// process.
pub(super) fn open(server: &Path, round_trip: Duration) -> PathBuf {
    let folder = server.join("link");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let socket = folder.join(SOCKET);
    let server = server.join(SOCKET);
    let (ready, opened) = std::sync::mpsc::channel();
    // A thread of its own, since the load keeps this thread busy.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::bind(&socket).unwrap();
            // The servers of the database may run as another user.
            std::fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
            ready.send(()).unwrap();
            while let Ok((near, _)) = listener.accept().await {
                // A standby that is stopped after its server asks in vain.
                let Ok(far) = UnixStream::connect(&server).await else {
                    continue;
                };
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(carry(near_in, far_out, round_trip / 2));
                tokio::spawn(carry(far_in, near_out, round_trip / 2));
            }
        });
    });
    opened.recv().unwrap();
    folder
}

/// Carries one direction of a connection until it ends.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) -> io::Result<()> {
    let (sent, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async move {
        loop {
            let mut bytes = Vec::with_capacity(16 * 1024);
            if from.read_buf(&mut bytes).await? == 0 || sent.send((Instant::now(), bytes)).is_err()
            {
                return io::Result::Ok(());
            }
        }
    };
    let writing = async {
        while let Some((time, bytes)) = arriving.recv().await {
            sleep_until(time + delay).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(drop)
}
