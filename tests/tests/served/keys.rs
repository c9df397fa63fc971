//! Who gets in, for what, from where, and how often.

use atlasent_authority::server::KeyBook;
use atlasent_authority::{KeyFile, LocalAuthority, Scope};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::stage::{Set, Stage, new_key, policies};

const ENDPOINTS: [(&str, &str); 8] = [
    ("POST", "/v1-evaluate"),
    ("POST", "/v1-evaluate-stream"),
    ("POST", "/v1-verify-permit"),
    ("POST", "/v1-revoke-permit"),
    ("GET", "/v1-api-key-self"),
    ("GET", "/v1-signing-keys"),
    ("GET", "/v1-audit/events"),
    ("POST", "/v1-audit/exports"),
];

#[tokio::test]
async fn nobody_gets_in_without_a_key_that_is_known() {
    let stage = Stage::usual().await;
    let other = format!("Bearer {}x", stage.key);
    let in_query = format!("?api_key={}", stage.key);
    for (method, path) in ENDPOINTS {
        for (authorization, code) in [
            (None, "MISSING_API_KEY"),
            (Some("Bearer".to_owned()), "MISSING_API_KEY"),
            (Some(format!("Basic {}", stage.key)), "MISSING_API_KEY"),
            (Some(stage.key.clone()), "MISSING_API_KEY"),
            (Some("Bearer ".to_owned()), "MISSING_API_KEY"),
            (Some(other.clone()), "INVALID_API_KEY"),
            (Some("Bearer ask_test_".to_owned()), "INVALID_API_KEY"),
        ] {
            let mut request = stage.request(method, &format!("{path}{in_query}"));
            if let Some(authorization) = &authorization {
                request = request.header("authorization", authorization);
            }
            let body = json!({ "action_type": "deploy", "actor_id": "bot", "api_key": stage.key })
                .to_string();
            let said = stage
                .send(
                    request
                        .header("content-type", "application/json")
                        .body(body),
                )
                .await;
            assert_eq!(said.code(), (401, code), "{path} {authorization:?}");
            assert_eq!(said.header("www-authenticate"), "Bearer");
            assert!(!said.text.contains("ask_test"), "{}", said.text);
        }
        let twice = stage
            .request(method, path)
            .bearer_auth(&stage.key)
            .bearer_auth(&stage.key);
        assert_eq!(stage.send(twice).await.status, 401, "{path}");
    }
    assert_eq!(stage.events("evaluate.allow").await, 0);
}

#[tokio::test]
async fn the_scheme_is_written_as_anybody_likes() {
    let stage = Stage::usual().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let request = stage
            .request("GET", "/v1-api-key-self")
            .header("authorization", format!("{scheme} {}", stage.key));
        assert_eq!(stage.send(request).await.status, 200);
    }
}

