//! A held request is decided and released only in its own organization, even if another
//! organization sends the same request.

use std::time::{Duration, Instant};

use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, OidcConfig, OidcVerifier, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, MemoryStore};
use atlasent_tests::issuer::Issuer;
use serde_json::{Value, json};

use crate::organizations::support::{Caller, Folder, key_of};
use crate::support::{Answer, KEY, Served, policies, stored, with};

/// The keys of `acme` and `globex`: one of an agent, and one of an approver. They are `live` keys,
/// because people of an issuer see only requests by `live` keys.
const SIDES: [[&str; 2]; 2] = [
    [
        "ask_live_acme-0123456789",
        "ask_live_sam-of-acme-0123456789",
    ],
    [
        "ask_live_globex-0123456789",
        "ask_live_sam-of-globex-0123456789",
    ],
];

const POLICIES: &str = r#"
    @id("pay") @budget("calls 2/hour per organization, calls 2/hour per agent")
    permit (principal, action == Action::"pay", resource);
    permit (principal, action == Action::"deploy", resource);
    @id("ask") @decision("hold") @approvers("role:sre") @escalate_to("role:director")
    @approval_ttl("1h") @approval_grants("10m")
    forbid (principal, action == Action::"deploy", resource);
"#;

/// The agent and the approver of one organization. Both have the same names in the other
/// organization.
struct Org<'a> {
    agent: Caller<'a>,
    approver: Caller<'a>,
}

fn keys() -> Vec<ApiKey> {
    let mut keys = vec![stored(KEY)];
    for (org, [agent, approver]) in ["acme", "globex"].into_iter().zip(SIDES) {
        let mut agent = key_of(org, agent);
        agent.key_id = "key_agent".to_owned();
        let mut approver = key_of(org, approver);
        approver.key_id = "key_sam".to_owned();
        approver.scopes = ApiScope::APPROVER.to_vec();
        approver.approver = Some(Approver::new("sam", ["sre"]).unwrap());
        keys.extend([agent, approver]);
    }
    keys
}

async fn server(folder: &Folder) -> Server<MemoryStore> {
    for org in ["acme", "globex"] {
        folder.write_policies(org, POLICIES);
    }
    let hosting = folder.hosting().await;
    let authority = LocalAuthority::builder(policies()).store(MemoryStore::new());
    let authority = authority.build().await.unwrap();
    let ring = KeyRing::in_memory().unwrap();
    Server::new(authority, ApiKeys::new(keys()), ring).organizations(hosting)
}

async fn serve(folder: &Folder) -> Served {
    Served::run(server(folder).await).await
}

fn sides(served: &Served) -> [Org<'_>; 2] {
    SIDES.map(|[agent, approver]| Org {
        agent: served.caller(agent),
        approver: served.caller(approver),
    })
}

fn deploy(commit: &str) -> Value {
    json!({"action_type": "deploy", "actor_id": "bot", "context": {"commit": commit}})
}

impl Org<'_> {
    async fn ask(&self, body: &Value) -> Value {
        self.agent.evaluate(body).await.json()
    }

    /// Sends a request that is held, and returns the id of the decision.
    async fn held(&self, commit: &str) -> String {
        let held = self.ask(&deploy(commit)).await;
        assert_eq!(held["decision"], "hold", "{held}");
        held["escalation_id"].as_str().unwrap().to_owned()
    }

    async fn row(&self, id: &str) -> Value {
        self.approver.get(&format!("/v1/hitl/{id}")).await.json()
    }

    /// Approves a decision. `grant` is what the vote allows beyond the one call.
    async fn approve(&self, id: &str, grant: &Value) -> Value {
        let path = format!("/v1/hitl/{id}/approve");
        let answer = self.approver.post(&path, grant).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn complete(&self, permit: &Value) -> Answer {
        let id = permit["permit_id"].as_str().unwrap();
        let body = json!({"permit_token": permit["permit_token"], "outcome": "completed",
            "duration_ms": 1});
        let path = format!("/v1/permits/{id}/complete");
        self.agent.post(&path, &body).await
    }

    async fn verify(&self, permit: &Value) -> Value {
        let body = json!({"permit_token": permit["permit_token"], "action_type": "deploy",
            "actor_id": "bot"});
        self.agent.post("/v1-verify-permit", &body).await.json()
    }

    async fn count(&self, kind: &str) -> usize {
        let events = self.agent.events().await;
        events.iter().filter(|event| *event == kind).count()
    }
}

