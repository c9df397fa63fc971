//! `atlasent policy replay`: every decision of a verified trail that other policies would change.

use std::fs;
use std::io::Read;
use std::num::NonZeroU64;

use atlasent::wire::{EvaluateRequest, RequestOptions, StopScope};
use atlasent::{Agent, AnyAction, Context};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{Caller, LocalAuthority, Policies, RedbStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent, directory};

const BEFORE: &str = r#"
@id("deployers") permit (principal, action == Action::"deploy", resource);
@id("big") @decision("hold") @code("BIG") forbid (principal, action == Action::"deploy", resource)
when { context.replicas > 50 };
@id("cards") @decision("hold") @redact("card") forbid (principal, action == Action::"buy", resource);
@id("migrations") @decision("escalate") forbid (principal, action == Action::"migrate", resource);
@id("payers") permit (principal, action == Action::"pay", resource)
when { context.amount == decimal("19.99") && context.environment == "live" };
@id("needs-tier") permit (principal, action == Action::"read", resource) when { context.tier == 1 };
"#;

/// A trail, the key that signed it, and folders of policies.
struct Trail {
    folder: TempDir,
    text: String,
}

/// A request of `bot`.
fn asks(action: &str, context: &str) -> EvaluateRequest {
    let context = Context::parse(context).unwrap();
    let action = AnyAction::new(action.to_owned())
        .unwrap()
        .with_context(context);
    EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
}

fn pay(amount: serde_json::Number) -> EvaluateRequest {
    let mut options = RequestOptions::default().environment("live");
    options.amount = Some(amount);
    asks("pay", "{}").with_options(options)
}

fn number(text: &str) -> serde_json::Number {
    serde_json::from_str(text).unwrap()
}

/// The trail of these requests, of which the first are recorded without their context.
async fn recorded(
    without_context: &[EvaluateRequest],
    with_context: &[EvaluateRequest],
    then: impl AsyncFn(&LocalAuthority<RedbStore>),
) -> Trail {
    let folder = directory(&[]);
    fs::create_dir(folder.path().join("before")).unwrap();
    fs::write(folder.path().join("before/p.cedar"), BEFORE).unwrap();
    let ring = KeyRing::in_memory().unwrap();
    let mut text = String::new();
    for (record, requests) in [(false, without_context), (true, with_context)] {
        let store = RedbStore::open(folder.path().join("store")).unwrap();
        let authority = LocalAuthority::builder(Policies::parse(BEFORE).unwrap())
            .record_context(record)
            .permits_per_agent(NonZeroU64::new(1_000).unwrap())
            .store(store)
            .build()
            .await
            .unwrap();
        let caller = Caller::new("key_1", b"a secret");
        for request in requests {
            let asked = authority.evaluate_for(caller, request, None).await;
            asked.unwrap();
        }
        if record {
            then(&authority).await;
            let bundle = authority.export(&EventFilter::default(), &ring).await;
            bundle.unwrap().read_to_string(&mut text).unwrap();
        }
    }
    fs::write(folder.path().join("trail.json"), &text).unwrap();
    let pem = ring.active().public_key_pem();
    fs::write(folder.path().join("key.pem"), pem).unwrap();
    Trail { folder, text }
}

async fn trail(requests: &[EvaluateRequest]) -> Trail {
    recorded(&[], requests, async |_| ()).await
}

impl Trail {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Replays the trail in a file by policies with this text.
    fn replay_file(&self, file: &str, policies: &str, more: &[&str]) -> Atlasent {
        let candidate = self.folder.path().join("candidate");
        fs::create_dir_all(&candidate).unwrap();
        fs::write(candidate.join("p.cedar"), policies).unwrap();
        let (file, candidate) = (self.path(file), candidate.to_str().unwrap().to_owned());
        let arguments = [
            "policy",
            "replay",
            "--trail",
            &file,
            "--policies",
            &candidate,
        ];
        atlasent(arguments.iter().chain(more))
    }

    fn replay(&self, policies: &str, more: &[&str]) -> Atlasent {
        let key = self.path("key.pem");
        let more = [&["--key", &key], more].concat();
        self.replay_file("trail.json", policies, &more)
    }

    fn json(&self, policies: &str) -> Value {
        let ended = self.replay(policies, &["--json"]).run();
        assert_eq!(ended.stderr, "");
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(ended.code, i32::from(json["changed"] != 0), "{json}");
        json
    }