#[tokio::test]
async fn a_key_in_the_body_is_the_one_of_the_header_or_a_refusal() {
    let stage = Stage::usual().await;
    for (path, mut body) in [
        (
            "/v1-evaluate",
            json!({ "action_type": "deploy", "actor_id": "bot" }),
        ),
        (
            "/v1-evaluate-stream",
            json!({ "action": "deploy", "agent": "bot" }),
        ),
        ("/v1-verify-permit", json!({ "permit_token": "x" })),
        ("/v1-revoke-permit", json!({ "decision_id": "x" })),
    ] {
        body["api_key"] = json!(stage.key);
        assert_eq!(stage.post(path, &body).await.status, 200, "{path}");
        body["api_key"] = json!("ask_test_another");
        assert_eq!(
            stage.post(path, &body).await.code(),
            (401, "API_KEY_MISMATCH"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_key_is_good_for_its_scopes() {
    for scope in Scope::ALL {
        let stage = Stage::keyed(|key| key.scopes = vec![scope]).await;
        for (path, needs) in [
            ("/v1-evaluate", Scope::Evaluate),
            ("/v1-evaluate-stream", Scope::Evaluate),
            ("/v1-verify-permit", Scope::Verify),
            ("/v1-revoke-permit", Scope::Revoke),
            ("/v1-audit/exports", Scope::AuditExport),
        ] {
            let body = json!({ "action_type": "deploy", "actor_id": "bot", "decision_id": "x", "permit_token": "x" });
            let said = stage.post(path, &body).await;
            match scope == needs {
                true => assert_eq!(said.status, 200, "{path}"),
                false => assert_eq!(
                    said.code(),
                    (403, "INSUFFICIENT_SCOPE"),
                    "{path} with {scope}"
                ),
            }
        }
        let status = stage.get("/v1-audit/events").await.status;
        assert_eq!(status, if scope == Scope::AuditRead { 200 } else { 403 });
        assert_eq!(stage.get("/v1-api-key-self").await.status, 200);
        assert_eq!(stage.get("/v1-signing-keys").await.status, 200);
    }
}

#[tokio::test]
async fn a_key_ends_with_its_time_or_when_it_is_taken_back() {
    let over = Timestamp::now() - SignedDuration::from_secs(1);
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let stage = Stage::keyed(|key| key.expires_at = Some(later)).await;
    let said = stage.get("/v1-api-key-self").await;
    assert!(said.status == 200 && said.body["expires_at"].is_string());
    for stage in [
        Stage::keyed(|key| key.expires_at = Some(over)).await,
        Stage::keyed(|key| key.revoked_at = Some(over)).await,
    ] {
        assert_eq!(
            stage.get("/v1-api-key-self").await.code(),
            (401, "INVALID_API_KEY")
        );
    }
}

#[tokio::test]
async fn a_key_is_good_in_its_networks() {
    let allow = |cidr: &'static str| {
        Stage::keyed(move |key| key.allowed_cidrs = vec![cidr.parse().unwrap()])
    };
    let stage = allow("127.0.0.0/8").await;
    let said = stage.get("/v1-api-key-self").await;
    assert_eq!(
        (said.status, &said.body["client_ip"]),
        (200, &json!("127.0.0.1"))
    );
    assert_eq!(said.body["allowed_cidrs"], json!(["127.0.0.0/8"]));
    let stage = allow("10.0.0.0/8").await;
    assert_eq!(
        stage.get("/v1-api-key-self").await.code(),
        (403, "IP_NOT_ALLOWED")
    );
    // Anybody can write this header.
    let forged = stage
        .request("GET", "/v1-api-key-self")
        .bearer_auth(&stage.key)
        .header("x-forwarded-for", "10.0.0.1");
    assert_eq!(stage.send(forged).await.status, 403);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let (mut key, secret) = new_key();
    key.allowed_cidrs = vec!["10.0.0.0/8".parse().unwrap()];
    let mut set = Set::new(LocalAuthority::in_memory(policies()).unwrap());
    set.keys = KeyBook::of([key]);
    set.settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let stage = set.serve(&secret).await;
    for (forwarded, status) in [
        ("10.0.0.1", 200),
        ("10.0.0.1, 8.8.8.8", 403),
        ("8.8.8.8, 10.0.0.1", 200),
    ] {
        let request = stage
            .request("GET", "/v1-api-key-self")
            .bearer_auth(&stage.key)
            .header("x-forwarded-for", forwarded);
        assert_eq!(stage.send(request).await.status, status, "{forwarded}");
    }
}

#[tokio::test]
async fn every_answer_says_how_much_is_left() {
    let stage = Stage::keyed(|key| key.rate_limit_per_minute = 1_000).await;
    let body = json!({ "action_type": "deploy", "actor_id": "bot" });
    for said in [
        stage.evaluate(body).await,
        stage.evaluate(json!({})).await,
        stage.post_text("/v1-evaluate", "nonsense").await,
        stage.get("/v1-api-key-self").await,
    ] {
        assert_eq!(said.header("x-ratelimit-limit"), "1000");
        let left: u64 = said.header("x-ratelimit-remaining").parse().unwrap();
        assert!((990..1_000).contains(&left));
        let reset: i64 = said.header("x-ratelimit-reset").parse().unwrap();
        let now = Timestamp::now().as_second();
        assert!(now <= reset && reset <= now + 61, "{reset}");
    }
}

#[tokio::test]
async fn a_key_is_good_for_its_rate_and_leaves_others_alone() {
    let (mut one, secret) = new_key();
    one.rate_limit_per_minute = 5;
    let (other, other_secret) = new_key();
    let mut set = Set::new(LocalAuthority::in_memory(policies()).unwrap());
    set.keys = KeyBook::of([one, other]);
    let mut stage = set.serve(&secret).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let said = stage.get("/v1-api-key-self").await;
        if said.status == 429 {
            assert_eq!(said.code(), (429, "RATE_LIMITED"));
            assert_eq!(said.header("x-ratelimit-remaining"), "0");
            let wait: u64 = said.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait));
        }
        statuses.push(said.status);
    }
    // At most one minute ends meanwhile.
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!((5..=10).contains(&answered), "{statuses:?}");
    secrecy::ExposeSecret::expose_secret(&other_secret).clone_into(&mut stage.key);
    assert_eq!(stage.get("/v1-api-key-self").await.status, 200);
}

#[tokio::test]
async fn the_keys_of_a_file_are_those_that_are_in_it_now() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.json"));
    let (key, secret) = new_key();
    let mut set = Set::new(LocalAuthority::in_memory(policies()).unwrap());
    set.keys = KeyBook::default().with_file(file.clone()).await.unwrap();
    let stage = set.serve(&secret).await;
    let until = async |status| {
        for _ in 0..300 {
            if stage.get("/v1-api-key-self").await.status == status {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("not {status}");
    };
    until(401).await;
    file.add(key.clone()).unwrap();
    until(200).await;
    // A file that is no good changes nothing.
    let good = std::fs::read(file.path()).unwrap();
    std::fs::write(file.path(), "{").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(stage.get("/v1-api-key-self").await.status, 200);
    std::fs::write(file.path(), good).unwrap();
    assert!(file.revoke(&key.key_id).unwrap());
    until(401).await;
}
