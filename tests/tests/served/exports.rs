//! Signed exports, verified with the keys that the server publishes, by the client's
//! verifier.

use atlasent::audit::{BundleReport, BundleVerifier, TrustedKeys};
use atlasent::client::EventFilter;
use atlasent_authority::LocalAuthority;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{
    KEY, Served, Time, evaluate_body, memory, ms, names, on_disk, policies, server, settings,
    stored, with,
};

async fn keys(served: &Served) -> TrustedKeys {
    let client = served.client().build().unwrap();
    client.signing_keys().await.unwrap().trusted().unwrap()
}

fn check(bundle: &str, keys: &TrustedKeys) -> BundleReport {
    BundleVerifier::new(keys).verify_bytes(bundle).unwrap()
}

async fn export(served: &Served, wanted: &Value) -> String {
    let answer = served.post("/v1-audit/exports", wanted).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.header("content-length").unwrap(),
        answer.text.len().to_string()
    );
    answer.text
}

#[tokio::test]
async fn a_whole_export_verifies() {
    let served = Served::start().await;
    for action in ["deploy", "drop", "release"] {
        served.evaluate(&evaluate_body(action)).await;
    }
    let bundle = export(&served, &json!({})).await;
    let report = check(&bundle, &keys(&served).await);
    assert!(report.is_intact(), "{report:?}");
    let json: Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(
        names(&json),
        [
            "chain_head_hash",
            "chain_integrity_ok",
            "event_count",
            "events",
            "export_id",
            "org_id",
            "signature",
            "signature_status",
            "signed_at",
            "signing_key_id",
            "tampered_event_ids"
        ]
    );
    assert_eq!(
        (
            &json["event_count"],
            &json["org_id"],
            &json["chain_integrity_ok"]
        ),
        (&json!(4), &json!("local"), &json!(true))
    );
    assert_eq!(json["events"], Value::from(served.events().await));
    assert_eq!(json["chain_head_hash"], json["events"][3]["hash"]);
    // Another key or a changed byte fails the verification.
    let other = Served::start().await;
    assert!(!check(&bundle, &keys(&other).await).signature_valid);
    let forged = bundle.replacen("deploy", "destroy", 1);
    assert!(!check(&forged, &keys(&served).await).verified());
}

#[tokio::test]
async fn an_export_of_a_stretch_verifies_and_one_of_a_kind_is_signed() {
    let time = Time::new();
    let authority = LocalAuthority::builder(policies()).clock(time.clock());
    let served = Served::run(server(authority.build().await.unwrap())).await;
    for (second, n) in (1..).zip(0..10) {
        time.set(second);
        served
            .evaluate(&evaluate_body(["deploy", "drop"][n % 2]))
            .await;
    }
    let keys = keys(&served).await;
    let stretch = json!({"from": "2026-01-01T12:00:03Z", "to": "2026-01-01T12:00:06Z", "limit": 1, "cursor": 7, "unknown": null});
    let report = check(&export(&served, &stretch).await, &keys);
    assert!(report.verified(), "{report:?}");
    assert_eq!(report.chain.events, 4);
    for wanted in [
        json!({"types": "evaluate.deny"}),
        json!({"types": ["evaluate.deny"]}),
        json!({"types": ["evaluate.deny"], "actor_id": null}),
    ] {
        let report = check(&export(&served, &wanted).await, &keys);
        assert!(report.signature_valid, "{report:?}");
        assert_eq!(report.chain.events, 5);
    }
    let report = check(
        &export(&served, &json!({"actor_id": "nobody"})).await,
        &keys,
    );
    assert!(report.signature_valid, "{report:?}");
    for wrong in [
        json!({"from": "yesterday"}),
        json!({"types": 7}),
        json!({"actor_id": []}),
    ] {
        let status = served.post("/v1-audit/exports", &wrong).await.status;
        assert!((400..500).contains(&status), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_verifies_while_events_are_appended() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::run(server(on_disk(folder.path()).await)).await;
    let keys = keys(&served).await;
    let appending = join_all((0..8).map(async |_| {
        for _ in 0..20 {
            served.token().await;
        }
    }));
    let exporting = async {
        for _ in 0..8 {
            let report = check(&export(&served, &json!({})).await, &keys);
            assert!(report.is_intact(), "{report:?}");
        }
    };
    futures_util::future::join(appending, exporting).await;
    let report = check(&export(&served, &json!({})).await, &keys);
    assert_eq!(report.chain.events, 161);
}

#[tokio::test]
async fn an_export_of_a_former_key_still_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let start = |ring| Served::run(Server::new(memory(), ApiKeys::new([stored(KEY)]), ring));
    let ring = KeyRing::open(folder.path()).unwrap();
    let former = start(ring).await;
    former.token().await;
    let old = export(&former, &json!({})).await;

    let ring = KeyRing::open(folder.path()).unwrap().rotate().unwrap();
    let served = start(ring).await;
    let json = served.get("/v1-signing-keys").await.json();
    let statuses: Vec<_> = json["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["status"].clone())
        .collect();
    assert_eq!(statuses, ["retired", "active"]);
    let keys = keys(&served).await;
    let new = export(&served, &json!({})).await;
    let ids = [&old, &new].map(|bundle| {
        let report = check(bundle, &keys);
        assert!(report.is_intact(), "{report:?}");
        report.matched_key_id.unwrap()
    });
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn our_client_fetches_exports_and_checks_them() {
    let served = Served::start().await;
    served.token().await;
    let client = served.client().build().unwrap();
    let export = client.audit_export(&EventFilter::default()).await.unwrap();
    assert!(export.verify(&keys(&served).await).unwrap().is_intact());
    assert!(export.rate_limit.is_some());
}

/// Requests an export, and reads only the status line of the answer.
async fn unread(served: &Served) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut socket = socket.connect(served.address).await.unwrap();
    let head = format!(
        "POST /v1-audit/exports HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    (socket, String::from_utf8(status.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_nobody_takes_keeps_its_place_until_its_time_is_over() {
    let authority = LocalAuthority::builder(policies()).record_context(true);
    let authority = authority.build().await.unwrap();
    let limits = settings(|settings| {
        settings.concurrency = 2;
        settings.export_timeout = ms(20_000);
    });
    let served = Served::run(server(authority).settings(limits)).await;
    // More bytes than the socket buffers on both sides can hold.
    let text = "x".repeat(900_000);
    for _ in 0..7 {
        let context = json!({"environment": "production", "text": text});
        let asks = with(evaluate_body("deploy"), &json!({"context": context}));
        assert_eq!(served.evaluate(&asks).await.status, 200);
    }
    let (mut first, status) = unread(&served).await;
    assert_eq!(status, "HTTP/1.1 200");
    let (_second, status) = unread(&served).await;
    assert_eq!(status, "HTTP/1.1 200");
    let refused = served.post("/v1-audit/exports", &json!({})).await;
    refused.is_problem(503, "OVERLOADED");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Decisions and pages work meanwhile.
    served.token().await;
    assert_eq!(served.get("/v1-audit/events?limit=1").await.status, 200);

    tokio::time::sleep(ms(21_000)).await;
    let bundle = export(&served, &json!({})).await;
    assert!(check(&bundle, &keys(&served).await).is_intact());
    // The connection was closed before the whole export was sent.
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(ms(20_000), first.read_to_end(&mut rest)).await;
    drop(closed.expect("the connection is still open"));
    assert!(rest.len() < 6_000_000, "{}", rest.len());
}