    /// The id of the event with this sequence number.
    fn id(&self, sequence: u64) -> String {
        let bundle: Value = serde_json::from_str(&self.text).unwrap();
        let events = bundle["events"].as_array().unwrap();
        let event = events.iter().find(|event| event["sequence"] == sequence);
        event.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn events(&self) -> usize {
        let bundle: Value = serde_json::from_str(&self.text).unwrap();
        bundle["events"].as_array().unwrap().len()
    }

    /// The sequence number of the first event of a decision on this action.
    fn first(&self, action: &str, decision: &str) -> u64 {
        let bundle: Value = serde_json::from_str(&self.text).unwrap();
        let mut events = bundle["events"].as_array().unwrap().iter();
        let event = events.find(|event| {
            event["payload"]["action_type"] == action && event["decision"] == decision
        });
        event.unwrap()["sequence"].as_u64().unwrap()
    }
}

fn digest(policies: &str) -> String {
    Policies::parse(policies).unwrap().digest().to_owned()
}

#[tokio::test]
async fn the_policies_that_decided_change_nothing() {
    let trail = trail(&[
        asks("deploy", r#"{"replicas": 3}"#),
        asks("deploy", r#"{"replicas": 51}"#),
        asks("migrate", "{}"),
        asks("drop", "{}"),
        pay(number("19.99")),
        pay(number("20")),
    ])
    .await;
    let key = trail.path("key.pem");
    let before = trail.path("before");
    let (file, more) = (trail.path("trail.json"), ["--key", &key]);
    let arguments = ["policy", "replay", "--trail", &file, "--policies", &before];
    assert_eq!(
        atlasent(arguments.iter().chain(&more)).prints(),
        format!(
            "0 of 6 replayed decisions would have changed\n\
             trail: {} events, signed by the key `pem_0`\n\
             policies: 6, digest {}\n",
            trail.events(),
            digest(BEFORE)
        )
    );
}

#[tokio::test]
async fn each_kind_of_change_is_counted_with_an_example() {
    let trail = trail(&[
        asks("deploy", r#"{"replicas": 3}"#),
        asks("deploy", r#"{"replicas": 4}"#),
        asks("deploy", r#"{"replicas": 51}"#),
        asks("migrate", "{}"),
        asks("drop", "{}"),
        pay(number("19.99")),
    ])
    .await;
    let after = r#"
@id("deployers") permit (principal, action == Action::"deploy", resource);
@id("few") @decision("hold") forbid (principal, action == Action::"deploy", resource)
when { context.replicas > 3 && context.replicas < 50 };
@id("stops") @code("NEVER") forbid (principal, action == Action::"migrate", resource);
@id("open") permit (principal, action == Action::"drop", resource);
@id("payers") permit (principal, action == Action::"pay", resource) when { context.missing == 1 };
"#;
    let example = |action: &str, decision: &str| {
        let sequence = trail.first(action, decision);
        json!({ "sequence": sequence, "id": trail.id(sequence) })
    };
    let sequence = trail.first("deploy", "allow") + 1;
    let second = json!({ "sequence": sequence, "id": trail.id(sequence) });
    let change = |action: &str, before: Value, after: Value, example: Value| json!({ "action": action, "agent": "bot", "before": before, "after": after, "count": 1, "example": example });
    let verdict =
        |decision: &str, policies: &[&str]| json!({ "decision": decision, "policies": policies });
    let coded = |decision: &str, policies: &[&str], code: &str| json!({ "decision": decision, "policies": policies, "code": code });
    assert_eq!(
        trail.json(after),
        json!({
            "replayed": 6,
            "changed": 5,
            "changes": [
                change("deploy", verdict("allow", &["deployers"]), verdict("hold", &["few"]), second),
                change("deploy", coded("hold", &["big"], "BIG"), verdict("allow", &["deployers"]), example("deploy", "hold")),
                change("drop", coded("deny", &[], "UNKNOWN_ACTION"), verdict("allow", &["open"]), example("drop", "deny")),
                change("migrate", verdict("escalate", &["migrations"]), coded("deny", &["stops"], "NEVER"), example("migrate", "escalate")),
                change("pay", verdict("allow", &["payers"]), coded("deny", &["payers"], "POLICY_EVALUATION_ERROR"), example("pay", "allow")),
            ],
            "changed_beyond_list": 0,
            "same_for_other_reason": 0,
            "context_not_recorded": 0,
            "request_not_rebuilt": { "count": 0 },
            "not_by_policies": {},
            "trail": { "events": trail.events(), "signature_valid": true, "matched_key_id": "pem_0" },
            "policies": { "count": 5, "digest": digest(after) },
        })
    );
}

#[tokio::test]
async fn a_table_is_for_people() {
    let trail = trail(&[
        asks("deploy", r#"{"replicas": 3}"#),
        asks("deploy", r#"{"replicas": 4}"#),
        asks("migrate", "{}"),
    ])
    .await;
    let after = r#"@id("closed") forbid (principal, action, resource);"#;
    let (deploy, migrate) = (
        trail.first("deploy", "allow"),
        trail.first("migrate", "escalate"),
    );
    let (deploy_id, migrate_id) = (trail.id(deploy), trail.id(migrate));
    assert_eq!(
        trail.replay(after, &[]).finds(),
        format!(
            "3 of 3 replayed decisions would have changed\n\n\
             COUNT  ACTION   AGENT  BEFORE                  AFTER                          EXAMPLE\n\
             2      deploy   bot    allow by deployers      deny by closed at p.cedar:1:1  {deploy} ({deploy_id})\n\
             1      migrate  bot    escalate by migrations  deny by closed at p.cedar:1:1  {migrate} ({migrate_id})\n\n\
             trail: {} events, signed by the key `pem_0`\n\
             policies: 1, digest {}\n",
            trail.events(),
            digest(after)
        )
    );
}

#[tokio::test]
async fn another_reason_for_the_same_decision_is_no_change() {
    let trail = trail(&[asks("drop", "{}"), asks("migrate", "{}")]).await;
    let renamed = r#"
        @id("m") @decision("escalate") forbid (principal, action == Action::"migrate", resource);"#;
    let json = trail.json(renamed);
    assert_eq!(
        (&json["changed"], &json["same_for_other_reason"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn a_shadow_is_replayed_as_a_shadow() {
    let trail = trail(&[asks("read", r#"{"tier": 2}"#).shadow(true)]).await;
    let candidate = trail.folder.path().join("candidate");
    fs::create_dir(&candidate).unwrap();
    let schema = r#"
        entity Agent, Resource;
        action read appliesTo {
            principal: Agent, resource: Resource, context: { tier: Long, note: String },
        };"#;
    fs::write(candidate.join("schema.cedarschema"), schema).unwrap();
    // A call would not be in the schema. A shadow is denied as it was: no policy permits it.
    let other = r#"permit (principal == Agent::"other", action == Action::"read", resource);"#;
    let json = trail.json(other);
    assert_eq!(
        (&json["replayed"], &json["same_for_other_reason"]),
        (&json!(1), &json!(0)),
        "{json}"
    );
}

#[tokio::test]
async fn numbers_are_replayed_as_they_were_written() {
    let trail = trail(&[
        asks("deploy", r#"{"replicas": 9223372036854775807.0}"#),
        asks("deploy", r#"{"replicas": 70e-1, "share": 19.990}"#),
        pay(number("9223372036854775807")),
    ])
    .await;
    let exact = r#"
        @id("exact") permit (principal, action == Action::"deploy", resource)
        when { context.replicas == 9223372036854775807 || context.share == decimal("19.99") };
        @id("paid") permit (principal, action == Action::"pay", resource)
        when { context.amount == 9223372036854775807 && context.environment == "live" };"#;
    let json = trail.json(exact);
    let changes = json["changes"].as_array().unwrap().iter();
    let decisions = changes.map(|change| {
        let decision = |verdict: &str| change[verdict]["decision"].as_str().unwrap().to_owned();
        (decision("before"), decision("after"))
    });
    let allowed = |before: &str| (before.to_owned(), "allow".to_owned());
    assert_eq!(
        decisions.collect::<Vec<_>>(),
        [allowed("hold"), allowed("deny")],
        "{json}"
    );
    assert_eq!(json["same_for_other_reason"], 1, "{json}");
    assert_eq!(json["not_by_policies"], json!({}), "{json}");
}

#[tokio::test]
async fn a_context_that_was_not_recorded_is_counted_and_not_guessed() {
    let some = [asks("deploy", r#"{"replicas": 3}"#), asks("migrate", "{}")];
    let trail = recorded(&some, &some[..1], async |_| ()).await;
    let after = r#"@id("closed") forbid (principal, action, resource);"#;
    let json = trail.json(after);
    assert_eq!(json["context_not_recorded"], 2, "{json}");
    assert_eq!(
        (&json["replayed"], &json["changed"]),
        (&json!(1), &json!(1))
    );
    let text = trail.replay(after, &[]).finds();
    let line = "not replayable: the context was not recorded: 2\n";
    assert!(text.contains(line), "{text}");

    let none = recorded(&some, &[], async |_| ()).await;
    let line = none.replay(after, &[]).misuse();
    assert!(
        line.contains("no decision can be replayed: the context was not recorded (2 events"),
        "{line}"
    );
}

#[tokio::test]
async fn a_context_with_redacted_values_is_not_replayed_as_if_it_was_whole() {
    let some = [
        asks("buy", r#"{"card": "4111", "cost": 1.50}"#),
        asks("buy", r#"{"cost": 1.50}"#),
    ];
    let trail = trail(&some).await;
    assert!(!trail.text.contains("4111"), "{}", trail.text);
    let json = trail.json(r#"@id("closed") forbid (principal, action, resource);"#);
    assert_eq!(json["context_not_recorded"], 1, "{json}");
    assert_eq!(json["replayed"], 1, "{json}");
}

#[tokio::test]
async fn decisions_that_do_not_come_from_policies_are_kept_apart() {
    let repeated = asks("deploy", r#"{"replicas": 1}"#)
        .with_options(RequestOptions::default().request_id("request-1"));
    let approval = asks("deploy", r#"{"replicas": 2}"#)
        .with_options(RequestOptions::default().require_approval(true));
    let requests = [repeated.clone(), repeated, approval, asks("read", "{}")];
    let trail = recorded(&[], &requests, async |authority| {
        let stop = authority.stop(StopScope::action("deploy").unwrap(), "drill", None);
        stop.await.unwrap();
        let caller = Caller::new("key_1", b"a secret");
        let request = asks("deploy", r#"{"replicas": 3}"#);
        let stopped = authority.evaluate_for(caller, &request, None).await;
        stopped.unwrap();
    })
    .await;
    let json = trail.json(r#"@id("closed") forbid (principal, action, resource);"#);
    assert_eq!(
        json["not_by_policies"],
        json!({ "APPROVAL_REQUIRED": 1, "POLICY_EVALUATION_ERROR": 1, "STOPPED": 1, "evaluate.replayed": 1 })
    );
    assert_eq!(
        (&json["replayed"], &json["changed"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_trail_that_is_not_verified_is_refused() {
    let trail = trail(&[asks("deploy", r#"{"replicas": 3}"#)]).await;
    let write = |name: &str, text: &str| fs::write(trail.folder.path().join(name), text).unwrap();
    write(
        "changed.json",
        &trail.text.replacen("deployers", "attackers", 1),
    );
    let mut unsigned: Value = serde_json::from_str(&trail.text).unwrap();
    unsigned.as_object_mut().unwrap().remove("signature");
    write("unsigned.json", &unsigned.to_string());
    write("cut.json", &trail.text[..trail.text.len() / 2]);
    let mut gap: Value = serde_json::from_str(&trail.text).unwrap();
    gap["events"].as_array_mut().unwrap().remove(1);
    write("gap.json", &gap.to_string());
    let other = KeyRing::in_memory().unwrap();
    write("other.pem", other.active().public_key_pem());

    let (key, other) = (trail.path("key.pem"), trail.path("other.pem"));
    let deny = r#"@id("closed") forbid (principal, action, resource);"#;
    let refused = |file: &str, more: &[&str], words: &str| {
        let line = trail.replay_file(file, deny, more).misuse();
        assert!(line.contains(words), "{file}: {line}");
    };
    for file in ["changed.json", "unsigned.json", "gap.json"] {
        refused(file, &["--key", &key], "the trail is not verified");
    }
    refused(
        "trail.json",
        &["--key", &other],
        "the trail is not verified",
    );
    refused("cut.json", &["--key", &key], "not a bundle");
    refused("missing.json", &["--key", &key], "No such file");
    refused(".", &["--key", &key], "not a regular file");
    refused("trail.json", &[], "`--allow-unsigned`");
    // A chain is checked all the same.
    for file in ["changed.json", "gap.json"] {
        refused(file, &["--allow-unsigned"], "the trail is not verified");
    }
    let text = trail
        .replay_file("unsigned.json", deny, &["--allow-unsigned"])
        .finds();
    assert!(text.contains("its signature was not checked"), "{text}");
    let both = ["--allow-unsigned", "--key", &key];
    trail.replay_file("trail.json", deny, &both).misuse();
}

#[tokio::test]
async fn policies_that_do_not_load_are_no_verdict() {
    let trail = trail(&[asks("deploy", r#"{"replicas": 3}"#)]).await;
    let replay = trail.replay("permit (principal, action resource);", &[]);
    let line = replay.misuse();
    assert!(line.contains("p.cedar:1:"), "{line}");
}

#[tokio::test]
async fn names_in_a_trail_obey_no_terminal() {
    let trail = trail(&[asks("deploy\u{1b}[2J\u{202e}", r#"{"replicas": 3}"#)]).await;
    let text = trail
        .replay(r#"permit (principal, action, resource);"#, &[])
        .finds();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
}
