//! The saved heads of organizations that are not in memory.

use std::num::NonZeroUsize;

use atlasent_authority::MemoryStore;
use serde_json::Value;

use super::support::{ACME, Folder, GLOBEX};
use crate::support::ms;

#[tokio::test]
async fn the_head_of_an_organization_that_left_the_memory_is_saved() {
    let folder = Folder::new();
    let heads = folder.path().join("heads");
    let of = heads.clone();
    let served = folder.serve_on(MemoryStore::new(), |hosting| {
        let hosting = hosting.max_loaded(NonZeroUsize::MIN).idle(ms(0));
        hosting.save_heads(move |id| of.join(format!("{id}.json")))
    });
    let served = served.await;
    for key in [ACME, GLOBEX] {
        served.caller(key).token().await;
    }
    // Both leave the memory, long before their heads are saved in a round.
    tokio::time::sleep(ms(2_100)).await;
    served.stop().await.unwrap().unwrap();
    for org in ["acme", "globex"] {
        let head = std::fs::read(heads.join(format!("{org}.json"))).unwrap();
        let head: Value = serde_json::from_slice(&head).unwrap();
        assert_eq!(
            (&head["org_id"], &head["sequence"]),
            (&org.into(), &2.into())
        );
    }
}
