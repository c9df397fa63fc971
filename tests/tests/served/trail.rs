//! `GET /v1-audit/events`, `POST /v1-audit/exports`, `GET /v1-signing-keys`: what is on record, and who vouches for it.

use atlasent::audit::{BundleVerifier, TrustedKeys};
use serde_json::{Value, json};

use crate::stage::Stage;

async fn decide(stage: &Stage, agent: &str) {
    stage
        .evaluate(json!({ "action_type": "deploy", "actor_id": agent, "context": {} }))
        .await;
}

async fn trusted(stage: &Stage) -> TrustedKeys {
    let published = stage.get("/v1-signing-keys").await.body;
    let keys = published["keys"].as_array().unwrap();
    assert_eq!(
        (&keys[0]["algorithm"], &keys[0]["status"]),
        (&json!("Ed25519"), &json!("active"))
    );
    assert!(keys[0]["created_at"].is_string());
    keys.iter().fold(TrustedKeys::new(), |trusted, key| {
        trusted
            .pem(
                key["key_id"].as_str().unwrap(),
                key["public_key_pem"].as_str().unwrap(),
            )
            .unwrap()
    })
}

#[tokio::test]
async fn events_come_page_by_page_in_their_order() {
    let stage = Stage::usual().await;
    for n in 0..120 {
        decide(&stage, &format!("bot-{}", n % 3)).await;
    }
    let first = stage.get("/v1-audit/events").await.body;
    assert_eq!(
        (first["events"].as_array().unwrap().len(), &first["total"]),
        (50, &json!(121))
    );
    for (limit, length) in [("7", 7), ("500", 121), ("9999", 121)] {
        let page = stage
            .get(&format!("/v1-audit/events?limit={limit}"))
            .await
            .body;
        assert_eq!(page["events"].as_array().unwrap().len(), length);
    }
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = stage
            .get(&format!("/v1-audit/events?limit=17&actor_id=bot-1{cursor}"))
            .await
            .body;
        assert_eq!(page["total"], 40);
        let events = page["events"].as_array().unwrap();
        seen.extend(
            events
                .iter()
                .map(|event| event["sequence"].as_u64().unwrap()),
        );
        assert!(events.iter().all(|event| event["actor_id"] == "bot-1"));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        assert!(!page.to_string().contains("null"));
    }
    assert!(seen.len() == 40 && seen.is_sorted());
}

#[tokio::test]
async fn events_are_found_by_type_and_time() {
    let stage = Stage::usual().await;
    decide(&stage, "bot").await;
    decide(&stage, "intern").await;
    let all = stage.get("/v1-audit/events").await.body;
    let time = |n: usize| all["events"][n]["occurred_at"].as_str().unwrap();
    let total = async |query: String| {
        stage.get(&format!("/v1-audit/events?{query}")).await.body["total"].clone()
    };
    assert_eq!(total("types=evaluate.allow".into()).await, 1);
    assert_eq!(total("types=evaluate.allow,evaluate.deny".into()).await, 2);
    assert_eq!(
        total("types=evaluate.allow%2Cevaluate.deny".into()).await,
        2
    );
    assert_eq!(total("types=nothing".into()).await, 0);
    assert_eq!(total(format!("from={}", time(1))).await, 2);
    assert_eq!(total(format!("to={}", time(0))).await, 1);
    assert_eq!(total(format!("from={}&to={}", time(1), time(1))).await, 1);
    assert_eq!(
        total("from=2000-01-01&to=2001-01-01T00:00:00".into()).await,
        0
    );
    for wrong in [
        "limit=0",
        "limit=x",
        "cursor=x",
        "from=yesterday",
        "to=1767268800",
    ] {
        assert_eq!(
            stage.get(&format!("/v1-audit/events?{wrong}")).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn an_export_verifies_and_one_that_was_changed_does_not() {
    let stage = Stage::usual().await;
    decide(&stage, "J\u{fc}rgen \u{2028} \"quoted\"").await;
    decide(&stage, "intern").await;
    let keys = trusted(&stage).await;
    let export = stage.post("/v1-audit/exports", &json!({})).await;
    assert_eq!(export.header("content-type"), "application/json");
    let report = BundleVerifier::new(&keys)
        .verify_bytes(&export.text)
        .unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.chain.events, 3);
    let members = export.body.as_object().unwrap();
    for name in [
        "export_id",
        "org_id",
        "chain_head_hash",
        "event_count",
        "signed_at",
        "events",
        "signature",
        "signing_key_id",
        "signature_status",
        "chain_integrity_ok",
        "tampered_event_ids",
    ] {
        assert!(members.contains_key(name), "{name}");
    }
    for (what, instead) in [
        ("\"event_count\":3", "\"event_count\":2"),
        ("intern", "inturn"),
        ("evaluate.deny", "evaluate.allow"),
    ] {
        let changed = export.text.replacen(what, instead, 1);
        assert_ne!(changed, export.text);
        assert!(
            !BundleVerifier::new(&keys)
                .verify_bytes(changed)
                .unwrap()
                .verified(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_part_of_the_trail_is_exported_as_it_is() {
    let stage = Stage::usual().await;
    for _ in 0..4 {
        decide(&stage, "bot").await;
        decide(&stage, "intern").await;
    }
    let keys = trusted(&stage).await;
    let all = stage.get("/v1-audit/events").await.body;
    let export = async |filter: Value| {
        let export = stage.post("/v1-audit/exports", &filter).await;
        let report = BundleVerifier::new(&keys)
            .verify_bytes(&export.text)
            .unwrap();
        (export.body, report)
    };
    // A stretch of time verifies as a whole.
    let (bundle, report) = export(
        json!({ "from": all["events"][3]["occurred_at"], "to": all["events"][6]["occurred_at"] }),
    )
    .await;
    assert_eq!(bundle["event_count"], 4);
    assert!(report.is_intact(), "{report:?}");
    // An extract is signed, and says itself that its chain has gaps.
    for types in [json!("evaluate.deny"), json!(["evaluate.deny"])] {
        let (bundle, report) = export(json!({ "types": types, "actor_id": "intern" })).await;
        assert_eq!(
            (&bundle["event_count"], &bundle["chain_integrity_ok"]),
            (&json!(4), &json!(false))
        );
        assert!(report.signature_valid && !report.chain.integrity_ok);
    }
    // Nothing is a part, too.
    let (bundle, report) = export(json!({ "types": "nothing" })).await;
    assert_eq!(
        (&bundle["event_count"], &bundle["chain_head_hash"]),
        (&json!(0), &json!("0".repeat(64)))
    );
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(
        stage
            .post("/v1-audit/exports", &json!({ "from": "yesterday" }))
            .await
            .status,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_whole_while_more_happens() {
    let stage = Stage::usual().await;
    for _ in 0..200 {
        decide(&stage, "bot").await;
    }
    let keys = trusted(&stage).await;
    let happening = futures_util::future::join_all((0..100).map(|_| decide(&stage, "bot")));
    let exporting = futures_util::future::join_all((0..5).map(|_| async {
        let export = stage.post("/v1-audit/exports", &json!({})).await;
        BundleVerifier::new(&keys)
            .verify_bytes(&export.text)
            .unwrap()
    }));
    let (_, reports) = tokio::join!(happening, exporting);
    assert!(
        reports
            .iter()
            .all(|report| report.is_intact() && report.chain.events >= 201)
    );
}
