//! Reads the registry of organizations and the policies of those in memory again when they change,
//! and drops those from memory that are in no use.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::failure_log::FailureLog;
use super::rounds::{FILES, Rounds, watched};
use crate::server::app::App;
use crate::server::organizations::ServedOrg;
use crate::store::Store;

/// How often the version of the registry is read: half of the second within which a change is
/// promised to take effect.
const PERIOD: Duration = Duration::from_millis(500);

/// How many folders of policies are listed in a round. With more organizations in memory, each
/// folder has its turn after some rounds.
const FOLDERS: usize = 200;

/// Reads the registry again when it changes.
pub(super) async fn refresh_registry<S: Store>(app: Arc<App<S>>) {
    let Some(registry) = app.organizations.registry() else {
        return;
    };
    let mut rounds = Rounds::new(PERIOD);
    let mut log = FailureLog::default();
    loop {
        rounds.next().await;
        match watched("the organizations", registry.refresh()).await {
            Some(Ok(())) if log.succeeded() => {
                tracing::info!(target: "atlasent", "the organizations can be read again");
            }
            Some(Err(error)) if log.failed() => {
                tracing::error!(target: "atlasent", %error, "the organizations stay as they were");
            }
            _ => {}
        }
    }
}

/// Reads changed policies of the organizations in memory, each in a task of its own, so that a
/// folder that hangs delays no other.
pub(super) async fn refresh_organizations<S: Store>(app: Arc<App<S>>) {
    let Some(loader) = app.organizations.loader() else {
        return;
    };
    let mut rounds = Rounds::new(FILES);
    let mut readings = JoinSet::new();
    let mut turn = 0;
    loop {
        let asked = rounds.next().await;
        while readings.try_join_next().is_some() {}
        loader.evict();
        let loaded = loader.all_loaded();
        app.metrics
            .set_organizations(app.organizations.count(), loaded.len());
        let folders = if asked { loaded.len() } else { FOLDERS };
        for org in next_turn(loaded, &mut turn, folders) {
            readings.spawn(refresh_policies(Arc::clone(&app), org, asked));
        }
    }
}

/// Returns the `folders` organizations that follow those of the turn before. `turn` is the place
/// at which the next turn begins.
fn next_turn<T>(mut loaded: Vec<T>, turn: &mut usize, folders: usize) -> Vec<T> {
    let start = if *turn < loaded.len() { *turn } else { 0 };
    *turn = start.saturating_add(folders);
    loaded.rotate_left(start);
    loaded.truncate(folders);
    loaded
}

async fn refresh_policies<S: Store>(app: Arc<App<S>>, org: Arc<ServedOrg<S>>, asked: bool) {
    let Some(folder) = &org.folder else {
        return;
    };
    let mut folder = match folder.try_lock() {
        Ok(folder) => folder,
        // The reading that is under way may have begun before the signal.
        Err(_) if asked => folder.lock().await,
        // The next round looks again.
        Err(_) => return,
    };
    let reading = folder.refresh(&app, &org, asked);
    watched("the policies of an organization", reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_its_turn() {
        let mut turn = 0;
        let mut next = |all: usize, folders| next_turn((0..all).collect(), &mut turn, folders);
        assert_eq!(next(5, 2), [0, 1]);
        assert_eq!(next(5, 2), [2, 3]);
        assert_eq!(next(5, 2), [4, 0]);
        assert_eq!(next(5, 2), [0, 1]);
        assert_eq!(next(5, 9), [2, 3, 4, 0, 1]);
        assert_eq!(next(0, 2), [0; 0]);
    }
}
