//! One API key that records give to two organizations: it works in neither.

use std::fs;

use atlasent_authority::keys::{ApiKey, KeyFile};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use jiff::Timestamp;
use serde_json::Value;

use crate::organizations::support::{ACME, Folder, GLOBEX, key_of};
use crate::support::{Answer, KEY, Served, deploy, memory, ms, stored};

const SHARED: &str = "ask_test_shared-0123456789";

/// Writes the keys into the file as an editor would: [`KeyFile::add`] refuses a shared key.
fn write(file: &KeyFile, keys: &[ApiKey]) {
    fs::write(file.path(), serde_json::to_vec(keys).unwrap()).unwrap();
}

async fn serve(folder: &Folder, keys: ApiKeys) -> Served {
    let server = Server::new(memory(), keys, KeyRing::in_memory().unwrap());
    Served::run(server.organizations(folder.hosting().await)).await
}

async fn status(served: &Served, key: &str) -> Answer {
    served.caller(key).evaluate(&deploy()).await
}

#[tokio::test]
async fn a_key_of_two_organizations_is_accepted_in_neither() {
    let folder = Folder::new();
    let orders = [
        ["acme", "globex"],
        ["globex", "acme"],
        ["local", "acme"],
        ["acme", "local"],
    ];
    for [one, other] in orders {
        let shared = [one, other].map(|org| key_of(org, SHARED));
        let [mut revoked, active] = shared.clone();
        revoked.revoked_at = Some(Timestamp::UNIX_EPOCH);
        for shared in [shared, [revoked.clone(), active.clone()], [active, revoked]] {
            let keys = ApiKeys::new(shared.into_iter().chain([key_of("acme", ACME)]));
            assert_eq!(keys.len(), 1);
            let served = serve(&folder, keys).await;
            status(&served, SHARED)
                .await
                .is_problem(401, "INVALID_API_KEY");
            assert_eq!(status(&served, ACME).await.status, 200);
        }
    }
    // Two records of one organization are one key.
    let twice = [(); 2].map(|()| key_of("acme", SHARED));
    let served = serve(&folder, ApiKeys::new(twice)).await;
    assert_eq!(status(&served, SHARED).await.status, 200);
}

#[tokio::test]
async fn a_server_does_not_start_with_a_key_of_two_organizations() {
    let folder = Folder::new();
    let file = KeyFile::new(folder.path().join("keys.json"));
    let [acme, globex] = ["acme", "globex"].map(|org| key_of(org, SHARED));
    write(&file, &[stored(KEY), acme.clone(), globex.clone()]);
    let error = ApiKeys::default()
        .with_file(file.clone())
        .await
        .unwrap_err();
    let text = error.to_string();
    for part in [&*acme.key_id, "`acme`", "`globex`", "create a key for each"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains(SHARED));
    // The key of the environment, and that of the file.
    write(&file, std::slice::from_ref(&globex));
    let keys = ApiKeys::new([acme]).with_file(file.clone()).await;
    assert!(keys.unwrap_err().to_string().contains("two organizations"));
    // The file refuses it as well.
    let error = file.add(key_of("acme", SHARED)).unwrap_err().to_string();
    assert!(error.contains("`globex`"), "{error}");
    let kept: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
    assert_eq!(kept.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_running_server_refuses_a_key_from_when_a_second_organization_has_it() {
    let folder = Folder::new();
    let file = KeyFile::new(folder.path().join("keys.json"));
    let [acme, globex] = ["acme", "globex"].map(|org| key_of(org, SHARED));
    write(&file, &[acme.clone(), key_of("globex", GLOBEX)]);
    let keys = ApiKeys::default().with_file(file.clone()).await.unwrap();
    let served = serve(&folder, keys).await;
    let shared = served.caller(SHARED);
    shared.token().await;
    // The other keys of the same file are read: one is revoked, one is new.
    let mut revoked = key_of("globex", GLOBEX);
    revoked.revoked_at = Some(Timestamp::UNIX_EPOCH);
    write(
        &file,
        &[acme.clone(), revoked, globex, key_of("acme", ACME)],
    );
    shared.until(|answer| answer.status == 401).await;
    served
        .caller(GLOBEX)
        .until(|answer| answer.status == 401)
        .await;
    served.caller(ACME).token().await;
    // It works again when one organization has it alone.
    write(&file, &[acme]);
    tokio::time::sleep(ms(50)).await;
    shared.until(|answer| answer.status == 200).await;
    let this = shared.get("/v1-api-key-self").await.json();
    assert_eq!(this["org_id"], "acme");
}
