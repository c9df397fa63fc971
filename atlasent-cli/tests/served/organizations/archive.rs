//! Old events of organizations move into signed bundles, in a folder of each organization.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::store::{OrgId, Organizations};
use atlasent_authority::{LocalAuthority, Policies, RedbStore};
use jiff::{SignedDuration, Timestamp};

use super::support::*;
use crate::commands::{output, run_in_data_dir};
use crate::process::{KEY, Server, atlasent};
use crate::trail::Trail;

/// Adds six events of ten days ago to the chain of an organization.
async fn decide_long_ago(store: &RedbStore, org: &OrgId) {
    store.create_organization(org).await.unwrap();
    let authority = LocalAuthority::builder(Policies::parse(ALLOW).unwrap())
        .store(store.organization(org))
        .org_id(org.as_str())
        .clock(|| Timestamp::now() - SignedDuration::from_hours(240))
        .build()
        .await
        .unwrap();
    let agent = Agent::new("deploy-bot").unwrap();
    let action = AnyAction::new("deploy.production").unwrap();
    let request = EvaluateRequest::new(agent, &action).unwrap();
    for _ in 0..5 {
        authority.evaluate(&request).await.unwrap();
    }
}

/// Creates a store in which `local`, `acme` and `globex` have old events.
fn create_store(data: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = RedbStore::open(data.join("authority.redb")).unwrap();
    for org in ["local", "acme", "globex"] {
        runtime.block_on(decide_long_ago(&store, &id(org)));
    }
}

/// Waits until the chain of a key's organization begins with this event.
fn wait_until_first(server: &Server, key: &str, first: u64) {
    wait(|| {
        let page = connect(server, key).get("/v1-audit/events?limit=1&cursor=after_0");
        let events = page.unwrap().body["events"].clone();
        (events[0]["sequence"] == first).then_some(())
    });
}

/// Verifies a bundle, and returns the ids of its organizations.
fn verified(data: &Path, bundle: &Path) -> Vec<String> {
    let keys = data.join("public-keys");
    fs::write(&keys, run_in_data_dir(data, &["signing-key", "list"]).1).unwrap();
    let mut command = atlasent();
    command.args(["audit", "verify"]).arg(bundle).arg("--key");
    let (code, stdout, stderr) = output(command.arg(&keys));
    assert_eq!(code, 0, "{stdout}{stderr}");
    let bundle: serde_json::Value = serde_json::from_slice(&fs::read(bundle).unwrap()).unwrap();
    let events = bundle["events"].as_array().unwrap().iter();
    let mut orgs: Vec<_> = events
        .map(|event| event["org_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(orgs.len(), 6);
    orgs.dedup();
    orgs
}

#[test]
fn each_organization_keeps_events_for_its_own_days_and_has_bundles_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    create_store(data);
    let (acme, globex) = (create(data, "acme"), create(data, "globex"));
    change(data, "acme", |acme| acme.retain_days = NonZeroU32::new(3));
    let archive = data.join("archive");
    let bundle = "events-000000000001-000000000006.json";

    // Without days of the server, only an organization with days of its own is archived.
    let server = Server::start(data, &["--log-level", "error"]);
    wait_until_first(&server, &acme, 7);
    let untouched = Trail::read("globex", &mut connect(&server, &globex));
    assert!(untouched.finish().events >= 6);
    server.stop();
    assert_eq!(names(&archive), ["acme"]);
    assert_eq!(names(&archive.join("acme")), [bundle]);
    assert_eq!(verified(data, &archive.join("acme").join(bundle)), ["acme"]);

    // An organization's own days replace those of the server.
    change(data, "acme", |acme| acme.retain_days = NonZeroU32::new(30));
    change(data, "globex", |globex| {
        globex.retain_days = NonZeroU32::new(30);
    });
    let server = Server::start(data, &["--log-level", "error", "--retain-days", "2"]);
    wait_until_first(&server, KEY, 7);
    server.stop();
    assert_eq!(names(&archive), ["acme", bundle]);
    change(data, "globex", |globex| globex.retain_days = None);
    let server = Server::start(data, &["--log-level", "error", "--retain-days", "2"]);
    wait_until_first(&server, &globex, 7);
    Trail::read("globex", &mut connect(&server, &globex)).finish();
    server.stop();
    assert_eq!(names(&archive), ["acme", bundle, "globex"]);
    for (org, bundle) in [
        ("local", archive.join(bundle)),
        ("globex", archive.join("globex").join(bundle)),
    ] {
        assert_eq!(verified(data, &bundle), [org]);
    }
}

#[test]
fn a_bundle_whose_events_were_not_dropped_is_written_again_and_not_beside_another() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    create_store(data);
    let (acme, globex) = (create(data, "acme"), create(data, "globex"));
    let options = ["--log-level", "error", "--retain-days", "2"];
    let (store, before) = (data.join("authority.redb"), data.join("before"));
    fs::copy(&store, &before).unwrap();
    let server = Server::start(data, &options);
    for key in [&acme, &globex] {
        wait_until_first(&server, key, 7);
    }
    server.kill();

    // The state after a kill between the bundle and the end of its events.
    fs::rename(&before, &store).unwrap();
    let server = Server::start(data, &[&options[..], &["--accept-older-store"]].concat());
    for (org, key) in [("acme", &acme), ("globex", &globex)] {
        wait_until_first(&server, key, 7);
        let folder = data.join("archive").join(org);
        assert_eq!(names(&folder), ["events-000000000001-000000000006.json"]);
        assert_eq!(verified(data, &folder.join(&names(&folder)[0])), [org]);
        Trail::read(org, &mut connect(&server, key)).finish();
    }
}

