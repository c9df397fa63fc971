//! Bearer tokens of an OpenID Connect issuer over HTTP: a person decides with one, and does nothing
//! else.

use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, OidcConfig, OidcVerifier, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::issuer::Issuer;
use serde_json::{Value, json};

use crate::support::{Served, stored};

const AGENT_KEY: &str = "ask_live_0a6e47000a6e47010a6e47020a6e4703";

/// The API key of alice, who also asks.
const ALICE_KEY: &str = "ask_live_a11ce000a11ce010a11ce020a11ce030";

const HOLDS: &str = r#"
    permit (principal, action, resource);
    @id("two") @decision("hold") @reason("a release needs two people")
    @approvers("role:sre") @quorum("2")
    forbid (principal, action == Action::"deploy", resource);
"#;

async fn serve(more: &str) -> (Issuer, Served) {
    let issuer = Issuer::start("127.0.0.1").await;
    let settings = format!(
        "issuer = \"{}\"\naudience = \"atlasent\"\n{more}",
        issuer.url()
    );
    let verifier = OidcVerifier::new(OidcConfig::from_toml(&settings).unwrap()).unwrap();
    let authority = LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap();
    let mut alice = stored(ALICE_KEY);
    alice.scopes = vec![ApiScope::Evaluate, ApiScope::Approve];
    alice.approver = Some(Approver::new("alice", ["sre"]).unwrap());
    let keys: [ApiKey; 3] = [stored(AGENT_KEY), stored("ask_test_0123456789"), alice];
    let server = Server::new(authority, ApiKeys::new(keys), KeyRing::in_memory().unwrap());
    (
        issuer,
        Served::run(server.approvers_by_oidc(verifier)).await,
    )
}

async fn ask(served: &Served) -> Value {
    let body = json!({"action_type": "deploy", "actor_id": "deploy-bot", "context": {"n": 1}});
    served
        .caller(AGENT_KEY)
        .post("/v1-evaluate", &body)
        .await
        .json()
}

#[tokio::test]
async fn two_people_of_an_issuer_release_a_held_call() {
    let (issuer, served) = serve("").await;
    let id = ask(&served).await["escalation_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let approve = format!("/v1/hitl/{id}/approve");
    let vote = async |person: &str, claims: Value| {
        let token = issuer.bearer_token(person, &claims);
        served.caller(&token).post(&approve, &json!({})).await
    };
    // Nobody else, nor the agent under its own name.
    let intern = vote("ian", json!({"roles": ["intern"]})).await;
    intern.is_problem(403, "NOT_AN_APPROVER");
    vote("deploy-bot", json!({}))
        .await
        .is_problem(403, "SELF_APPROVAL");
    for _ in 0..2 {
        // The same person twice is one person.
        assert_eq!(vote("alice", json!({})).await.status, 200);
        assert_eq!(ask(&served).await["decision"], "hold");
    }
    assert_eq!(vote("bob", json!({})).await.status, 200);
    let allowed = ask(&served).await;
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    let body = json!({"permit_token": allowed["permit_token"], "action_type": "deploy", "actor_id": "deploy-bot"});
    let verified = served
        .caller(AGENT_KEY)
        .post("/v1-verify-permit", &body)
        .await
        .json();
    assert_eq!(verified["valid"], true, "{verified}");
}

#[tokio::test]
async fn the_vote_of_a_token_releases_nothing_to_an_api_key_of_the_same_person() {
    let (issuer, served) = serve("").await;
    let id = ask(&served).await["escalation_id"].clone();
    let approve = format!("/v1/hitl/{}/approve", id.as_str().unwrap());
    for person in ["alice", "bob"] {
        let token = issuer.bearer_token(person, &json!({}));
        let voted = served.caller(&token).post(&approve, &json!({})).await;
        assert_eq!(voted.status, 200, "{}", voted.text);
    }
    let body = json!({"action_type": "deploy", "actor_id": "deploy-bot", "context": {"n": 1}});
    let own = served.caller(ALICE_KEY).post("/v1-evaluate", &body).await;
    assert_eq!(own.json()["deny_code"], "SELF_APPROVAL", "{}", own.text);
    assert_eq!(ask(&served).await["decision"], "allow");
}

#[tokio::test]
async fn a_token_decides_and_does_nothing_else() {
    let (issuer, served) = serve("").await;
    let token = issuer.bearer_token("alice", &json!({}));
    let alice = served.caller(&token);
    assert_eq!(alice.get("/v1/hitl").await.status, 200);
    let body = json!({"action_type": "read", "actor_id": "alice"});
    alice
        .post("/v1-evaluate", &body)
        .await
        .is_problem(403, "INSUFFICIENT_SCOPE");
    let stop = json!({"all": true, "reason": "x"});
    alice
        .post("/v1/stops", &stop)
        .await
        .is_problem(403, "INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused() {
    let (issuer, served) = serve("authorized_parties = [\"cli\"]").await;
    for claims in [
        json!({}),
        json!({"azp": "another"}),
        json!({"azp": "cli", "aud": "another"}),
        json!({"azp": "cli", "iss": "https://evil.example"}),
        json!({"azp": "cli", "exp": 1}),
    ] {
        let token = issuer.bearer_token("alice", &claims);
        let refused = served.caller(&token).get("/v1/hitl").await;
        refused.is_problem(401, "INVALID_TOKEN");
    }
    let good = issuer.bearer_token("alice", &json!({"azp": "cli"}));
    assert_eq!(served.caller(&good).get("/v1/hitl").await.status, 200);
    issuer.set(|script| script.is_forged = true);
    let forged = issuer.bearer_token("alice", &json!({"azp": "cli"}));
    served
        .caller(&forged)
        .get("/v1/hitl")
        .await
        .is_problem(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn while_the_issuer_is_down_tokens_get_503_and_keys_work() {
    let (issuer, served) = serve("").await;
    issuer.set(|script| script.is_down = true);
    let token = issuer.bearer_token("alice", &json!({}));
    let answer = served.caller(&token).get("/v1/hitl").await;
    answer.is_problem(503, "ISSUER_UNAVAILABLE");
    assert_eq!(served.caller(AGENT_KEY).get("/v1/hitl").await.status, 200);
}
