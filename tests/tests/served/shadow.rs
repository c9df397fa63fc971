//! Shadow policies: every difference is counted, and nothing else changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use atlasent_authority::Policies;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{
    POLICIES, Served, deploy, evaluate_body, memory, ms, policies, server, token_of, with,
};

/// As long as a loaded machine may take.
const PATIENCE: Duration = ms(20_000);

const ALLOW_ALL: &str = r#"@id("open") permit (principal, action, resource);"#;
const DENY_ALL: &str = r#"@id("closed") forbid (principal, action, resource);"#;
const ERRS: &str =
    r#"@id("errs") permit (principal, action, resource) when { context.missing == 1 };"#;
const BROKEN: &str =
    "permit (principal, action, resource);\n  forbid (principal, action resource);";

fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), text);
    folder
}

/// Writes a file that is whole as soon as it is there.
fn put(folder: &Path, text: &str) {
    let draft = folder.join("draft.txt");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.join("rules.cedar")).unwrap();
}

/// A server with these shadow policies, once they are read.
async fn shadowed(text: &str) -> (Served, TempDir) {
    let folder = folder(text);
    let served = Served::run(server(memory()).shadow_policies(folder.path(), Duration::ZERO)).await;
    ready_with(&served, text).await;
    (served, folder)
}