#[test]
fn a_chain_that_its_saved_head_does_not_fit_is_not_archived() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    create_store(data);
    let [_, globex] = ["acme", "globex"].map(|org| create(data, org));
    let seen = r#"{"org_id":"acme","sequence":99,"hash":"0"}"#;
    write_file(&data.join("heads"), "acme.json", seen);
    let former = "the bundle of the former chain";
    let bundle = "events-000000000001-000000000006.json";
    write_file(&data.join("archive/acme"), bundle, former);
    let server = Server::start(data, &["--log-level", "error", "--retain-days", "2"]);
    wait_until_first(&server, &globex, 7);
    server.stop();
    let acme = data.join("archive/acme");
    assert_eq!(names(&acme), [bundle]);
    assert_eq!(fs::read_to_string(acme.join(bundle)).unwrap(), former);
}

fn write_file(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_in_place_of_a_folder_of_bundles_leaves_the_events_where_they_are() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    create_store(data);
    let (acme, globex) = (create(data, "acme"), create(data, "globex"));
    let (archive, elsewhere) = (data.join("archive"), data.join("elsewhere"));
    for folder in [&archive, &elsewhere] {
        fs::create_dir(folder).unwrap();
    }
    std::os::unix::fs::symlink(&elsewhere, archive.join("acme")).unwrap();
    let server = Server::start(data, &["--log-level", "error", "--retain-days", "2"]);
    wait_until_first(&server, &globex, 7);
    wait_until_first(&server, &acme, 1);
    assert!(names(&elsewhere).is_empty());
}

#[cfg(unix)]
#[test]
fn a_link_that_an_option_names_is_the_archive_without_days_of_the_server() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let data = data.path();
    create_store(data);
    let acme = create(data, "acme");
    change(data, "acme", |acme| acme.retain_days = NonZeroU32::new(3));
    let link = data.join("link");
    std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
    let options = ["--log-level", "error", "--archive-dir"];
    let server = Server::start(data, &[&options[..], &[link.to_str().unwrap()]].concat());
    wait_until_first(&server, &acme, 7);
    assert_eq!(names(elsewhere.path()), ["acme"]);
    let bundles = names(&elsewhere.path().join("acme"));
    assert_eq!(bundles, ["events-000000000001-000000000006.json"]);
}
