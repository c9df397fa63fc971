//! Notifications as webhooks: each event arrives, signed and in order, whatever the receivers do,
//! and nothing waits for them.

mod servers;

use std::sync::Mutex;
use std::time::Instant;

use atlasent_authority::organizations::Organization;
use atlasent_authority::server::webhooks::{
    WebhookDelivery, WebhookEndpoint, WebhookFormat, WebhookSecret, Webhooks,
};
use atlasent_authority::store::{
    ApprovalEntry, Changeset, EscalationId, NewEvent, Organizations, Question, RateCounter, Store,
};
use atlasent_authority::{LocalAuthority, MemoryStore, Policies};
use atlasent_tests::server::{At, Fault, Reply, Request, Server as Receiver, in_order};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::organizations::support::{ACME, Folder, GLOBEX, id};
use crate::support::{AGENT, KEY, Served, deploy, evaluate_body, ms, policies, server, wait_until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

async fn authority<S: Store>(store: S) -> LocalAuthority<S> {
    let authority = LocalAuthority::builder(policies()).store(store);
    authority.build().await.unwrap()
}

fn endpoint(name: &str, url: &str) -> WebhookEndpoint {
    let endpoint = WebhookEndpoint::new(name, url).unwrap();
    endpoint.secret(SECRET.parse().unwrap()).timeout(ms(400))
}

fn to(endpoints: impl IntoIterator<Item = WebhookEndpoint>) -> Webhooks {
    let add = |webhooks: Webhooks, endpoint| webhooks.endpoint(endpoint).unwrap();
    endpoints.into_iter().fold(Webhooks::new(), add)
}

async fn served(store: &MemoryStore, webhooks: Webhooks) -> Served {
    started(authority(store.clone()).await, webhooks).await
}

/// Runs a server, and waits for its first answer: from then on its endpoints follow the chain.
async fn started<S: Store + RateCounter>(
    authority: LocalAuthority<S>,
    webhooks: Webhooks,
) -> Served {
    let served = Served::run(server(authority).webhooks(webhooks)).await;
    assert_eq!(served.get("/healthz").await.status, 200);
    served
}

/// Puts an event onto the chain.
async fn record(store: &impl Store, kind: &'static str, reason: &str) {
    let event = NewEvent::new(kind).with("reason", reason.to_owned());
    let change = move |changeset: &mut Changeset<'_>| drop(changeset.record(event));
    store
        .commit(Timestamp::now(), Vec::new(), change)
        .await
        .unwrap();
}

/// Opens a pending decision, with its event.
async fn request_approval(store: &impl Store) -> EscalationId {
    let id = EscalationId::random();
    let change = move |changeset: &mut Changeset<'_>| {
        let question = Question {
            agent: atlasent::Agent::new("deploy-bot").unwrap(),
            actors: Vec::new(),
            action: "migrate".to_owned(),
            resource: Some("orders".to_owned()),
            environment: Some("production".to_owned()),
            action_hash: "a1".repeat(32),
            key_environment: None,
        };
        let now = changeset.time();
        let end = now + SignedDuration::from_hours(1);
        let mut entry = ApprovalEntry::new(id, question, now, end);
        entry.sequence = changeset.head().sequence + 1;
        assert!(changeset.keep_approval(entry));
        let event = NewEvent::new("approval.requested")
            .with("escalation_id", id.to_string())
            .with("reason", "a person has to decide")
            .with("context", r#"{"token":"hunter2"}"#);
        changeset.record(event);
    };
    let reads = id.cells().to_vec();
    store.commit(Timestamp::now(), reads, change).await.unwrap();
    id
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// Returns the reasons of the notifications, in the order of their requests.
fn reasons(receiver: &Receiver) -> Vec<String> {
    let requests = receiver.requests();
    let reasons = requests.iter().map(|request| {
        let body = body(request);
        body["data"]["reason"].as_str().unwrap().to_owned()
    });
    reasons.collect()
}

async fn count(served: &Served, endpoint: &str, outcome: &str) -> u64 {
    let text = served.get("/metrics").await.text;
    let name = format!(
        r#"atlasent_webhook_deliveries_total{{endpoint="{endpoint}",outcome="{outcome}"}}"#
    );
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_pending_decision_is_notified_and_signed_by_each_secret() {
    let receiver = Receiver::start(|_: &Request| Reply::status(204));
    let store = MemoryStore::new();
    let endpoint = endpoint("ops", receiver.url()).secret(OLD_SECRET.parse().unwrap());
    let webhooks = to([endpoint]).approval_url("https://console.example/approvals/{id}");
    let served = served(&store, webhooks).await;
    let id = request_approval(&store).await;
    wait_until("it arrives", || !receiver.requests().is_empty()).await;

    let request = receiver.requests().remove(0);
    assert_eq!(
        (&*request.method, request.header("content-type")),
        ("POST", Some("application/json"))
    );
    let delivery = WebhookDelivery {
        id: request.header("webhook-id").unwrap(),
        timestamp: request.header("webhook-timestamp").unwrap(),
        signatures: request.header("webhook-signature").unwrap(),
        body: &request.body,
    };
    for secret in [SECRET, OLD_SECRET] {
        let secret: WebhookSecret = secret.parse().unwrap();
        let tolerance = SignedDuration::from_mins(5);
        delivery
            .verify(&[secret], Timestamp::now(), tolerance)
            .unwrap();
    }
    let body = body(&request);
    assert_eq!(body["type"], "approval.requested");
    let data = &body["data"];
    for (member, expected) in [
        ("escalation_id", id.to_string()),
        ("agent", "deploy-bot".to_owned()),
        ("action", "migrate".to_owned()),
        ("resource", "orders".to_owned()),
        ("environment", "production".to_owned()),
        ("reason", "a person has to decide".to_owned()),
        (
            "approval_url",
            format!("https://console.example/approvals/{id}"),
        ),
    ] {
        assert_eq!(data[member], *expected, "{member}");
    }
    assert!(!request.text().contains("hunter2"));
    assert_eq!(count(&served, "ops", "delivered").await, 1);
}

#[tokio::test]
async fn a_request_that_the_policies_hold_is_notified() {
    let receiver = Receiver::start(|_: &Request| Reply::status(200));
    let policies = r#"
        @id("all") permit (principal, action, resource);
        @id("ask") @decision("hold") @reason("a person has to decide") @approvers("role:dba")
        forbid (principal, action == Action::"migrate", resource);
    "#;
    let authority = LocalAuthority::in_memory(Policies::parse(policies).unwrap()).unwrap();
    let served = started(authority, to([endpoint("ops", receiver.url())])).await;
    let answer = served.evaluate(&evaluate_body("migrate")).await.json();
    let id = answer["escalation_id"].as_str().unwrap();
    wait_until("it arrives", || !receiver.requests().is_empty()).await;
    let request = receiver.requests().remove(0);
    let body = body(&request);
    assert_eq!(
        (&body["type"], &body["data"]["escalation_id"]),
        (&"approval.requested".into(), &id.into())
    );
    assert_eq!(body["data"]["reason"], "a person has to decide");
    let data = &body["data"];
    assert_eq!(
        (&data["agent"], &data["approvers"]),
        (&AGENT.into(), &"role:dba".into())
    );
    assert!(data.get("context").is_none() && data.get("shown").is_none());
}

#[tokio::test]
async fn each_organization_has_endpoints_of_its_own() {
    let [local, acme, late] = [(); 3].map(|()| Receiver::start(|_: &Request| Reply::status(200)));
    let folder = Folder::new();
    let of = |name: &str, receiver: &Receiver, org: &str| {
        let endpoint = endpoint(name, receiver.url()).events(["stop.set"]).unwrap();
        endpoint.organization(id(org))
    };
    let webhooks = to([
        of("of-local", &local, "local"),
        of("of-acme", &acme, "acme"),
        // It is not registered yet.
        of("of-initech", &late, "initech"),
    ]);
    let store = MemoryStore::new();
    let server = folder.server_on(store.clone(), |hosting| hosting).await;
    let served = Served::run(server.webhooks(webhooks)).await;
    assert_eq!(served.get("/healthz").await.status, 200);
    for (key, reason) in [(KEY, "ours"), (ACME, "of acme"), (GLOBEX, "of globex")] {
        let stop = serde_json::json!({"agent_id": "bot", "reason": reason});
        let answer = served.caller(key).post("/v1/stops", &stop).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    wait_until("both arrive", || {
        !local.requests().is_empty() && !acme.requests().is_empty()
    })
    .await;
    tokio::time::sleep(ms(1_500)).await;
    for (receiver, reason, org) in [(&local, "ours", "local"), (&acme, "of acme", "acme")] {
        assert_eq!(reasons(receiver), [reason]);
        assert_eq!(body(&receiver.requests()[0])["data"]["org_id"], org);
    }
    assert!(late.requests().is_empty());
    assert_eq!(count(&served, "of-acme", "delivered").await, 1);

    // Once it is registered, its endpoint is told of what happens from then on.
    folder
        .registry()
        .create(Organization::new(id("initech")))
        .unwrap();
    store.create_organization(&id("initech")).await.unwrap();
    let initech = store.organization(&id("initech"));
    for n in 0.. {
        record(&initech, "stop.set", &format!("late {n}")).await;
        tokio::time::sleep(ms(300)).await;
        if !late.requests().is_empty() {
            break;
        }
        assert!(n < 200, "nothing arrives");
    }
    assert_eq!(local.requests().len() + acme.requests().len(), 2);
}

#[tokio::test]
async fn a_stop_over_http_is_notified_to_those_who_asked_for_stops() {
    let [stops, approvals] = [(); 2].map(|()| Receiver::start(|_: &Request| Reply::status(200)));
    let store = MemoryStore::new();
    record(&store, "stop.set", "before the endpoint existed").await;
    let served = served(
        &store,
        to([
            endpoint("stops", stops.url()).events(["stop.set"]).unwrap(),
            endpoint("approvals", approvals.url())
                .events(["approval.requested"])
                .unwrap(),
        ]),
    )
    .await;
    let stop =
        serde_json::json!({"scope": "agent", "agent_id": "deploy-bot", "reason": "an incident"});
    let answer = served.post("/v1/stops", &stop).await;
    assert!(answer.status < 300, "{}", answer.text);
    request_approval(&store).await;
    record(&store, "evaluate.deny", "of no interest").await;
    wait_until("both arrive", || {
        !stops.requests().is_empty() && !approvals.requests().is_empty()
    })
    .await;
    tokio::time::sleep(ms(700)).await;
    assert_eq!(reasons(&stops), ["an incident"]);
    assert_eq!(body(&stops.requests()[0])["data"]["agent"], "deploy-bot");
    assert_eq!(reasons(&approvals), ["a person has to decide"]);
}

#[tokio::test]
async fn a_failed_notification_is_sent_again_before_the_next_one() {
    let answers = [
        Reply::status(503),
        Reply::status(429).header("retry-after", "2"),
        Reply::status(200),
        Reply::status(200),
    ];
    let receiver = Receiver::start(in_order(answers));
    let store = MemoryStore::new();
    let served = served(&store, to([endpoint("ops", receiver.url())])).await;
    let before = Instant::now();
    for reason in ["first", "second"] {
        record(&store, "stop.set", reason).await;
    }
    wait_until("all arrive", || receiver.requests().len() == 4).await;
    assert_eq!(reasons(&receiver), ["first", "first", "first", "second"]);
    // Half a second of back-off, and the two that the receiver asked for.
    assert!(before.elapsed() >= ms(2_500), "{:?}", before.elapsed());
    let requests = receiver.requests();
    let ids: Vec<_> = requests
        .iter()
        .map(|request| request.header("webhook-id"))
        .collect();
    assert!(
        ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3],
        "{ids:?}"
    );
    assert_eq!(count(&served, "ops", "failed").await, 2);
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_no_other_and_no_decision() {
    let hangs = Receiver::start(|_: &Request| Reply::status(200).fault(Fault::Stall, At::Start));
    let works = Receiver::start(|_: &Request| Reply::status(200));
    let store = MemoryStore::new();
    let slow = endpoint("slow", hangs.url()).timeout(ms(60_000));
    let served = served(&store, to([slow, endpoint("works", works.url())])).await;
    record(&store, "stop.set", "first").await;
    wait_until("the slow one is asked", || hangs.busy() == 1).await;
    let before = Instant::now();
    for reason in ["second", "third"] {
        record(&store, "stop.set", reason).await;
    }
    served.evaluate(&deploy()).await;
    wait_until("the other gets all", || works.requests().len() == 3).await;
    assert!(before.elapsed() < ms(5_000));
    assert_eq!(reasons(&works), ["first", "second", "third"]);
    assert_eq!(hangs.requests().len(), 1);
    // Nor is the end of the server.
    served.stop().await.unwrap().unwrap();
    assert!(before.elapsed() < ms(10_000));
}

#[tokio::test]
async fn a_receiver_that_misses_its_time_is_asked_again() {
    let first = Mutex::new(true);
    let receiver =
        Receiver::start(
            move |_: &Request| match std::mem::take(&mut *first.lock().unwrap()) {
                true => Reply::status(200).fault(Fault::Stall, At::Start),
                false => Reply::status(200),
            },
        );
    let store = MemoryStore::new();
    let served = served(&store, to([endpoint("ops", receiver.url())])).await;
    record(&store, "stop.set", "first").await;
    wait_until("it is sent again", || receiver.requests().len() == 2).await;
    assert_eq!(count(&served, "ops", "failed").await, 1);
}

#[tokio::test]
async fn a_notification_that_is_too_old_is_dropped_and_counted_and_the_next_one_is_sent() {
    let answers = [Reply::status(500), Reply::status(200)];
    let receiver = Receiver::start(in_order(answers));
    let store = MemoryStore::new();
    let impatient = endpoint("ops", receiver.url()).retry_for(ms(0));
    let served = served(&store, to([impatient])).await;
    for reason in ["first", "second"] {
        record(&store, "stop.set", reason).await;
    }
    wait_until("both are sent", || receiver.requests().len() == 2).await;
    assert_eq!(reasons(&receiver), ["first", "second"]);
    assert_eq!(count(&served, "ops", "dropped").await, 1);
    let sequence = r#"atlasent_webhook_sequence{endpoint="ops"}"#;
    assert!(served.get("/metrics").await.text.contains(sequence));
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_until_it_has_another_address() {
    let gone = Receiver::start(|_: &Request| Reply::status(410));
    let store = MemoryStore::new();
    for round in 0..2 {
        let served = served(&store, to([endpoint("ops", gone.url())])).await;
        record(&store, "stop.set", "first").await;
        wait_until("it is asked", || !gone.requests().is_empty()).await;
        tokio::time::sleep(ms(1_500)).await;
        assert_eq!(gone.requests().len(), 1, "round {round}");
        served.stop().await.unwrap().unwrap();
    }
    let moved = Receiver::start(|_: &Request| Reply::status(200));
    let _served = served(&store, to([endpoint("ops", moved.url())])).await;
    wait_until("the new address gets them", || moved.requests().len() == 2).await;
    assert_eq!(gone.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Receiver::start(|_: &Request| Reply::status(200));
    let url = target.url().to_owned();
    let receiver = Receiver::start(move |_: &Request| Reply::status(307).header("location", &url));
    let store = MemoryStore::new();
    let served = served(&store, to([endpoint("ops", receiver.url())])).await;
    record(&store, "stop.set", "first").await;
    wait_until("it is sent twice", || receiver.requests().len() == 2).await;
    assert!(target.requests().is_empty());
    assert_eq!(count(&served, "ops", "delivered").await, 0);
}

#[tokio::test]
async fn slack_gets_a_message_without_a_secret() {
    let receiver = Receiver::start(|_: &Request| Reply::status(200));
    let store = MemoryStore::new();
    let slack = WebhookEndpoint::new("slack", receiver.url()).unwrap();
    let slack = slack.format(WebhookFormat::Slack);
    let _served = served(&store, to([slack])).await;
    request_approval(&store).await;
    wait_until("it arrives", || !receiver.requests().is_empty()).await;
    let request = receiver.requests().remove(0);
    let body = body(&request);
    let text = body["text"].as_str().unwrap();
    assert!(
        text.starts_with("Approval requested: agent deploy-bot, action migrate"),
        "{text}"
    );
    assert!(body["blocks"].is_array() && request.header("webhook-signature").is_none());
}
