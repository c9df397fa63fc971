//! The threads that read the file. Readers take turns, so a long read delays none of the others.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use redb::Database;
use tokio::sync::oneshot;

use super::file::File;
use crate::store::read_places::{READS, ReadPlaces};
use crate::store::{OrgId, StoreError};

type Turn = Box<dyn FnOnce(&File) + Send>;

/// The reading threads, and their queue.
pub(super) struct Readers {
    /// `None` while the threads end.
    turns: Option<SyncSender<Turn>>,
    places: ReadPlaces,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a number of threads.
    pub(super) fn start(file: &Arc<File>, threads: usize) -> Result<Self, StoreError> {
        let (turns, waiting) = sync_channel(READS);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut readers = Self {
            turns: Some(turns),
            places: ReadPlaces::default(),
            threads: Vec::new(),
        };
        for _ in 0..threads {
            let (file, waiting) = (Arc::clone(file), Arc::clone(&waiting));
            let thread = thread::Builder::new()
                .name("atlasent-read".to_owned())
                .spawn(move || serve(&file, &waiting))
                .map_err(StoreError::failed)?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Queues one turn for an organization, and waits for its result. A turn whose caller has gone
    /// before it begins is skipped.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when the queue has no place for the organization; another
    /// [`StoreError`] when the file cannot be read.
    pub(super) async fn turn<T: Send + 'static>(
        &self,
        org: &OrgId,
        read: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::failed("the file's readers have stopped");
        let place = self.places.take(org)?;
        let (done, result) = oneshot::channel();
        let turn = Box::new(move |file: &File| {
            let _place = place;
            if done.is_closed() {
                return;
            }
            let result = file
                .database()
                .and_then(|database| read(&database).map_err(|error| file.failed(error)));
            // The caller may have dropped its future.
            let _ = done.send(result);
        });
        let turns = self.turns.as_ref().ok_or_else(stopped)?;
        turns.try_send(turn).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => stopped(),
        })?;
        // A read that panics drops its sender, and the thread continues.
        result
            .await
            .map_err(|_| StoreError::failed("reading the store panicked: try again"))?
    }
}

/// Waits until the threads have released the file.
impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.turns.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has released the file, too.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

/// Runs turns until the queue is closed.
fn serve(file: &File, waiting: &Mutex<Receiver<Turn>>) {
    loop {
        // A thread holds the lock while it waits, so each turn goes to one thread.
        let turn = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match turn {
            Ok(turn) => {
                // A turn that panics drops its sender, which tells its caller.
                let turn = std::panic::AssertUnwindSafe(|| turn(file));
                let _ = std::panic::catch_unwind(turn);
            }
            Err(_) => return,
        }
    }
}