#[tokio::test]
async fn a_vote_of_one_organization_counts_for_no_decision_of_another() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let [acme, globex] = sides(&served);
    let (own, other) = (acme.held("4f2a").await, globex.held("4f2a").await);
    assert_ne!(own, other);
    for (caller, verb) in [
        (globex.approver, "approve"),
        (globex.approver, "reject"),
        (globex.approver, "escalate"),
        (globex.agent, "timeout"),
    ] {
        let path = format!("/v1/hitl/{own}/{verb}");
        let answer = caller.post(&path, &json!({})).await;
        answer.is_problem(404, "ESCALATION_NOT_FOUND");
    }
    let before = acme.row(&own).await;
    assert_eq!(
        globex.approve(&other, &json!({})).await["status"],
        "approved"
    );
    assert_eq!(acme.row(&own).await, before);
    assert_eq!(before["quorum_progress"]["approved"], 0, "{before}");
    assert_eq!(acme.held("4f2a").await, own);
    assert_eq!(acme.count("approval.voted").await, 0);
    // Each organization is released by its own vote.
    assert_eq!(globex.ask(&deploy("4f2a")).await["decision"], "allow");
    acme.approve(&own, &json!({})).await;
    let allowed = acme.ask(&deploy("4f2a")).await;
    assert_eq!(
        (&allowed["decision"], &allowed["escalation_id"]),
        (&json!("allow"), &json!(own))
    );
}

#[tokio::test]
async fn a_timed_approval_releases_no_call_of_another_organization() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let [acme, globex] = sides(&served);
    let id = globex.held("1").await;
    let grant = json!({"grant_seconds": 300, "grant_times": 2});
    globex.approve(&id, &grant).await;
    acme.held("1").await;
    assert_eq!(globex.ask(&deploy("2")).await["decision"], "allow");
    // The requests of another organization do not use up the approval either.
    acme.held("2").await;
    acme.held("3").await;
    assert_eq!(globex.ask(&deploy("3")).await["decision"], "allow");
    globex.held("4").await;
}

#[tokio::test]
async fn an_escalation_of_one_organization_moves_no_decision_of_another() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let [acme, globex] = sides(&served);
    let (own, other) = (acme.held("4f2a").await, globex.held("4f2a").await);
    let before = acme.row(&own).await;
    let path = format!("/v1/hitl/{other}/escalate");
    let answer = globex.approver.post(&path, &json!({})).await;
    assert_eq!(answer.json()["status"], "escalated", "{}", answer.text);
    assert_eq!(acme.row(&own).await, before);
    assert_eq!(before["escalation_depth"], 0);
    // The next approvers of the one are not asked in the other.
    assert_eq!(acme.approve(&own, &json!({})).await["status"], "approved");
    assert_eq!(acme.count("approval.requested").await, 1);
}

#[tokio::test]
async fn a_waiter_in_one_organization_is_not_woken_by_a_decision_of_another() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let [acme, globex] = sides(&served);
    let (own, other) = (acme.held("4f2a").await, globex.held("4f2a").await);
    // Nobody waits for a decision of another organization.
    let path = format!("/v1/hitl/{own}?wait=60");
    let foreign = globex.agent.get(&path).await;
    foreign.is_problem(404, "ESCALATION_NOT_FOUND");

    let wait = async |seconds: u64| {
        let start = Instant::now();
        let path = format!("/v1/hitl/{own}?wait={seconds}");
        (acme.agent.get(&path).await.json(), start.elapsed())
    };
    let decide = async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        globex.approve(&other, &json!({})).await
    };
    let ((waited, lasted), _) = tokio::join!(wait(2), decide());
    assert_eq!(
        (&waited["id"], &waited["status"]),
        (&json!(own), &json!("pending"))
    );
    assert!(lasted >= Duration::from_secs(2), "{lasted:?}");
    // A vote of its own organization ends the wait.
    let ((waited, _), _) = tokio::join!(wait(60), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        acme.approve(&own, &json!({})).await
    });
    assert_eq!(
        (&waited["id"], &waited["status"]),
        (&json!(own), &json!("approved"))
    );
}

