//! What the server reports about keys and about itself; request ids; and the answers to unknown
//! paths and methods.

use atlasent::Client;
use atlasent_authority::LocalAuthority;
use atlasent_authority::approvals::Approver;
use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;

use crate::support::{
    Answer, KEY, Served, deploy, evaluate_body, keyed, memory, names, policies, server, settings,
    stored,
};

#[tokio::test]
async fn a_key_is_told_what_it_is() {
    let served = Served::start().await;
    let answer = served.get("/v1-api-key-self").await;
    assert_eq!(
        answer.json(),
        json!({"key_id": stored(KEY).key_id, "organization_id": "local", "org_id": "local", "environment": "test",
            "scopes": ["evaluate", "verify", "revoke", "permits.read", "stop", "audit.read", "audit.export"],
            "rate_limit_per_minute": 1_000_000, "client_ip": "127.0.0.1"})
    );
    assert!(!answer.text.contains(KEY));

    let mut key = stored(KEY);
    let over = Timestamp::from_second(4_000_000_000).unwrap();
    (key.scopes, key.expires_at) = (vec![ApiScope::Verify], Some(over));
    key.allowed_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
    key.approver = Some(Approver::new("alice", ["cto"]).unwrap());
    let served = Served::run(Server::new(
        memory(),
        ApiKeys::new([key]),
        KeyRing::in_memory().unwrap(),
    ))
    .await;
    let json = served.get("/v1-api-key-self").await.json();
    assert_eq!(json["allowed_cidrs"], json!(["127.0.0.0/8"]));
    assert_eq!(
        json["approver"],
        json!({"principal": "alice", "roles": ["cto"]})
    );
    assert_eq!(
        json["expires_at"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap(),
        over
    );
    let info = served.client().build().unwrap().key_self().await.unwrap();
    assert_eq!(
        (&*info.organization_id, info.scopes),
        ("local", vec!["verify".to_owned()])
    );
    let approver = info.approver.unwrap();
    assert_eq!(
        (&*approver.principal, &*approver.roles),
        ("alice", &["cto".to_owned()][..])
    );
}

#[tokio::test]
async fn the_keys_that_sign_are_told() {
    let served = Served::start().await;
    let json = served.get("/v1-signing-keys").await.json();
    let keys = json["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        names(&keys[0]),
        [
            "algorithm",
            "created_at",
            "key_id",
            "public_key_pem",
            "status"
        ]
    );
    assert_eq!(
        (&keys[0]["algorithm"], &keys[0]["status"]),
        (&json!("Ed25519"), &json!("active"))
    );
    assert!(!json.to_string().contains("PRIVATE"));
    let keys = served
        .client()
        .build()
        .unwrap()
        .signing_keys()
        .await
        .unwrap();
    assert_eq!(keys.trusted().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_well_says_so_to_anybody() {
    let served = Served::start().await;
    served.token().await;
    let get = |target| Answer::receive(served.bare(Method::GET, target));
    for (target, text) in [
        ("/healthz", "ok\n"),
        (
            "/readyz",
            &*format!("ready\npolicies {}\n", policies().digest()),
        ),
    ] {
        let answer = get(target).await;
        assert_eq!((answer.status, &*answer.text), (200, text));
        let head = Answer::receive(served.bare(Method::HEAD, target)).await;
        assert_eq!((head.status, &*head.text), (200, ""));
    }
    let metrics = get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    for line in [
        r#"atlasent_decisions_total{action="deploy",decision="allow"} 1"#,
        r#"atlasent_requests_total{endpoint="/v1-evaluate",status="200"} 1"#,
        "atlasent_policies 4",
        "atlasent_chain_sequence 2",
    ] {
        assert!(metrics.text.contains(line), "{line}: {}", metrics.text);
    }
    for target in ["/healthz", "/readyz", "/metrics"] {
        for method in [Method::POST, Method::DELETE] {
            let answer = Answer::receive(served.bare(method, target)).await;
            answer.is_problem(405, "METHOD_NOT_ALLOWED");
            assert!(answer.header("allow").unwrap().contains("GET"), "{target}");
        }
    }
    let closed = server(memory()).settings(settings(|settings| settings.metrics = false));
    let served = Served::run(closed).await;
    Answer::receive(served.bare(Method::GET, "/metrics"))
        .await
        .is_problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn callers_write_nothing_into_the_metrics() {
    let served = Served::start().await;
    for n in 0..250 {
        served.evaluate(&evaluate_body(&format!("junk-{n}"))).await;
    }
    let forged = "x\"} 1\natlasent_forged 7\n#";
    served.evaluate(&evaluate_body(forged)).await;
    served.verify(&json!({"permit_token": forged})).await;
    served.get("/v1-audit/events%0aatlasent_forged").await;
    served.evaluate(&deploy()).await;
    let metrics = Answer::receive(served.bare(Method::GET, "/metrics"))
        .await
        .text;
    assert!(!metrics.contains("forged") && !metrics.contains("junk"));
    for line in [
        r#"atlasent_decisions_total{action="deploy",decision="allow"} 1"#,
        r#"atlasent_decisions_total{action="other",decision="deny"} 251"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn an_action_with_quotes_and_line_breaks_stays_one_label() {
    let policies = r#"permit (principal, action == Action::"a\"b\n\\c", resource);"#;
    let policies = atlasent_authority::Policies::parse(policies).unwrap();
    let served = Served::run(server(LocalAuthority::in_memory(policies).unwrap())).await;
    served.evaluate(&evaluate_body("a\"b\n\\c")).await;
    let metrics = Answer::receive(served.bare(Method::GET, "/metrics"))
        .await
        .text;
    let line = r#"atlasent_decisions_total{action="a\"b\n\\c",decision="allow"} 1"#;
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[tokio::test]
async fn a_request_keeps_its_id_if_it_can_be_one() {
    let served = Served::start().await;
    let ask = async |id: &[u8], target: &str, body: &str| {
        let request = keyed(served.bare(Method::POST, target));
        let request = request.header("x-request-id", HeaderValue::from_bytes(id).unwrap());
        Answer::receive(request.body(body.to_owned())).await
    };
    let long = "a".repeat(128);
    for id in [
        "abcdefgh",
        "0190c6e2-7b8c-7d3e-9f00-aabbccddeeff",
        "A_b.c-D1",
        &*long,
    ] {
        for (target, body, status) in [
            ("/v1-evaluate", &*deploy().to_string(), 200),
            ("/v1-evaluate", "{", 400),
            ("/v1-api-key-self", "{}", 405),
            ("/nowhere", "{}", 404),
        ] {
            let answer = ask(id.as_bytes(), target, body).await;
            assert_eq!(
                (answer.status, answer.header("x-request-id")),
                (status, Some(id)),
                "{target}"
            );
            if status != 200 {
                assert_eq!(answer.json()["request_id"], id);
            }
        }
    }
    let longer = "a".repeat(129);
    for id in [
        &b""[..],
        b"short",
        longer.as_bytes(),
        b"with space",
        b"a\tbcdefgh",
        b"quote\"quote",
        b"<script>alert",
        b"%0d%0aset-cookie:x",
        "ümlaut-ümlaut".as_bytes(),
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        for (target, body) in [
            ("/v1-evaluate", "{"),
            ("/v1-api-key-self", "{}"),
            ("/nowhere", "{}"),
        ] {
            let answer = ask(id, target, body).await;
            let new = answer
                .header("x-request-id")
                .unwrap_or_else(|| panic!("{target}: {answer:?}"));
            assert_ne!(new.as_bytes(), id);
            assert_eq!(new.len(), 36, "{new}");
            // The body has the same id.
            assert_eq!(answer.json()["request_id"], new, "{target}");
        }
    }
    let [one, two] = [
        served.get("/v1-api-key-self").await,
        served.get("/v1-api-key-self").await,
    ];
    assert_ne!(
        one.header("x-request-id").unwrap(),
        two.header("x-request-id").unwrap()
    );
}

#[tokio::test]
async fn where_there_is_nothing_the_answer_is_json_too() {
    let served = Served::start().await;
    for target in [
        "/",
        "/v1-evaluate/",
        "/V1-EVALUATE",
        "/v1-audit",
        "/v1-audit/events/1",
        "/../etc/passwd",
        "//v1-evaluate",
        "/v1%2Devaluate/x",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let request = keyed(served.bare(method, target)).body(deploy().to_string());
            Answer::receive(request).await.is_problem(404, "NOT_FOUND");
        }
    }
    for (target, right, wrong) in [
        (
            "/v1-evaluate",
            "POST",
            [
                Method::GET,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
                Method::PATCH,
            ],
        ),
        (
            "/v1-audit/events",
            "GET",
            [
                Method::POST,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
                Method::PATCH,
            ],
        ),
    ] {
        for method in wrong {
            let answer =
                Answer::receive(keyed(served.bare(method, target)).body(deploy().to_string()))
                    .await;
            answer.is_problem(405, "METHOD_NOT_ALLOWED");
            let allow = answer
                .header("allow")
                .unwrap_or_else(|| panic!("{answer:?}"));
            assert!(allow.contains(right), "{allow}");
        }
    }
    let head = Answer::receive(keyed(served.bare(Method::HEAD, "/v1-evaluate"))).await;
    assert_eq!((head.status, &*head.text), (405, ""));
    let head = Answer::receive(keyed(served.bare(Method::HEAD, "/v1-api-key-self"))).await;
    assert_eq!((head.status, &*head.text), (200, ""));
    assert_eq!(served.events().await.len(), 1);
    let client: Client = served
        .client()
        .base_url(served.url() + "/elsewhere")
        .build()
        .unwrap();
    assert!(client.key_self().await.is_err());
}
