//! A reader that may block, as a stream that does not.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream::Stream;
use tokio::sync::mpsc;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// The bytes of a reader, read on a thread for such things and no faster than they are taken.
pub(super) fn stream<R: Read + Send + 'static>(
    mut reader: R,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, mut receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    chunk.truncate(count);
                    Ok(Bytes::from(chunk))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            // Nobody takes it any more.
            if sender.blocking_send(read).is_err() || failed {
                break;
            }
        }
    });
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}