/// Waits until the shadow policies are those of this text.
async fn ready_with(served: &Served, text: &str) {
    let digest = Policies::parse(text).unwrap().digest().to_owned();
    let expected = format!("ready\npolicies {}\nshadow {digest}\n", policies().digest());
    let wait = async {
        while served.get("/readyz").await.text != expected {
            tokio::time::sleep(ms(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

/// The counted differences, by action and outcome.
async fn counts(served: &Served) -> BTreeMap<(String, String), u64> {
    let metrics = served.get("/metrics").await.text;
    let series = "atlasent_shadow_decisions_total{action=\"";
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(series));
    lines
        .map(|line| {
            let (action, rest) = line.split_once("\",outcome=\"").unwrap();
            let (outcome, count) = rest.split_once("\"} ").unwrap();
            let labels = (action.to_owned(), outcome.to_owned());
            (labels, count.parse().unwrap())
        })
        .collect()
}

/// Waits until the counts are exactly these.
async fn counted(served: &Served, expected: &[(&str, &str, u64)]) {
    let expected: BTreeMap<_, _> = (expected.iter())
        .map(|(action, outcome, count)| (((*action).to_owned(), (*outcome).to_owned()), *count))
        .collect();
    let total = |counts: &BTreeMap<_, u64>| counts.values().sum::<u64>();
    let wait = async {
        while total(&counts(served).await) < total(&expected) {
            tokio::time::sleep(ms(20)).await;
        }
    };
    let waited = timeout(PATIENCE, wait).await;
    assert_eq!(counts(served).await, expected);
    waited.unwrap();
}

async fn reloaded(served: &Served, outcome: &str, count: u64) {
    let line = format!("atlasent_shadow_reloads_total{{outcome=\"{outcome}\"}} {count}\n");
    let wait = async {
        while !served.get("/metrics").await.text.contains(&line) {
            tokio::time::sleep(ms(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

/// An answer without what is another one each time.
fn lasting(mut answer: Value) -> Value {
    let fields = answer.as_object_mut().unwrap();
    for (name, value) in fields {
        let is_new = [
            "permit_token",
            "permit_id",
            "request_id",
            "decision_id",
            "timestamp",
            "audit_hash",
            "expires_at",
        ];
        if is_new.contains(&&**name) {
            *value = json!(value.is_string());
        }
    }
    answer
}

#[tokio::test]
async fn a_shadow_that_denies_everything_changes_no_answer() {
    let (shadowed, _folder) = shadowed(DENY_ALL).await;
    let plain = Served::start().await;
    for action in ["deploy", "release", "migrate", "drop", "unknown"] {
        for served in [&shadowed, &plain] {
            assert_eq!(served.evaluate(&evaluate_body(action)).await.status, 200);
        }
        let [one, other] = [&shadowed, &plain].map(async |served| {
            let explained = with(evaluate_body(action), &json!({"explain": true}));
            lasting(served.evaluate(&explained).await.json())
        });
        assert_eq!(one.await, other.await, "{action}");
    }
    let token = shadowed.token().await;
    let verification = shadowed.verify(&json!({"permit_token": token})).await;
    assert_eq!(verification.json()["valid"], true, "{}", verification.text);
    plain.token().await;

    let kinds = async |served: &Served| {
        let events = served.events().await;
        let kinds = events.iter().map(|event| {
            let names = event["payload"].as_object().unwrap().keys();
            (event["type"].clone(), names.cloned().collect::<Vec<_>>())
        });
        kinds
            .filter(|(kind, _)| kind != "permit.verified")
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&shadowed).await, kinds(&plain).await);
    let expected = [
        ("deploy", "stricter", 3),
        ("release", "stricter", 2),
        ("migrate", "stricter", 2),
        ("drop", "different", 2),
        ("other", "different", 2),
    ];
    counted(&shadowed, &expected).await;
    counted(&plain, &[]).await;
    assert!(!plain.get("/readyz").await.text.contains("shadow"));
}

#[tokio::test]
async fn a_shadow_that_allows_everything_opens_nothing() {
    let (served, _folder) = shadowed(ALLOW_ALL).await;
    for (action, decision) in [
        ("release", "hold"),
        ("migrate", "escalate"),
        ("drop", "deny"),
        ("unknown", "deny"),
    ] {
        for target in ["/v1-evaluate", "/v1-evaluate?include=constraint_trace"] {
            let answer = served.post(target, &evaluate_body(action)).await.json();
            assert_eq!(answer["decision"], decision, "{answer}");
            assert_eq!(answer["permit_token"], Value::Null, "{answer}");
            assert_eq!(answer["permit_id"], Value::Null, "{answer}");
        }
        let batch = json!({"items": [evaluate_body(action)]});
        let answer = served.post("/v1/evaluate/batch", &batch).await.json();
        assert_eq!(answer["items"][0]["decision"], decision, "{answer}");
        assert_eq!(answer["items"][0]["permit_token"], Value::Null, "{answer}");
    }
    let expected = [
        ("release", "looser", 3),
        ("migrate", "looser", 3),
        ("drop", "looser", 3),
        ("other", "looser", 3),
    ];
    counted(&served, &expected).await;
    assert_eq!(served.count("evaluate.allow").await, 0);
    let page = served.get("/v1/permits").await;
    assert!(!page.text.contains("permit_id"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_decision_is_counted_once_and_repetitions_are_not() {
    let (served, _folder) = shadowed(POLICIES).await;
    let body = deploy();
    for _ in 0..10 {
        let answers = join_all((0..20).map(|_| served.evaluate(&body)));
        answers.await.iter().for_each(|answer| {
            token_of(answer);
        });
    }
    let repeated = with(deploy(), &json!({"request_id": "request-1"}));
    let [first, second] = [
        served.evaluate(&repeated).await,
        served.evaluate(&repeated).await,
    ];
    assert_eq!(token_of(&first), token_of(&second));
    served.evaluate(&evaluate_body("release")).await;
    let expected = [("deploy", "same", 201), ("release", "same", 1)];
    counted(&served, &expected).await;
}

#[tokio::test]
async fn an_evaluation_that_errs_in_the_shadow_is_a_stricter_decision_and_no_error() {
    let (served, _folder) = shadowed(ERRS).await;
    let answer = served.evaluate(&deploy()).await;
    token_of(&answer);
    assert!(!answer.text.contains("missing"), "{}", answer.text);
    counted(&served, &[("deploy", "stricter", 1)]).await;
}

#[tokio::test]
async fn an_answer_that_no_policy_gave_is_not_compared() {
    let (served, _folder) = shadowed(ALLOW_ALL).await;
    let approval = with(deploy(), &json!({"require_approval": true}));
    let held = served.evaluate(&approval).await.json();
    assert_eq!(held["deny_code"], "APPROVAL_REQUIRED", "{held}");
    let stop = json!({"action_type": "deploy", "reason": "drill"});
    let set = served.post("/v1/stops", &stop).await;
    assert_eq!(set.status, 200, "{}", set.text);
    let stopped = served.evaluate(&deploy()).await.json();
    assert_eq!(stopped["deny_code"], "STOPPED", "{stopped}");
    served.evaluate(&evaluate_body("drop")).await;
    counted(&served, &[("drop", "looser", 1)]).await;
}

#[tokio::test]
async fn a_candidate_that_does_not_load_leaves_the_former_one_and_the_server_as_they_are() {
    let folder = folder(BROKEN);
    let with_shadow = server(memory()).shadow_policies(folder.path(), Duration::ZERO);
    let served = Served::run(with_shadow).await;
    reloaded(&served, "refused", 1).await;
    served.token().await;
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(!ready.text.contains("shadow"), "{}", ready.text);
    counted(&served, &[]).await;

    put(folder.path(), DENY_ALL);
    ready_with(&served, DENY_ALL).await;
    reloaded(&served, "loaded", 1).await;
    served.token().await;
    counted(&served, &[("deploy", "stricter", 1)]).await;

    put(folder.path(), BROKEN);
    reloaded(&served, "refused", 2).await;
    ready_with(&served, DENY_ALL).await;
    served.token().await;
    counted(&served, &[("deploy", "stricter", 2)]).await;

    put(folder.path(), POLICIES);
    ready_with(&served, POLICIES).await;
    served.token().await;
    let expected = [("deploy", "stricter", 2), ("deploy", "same", 1)];
    counted(&served, &expected).await;
    // Neither set is on the record.
    assert_eq!(served.count("policy.loaded").await, 1);
    assert_eq!(served.count("policy.error").await, 0);
}

#[tokio::test]
async fn a_shadow_folder_that_is_missing_stops_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let served = Served::run(server(memory()).shadow_policies(missing, Duration::ZERO)).await;
    reloaded(&served, "refused", 1).await;
    served.token().await;
    counted(&served, &[]).await;
}
