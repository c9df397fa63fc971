//! Each page shows and changes things of one organization alone.

use std::fs;

use atlasent_authority::MemoryStore;
use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::ApiKeys;
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, server::Server};
use serde_json::{Value, json};

use super::support::{ALICE, BOB, Browser, HOLDS, person, value_of};
use crate::organizations::support::{ACME, Folder, GLOBEX, id, key_of};
use crate::support::{Served, policies};

const ROUTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../atlasent-authority/src/server/console/mod.rs"
);

/// The things of one organization.
struct Things {
    approval: String,
    permit: String,
    stop: String,
}

/// Starts a server whose organizations `acme` and `globex` have an operator each.
async fn serve(folder: &Folder) -> Served {
    for org in ["acme", "globex"] {
        folder.write_policies(org, HOLDS);
    }
    let mut keys = vec![key_of("acme", ACME), key_of("globex", GLOBEX)];
    for (org, key) in [("acme", ALICE), ("globex", BOB)] {
        let mut key = person(key, "olga", "sre");
        key.scopes = ApiScope::ALL.to_vec();
        key.org_id = id(org);
        keys.push(key);
    }
    let authority = LocalAuthority::builder(policies()).store(MemoryStore::new());
    let authority = authority.build().await.unwrap();
    let server = Server::new(authority, ApiKeys::new(keys), KeyRing::in_memory().unwrap());
    Served::run(server.organizations(folder.hosting().await).console()).await
}

async fn things(served: &Served, key: &str, secret: &str) -> Things {
    let caller = served.caller(key);
    let question = |action: &str| json!({"action_type": action, "actor_id": format!("bot-{secret}"), "context": {"secret": secret}});
    let held = caller
        .post("/v1-evaluate", &question("deploy"))
        .await
        .json();
    let allowed = caller.post("/v1-evaluate", &question("read")).await.json();
    let body = json!({"agent_id": format!("stopped-{secret}"), "reason": secret});
    let stop = caller.post("/v1/stops", &body).await.json();
    let text = |json: &Value, name: &str| json[name].as_str().unwrap().to_owned();
    Things {
        approval: text(&held, "escalation_id"),
        permit: text(&allowed, "permit_id"),
        stop: text(&stop, "id"),
    }
}

/// The paths of the pages that the router's source has.
fn paths() -> Vec<String> {
    let source = fs::read_to_string(ROUTER).unwrap();
    let routes = source.split(".route(").skip(1);
    let paths = routes.filter_map(|route| route.trim_start().strip_prefix('"')?.split('"').next());
    paths.map(str::to_owned).collect()
}

#[tokio::test]
async fn no_page_shows_or_changes_anything_of_another_organization() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let acme = things(&served, ACME, "acme-secret").await;
    things(&served, GLOBEX, "globex-secret").await;
    let (mine, theirs) = (
        Browser::logged_in(&served, ALICE).await,
        Browser::logged_in(&served, BOB).await,
    );
    let own = mine
        .page(&format!("/console/approvals/{}", acme.approval))
        .await;
    let shown = value_of(&own, "shown").unwrap();
    let mut tried = 0;
    for path in paths() {
        let id = match path.split('/').nth(2) {
            Some("approvals") => &acme.approval,
            Some("permits") => &acme.permit,
            _ => &acme.stop,
        };
        let target = path.replace("{id}", id);
        let is_form = ["/vote", "/lift", "/try", "/logout"]
            .iter()
            .any(|end| path.ends_with(end));
        tried += 1;
        if !is_form {
            let answer = theirs.get(&target).await;
            assert!(
                !answer.text.contains("acme-secret"),
                "{target}: {}",
                answer.text
            );
            if path.contains("{id}") {
                assert_eq!(answer.status, 404, "{target}");
                assert_eq!(mine.get(&target).await.status, 200, "{target}");
            }
        }
        let fields: &[(&str, &str)] = match path.rsplit('/').next() {
            Some("vote") => &[("shown", &shown), ("vote", "approve")],
            Some("lift") => &[("reason", "x")],
            Some("try") => &[("agent", "somebody"), ("action", "deploy")],
            _ => continue,
        };
        let answer = theirs.submit("/console/approvals", &target, fields).await;
        let expected = if path.ends_with("/try") { 200 } else { 404 };
        assert_eq!(answer.status, expected, "{target}: {}", answer.text);
        assert!(!answer.text.contains("acme-secret"), "{target}");
    }
    assert!(tried >= 15, "{tried} pages");
    let caller = served.caller(ACME);
    let events = caller.get("/v1-audit/events?limit=500").await.text;
    for kind in ["approval.voted", "stop.lifted"] {
        assert!(!events.contains(kind), "{events}");
    }
    // Also not what an agent or a resource of ours has used of a budget.
    for (browser, used) in [(&mine, "1 of 1000"), (&theirs, "0 of 1000")] {
        let page = browser.page("/console/budgets?of=bot-acme-secret").await;
        let row = page
            .split("<tr")
            .find(|row| row.contains("agent bot-acme-secret"));
        assert!(row.is_some_and(|row| row.contains(used)), "{used}: {page}");
    }
    // A stop of theirs covers nothing of ours.
    let fields = [("covers", "all"), ("reason", "x")];
    let set = theirs
        .submit("/console/stops", "/console/stops", &fields)
        .await;
    assert_eq!(set.status, 303);
    let body = json!({"action_type": "read", "actor_id": "bot"});
    let allowed = caller.post("/v1-evaluate", &body).await.json();
    assert_eq!(allowed["decision"], "allow", "{allowed}");
}
