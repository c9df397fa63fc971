//! The endpoints for operators: the signed head of the chain, and a copy of the store.

use atlasent_authority::RedbStore;
use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use serde_json::json;

use crate::support::{KEY, Served, deploy, memory, on_disk, server, stored};

/// Starts a server whose key has one scope.
async fn with_scope(scope: ApiScope) -> Served {
    let mut key = stored(KEY);
    key.scopes = vec![scope];
    let ring = KeyRing::in_memory().unwrap();
    Served::run(Server::new(memory(), ApiKeys::new([key]), ring)).await
}

#[tokio::test]
async fn a_head_is_signed_by_the_key_that_signs_exports() {
    let served = Served::start().await;
    served.evaluate(&deploy()).await;
    let client = served.client().build().unwrap();
    let head = client.audit_head().await.unwrap();
    let last = served.events().await.pop().unwrap();
    assert_eq!((head.sequence, &*head.org_id), (2, "local"));
    assert_eq!(last["hash"], head.hash);
    let keys = client.signing_keys().await.unwrap().trusted().unwrap();
    assert_eq!(head.verify(&keys).unwrap(), head.signing_key_id);

    let others = Served::start().await.client().build().unwrap();
    let others = others.signing_keys().await.unwrap().trusted().unwrap();
    assert!(head.verify(&others).is_err());
    type Change = fn(&mut atlasent::audit::SignedHead);
    let changes: [Change; 5] = [
        |head| head.sequence += 1,
        |head| head.org_id.push('x'),
        |head| head.hash = "0".repeat(64),
        |head| head.signed_at.push('x'),
        |head| head.signing_key_id.push('x'),
    ];
    for change in changes {
        let mut forged = head.clone();
        change(&mut forged);
        assert!(forged.verify(&keys).is_err(), "{forged:?}");
    }
}

#[tokio::test]
async fn heads_and_backups_take_their_scopes() {
    let served = with_scope(ApiScope::AuditExport).await;
    let refused = served.get("/v1/audit/head").await;
    refused.is_problem(403, "INSUFFICIENT_SCOPE");
    // A store in memory cannot be copied, and the answer says so.
    let answer = served.post("/v1/store/backup", &json!({})).await;
    answer.is_problem(501, "BACKUP_UNSUPPORTED");
    let served = with_scope(ApiScope::AuditRead).await;
    assert_eq!(served.get("/v1/audit/head").await.status, 200);
    let refused = served.post("/v1/store/backup", &json!({})).await;
    refused.is_problem(403, "INSUFFICIENT_SCOPE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_a_store_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::run(server(on_disk(folder.path()).await)).await;
    let client = served.client().build().unwrap();
    let asking = async {
        for _ in 0..50 {
            assert_eq!(served.evaluate(&deploy()).await.status, 200);
        }
    };
    let saving = async {
        for number in 0..3 {
            let path = folder.path().join(format!("{number}.redb"));
            let mut file = std::fs::File::create(&path).unwrap();
            let length = client.store_backup(&mut file).await.unwrap();
            assert_eq!(length, file.metadata().unwrap().len());
            let report = RedbStore::check(&path).unwrap();
            assert!(report.is_good(), "{report:?}");
            drop(RedbStore::open_existing(&path).unwrap());
        }
    };
    tokio::join!(asking, saving);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 4, "nothing else is left beside the store");
}