#[tokio::test]
async fn a_receipt_of_one_organization_ends_no_permit_of_another() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let [acme, globex] = sides(&served);
    let mut permits = Vec::new();
    for org in [&acme, &globex] {
        let id = org.held("4f2a").await;
        org.approve(&id, &json!({})).await;
        let permit = org.ask(&deploy("4f2a")).await;
        let verified = org.verify(&permit).await;
        assert_eq!(verified["valid"], true, "{verified}");
        permits.push(permit);
    }
    let answer = globex.complete(&permits[0]).await;
    answer.is_problem(404, "PERMIT_NOT_FOUND");
    assert_eq!(acme.count("permit.completed").await, 0);
    assert_eq!(acme.complete(&permits[0]).await.status, 200);
    for (org, completed) in [(&acme, 1), (&globex, 0)] {
        assert_eq!(org.count("permit.completed").await, completed);
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_permit_of_its_own_organization() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let [acme, globex] = sides(&served);
    let request = with(deploy("4f2a"), &json!({"request_id": "the-same"}));
    for org in [&acme, &globex] {
        let held = org.ask(&request).await;
        assert_eq!(held["decision"], "hold", "{held}");
        org.approve(held["escalation_id"].as_str().unwrap(), &json!({}))
            .await;
    }
    let first = acme.ask(&request).await;
    let second = globex.ask(&request).await;
    for (org, answer) in [(&acme, &first), (&globex, &second)] {
        assert_eq!(answer["decision"], "allow", "{answer}");
        let again = org.ask(&request).await;
        assert_eq!(again["permit_token"], answer["permit_token"]);
    }
    assert_ne!(first["permit_token"], second["permit_token"]);
    // Used in one organization, it can still be repeated in the other.
    assert_eq!(acme.verify(&first).await["valid"], true);
    let again = globex.ask(&request).await;
    assert_eq!(again["permit_token"], second["permit_token"]);
    assert_eq!(acme.verify(&second).await["valid"], false);
    assert_eq!(globex.verify(&second).await["valid"], true);
}

#[tokio::test]
async fn a_budget_that_one_organization_uses_is_untouched_in_another() {
    let folder = Folder::new();
    let served = serve(&folder).await;
    let pay = json!({"action_type": "pay", "actor_id": "bot", "context": {}});
    for org in sides(&served) {
        for left in ["1", "0"] {
            let paid = org.ask(&pay).await;
            assert_eq!(paid["decision"], "allow", "{paid}");
            let budgets = paid["budgets"].as_array().unwrap();
            assert!(!budgets.is_empty());
            assert!(
                budgets.iter().all(|budget| budget["remaining"] == left),
                "{paid}"
            );
        }
        assert_eq!(org.ask(&pay).await["deny_code"], "BUDGET_EXCEEDED");
    }
}

#[tokio::test]
async fn a_person_of_the_issuer_decides_in_one_organization_alone() {
    let folder = Folder::new();
    let issuer = Issuer::start("127.0.0.1").await;
    let settings = format!(
        "issuer = \"{}\"\naudience = \"atlasent\"\norganization = \"acme\"\n",
        issuer.url()
    );
    let verifier = OidcVerifier::new(OidcConfig::from_toml(&settings).unwrap()).unwrap();
    let server = server(&folder).await.approvers_by_oidc(verifier);
    let served = Served::run(server).await;
    let [acme, globex] = sides(&served);
    let token = issuer.bearer_token("ada", &json!({}));
    let ada = served.caller(&token);
    let (own, other) = (acme.held("4f2a").await, globex.held("4f2a").await);
    let vote = async |id: &str| {
        ada.post(&format!("/v1/hitl/{id}/approve"), &json!({}))
            .await
    };
    vote(&other).await.is_problem(404, "ESCALATION_NOT_FOUND");
    assert_eq!(ada.get("/v1/hitl").await.json()["total"], 1);
    assert_eq!(vote(&own).await.status, 200);
    assert_eq!(acme.ask(&deploy("4f2a")).await["decision"], "allow");
    assert_eq!(globex.held("4f2a").await, other);
}
