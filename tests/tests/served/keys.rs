//! API keys: which callers the server accepts, for which endpoints, and from which networks.

use std::fs;

use atlasent_authority::keys::{ApiKey, ApiScope, KeyFile};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::json;
use tower::ServiceExt;

use crate::support::{Answer, KEY, Served, deploy, memory, ms, settings, stored, token_of, with};

const OTHER: &str = "ask_live_another-key_1";

fn server(keys: impl IntoIterator<Item = ApiKey>) -> Server<atlasent_authority::MemoryStore> {
    Server::new(memory(), ApiKeys::new(keys), KeyRing::in_memory().unwrap())
}

/// Returns [`KEY`] with a change.
fn changed(change: impl FnOnce(&mut ApiKey)) -> ApiKey {
    let mut key = stored(KEY);
    change(&mut key);
    key
}

async fn evaluate_with(served: &Served, authorization: &[&str], target: &str) -> Answer {
    let mut request = served
        .bare(Method::POST, target)
        .header(CONTENT_TYPE, "application/json");
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    Answer::receive(request.body(deploy().to_string())).await
}

/// Each endpoint that needs a scope, with a valid body.
fn scoped() -> [(ApiScope, Method, &'static str); 6] {
    [
        (ApiScope::Evaluate, Method::POST, "/v1-evaluate"),
        (ApiScope::Evaluate, Method::POST, "/v1-evaluate-stream"),
        (ApiScope::Verify, Method::POST, "/v1-verify-permit"),
        (ApiScope::Revoke, Method::POST, "/v1-revoke-permit"),
        (ApiScope::AuditRead, Method::GET, "/v1-audit/events"),
        (ApiScope::AuditExport, Method::POST, "/v1-audit/exports"),
    ]
}

fn all_fields() -> String {
    with(deploy(), &json!({"decision_id": "x", "reason": "y"})).to_string()
}

#[tokio::test]
async fn without_a_good_key_nobody_gets_in() {
    let served = Served::start().await;
    let bearer = format!("Bearer {KEY}");
    let missing: [&[&str]; 8] = [
        &[],
        &[""],
        &["Bearer"],
        &[KEY],
        &[&format!("Basic {KEY}")],
        &[&bearer, &bearer],
        &[&bearer, "Bearer x"],
        &[&format!("Bearer{KEY}")],
    ];
    for sent in missing {
        let answer = evaluate_with(&served, sent, "/v1-evaluate").await;
        answer.is_problem(401, "MISSING_API_KEY");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let lower = KEY.to_uppercase();
    for key in [
        "",
        "x",
        OTHER,
        &KEY[..KEY.len() - 1],
        &lower,
        &format!("{KEY}x"),
        &format!("{KEY} {KEY}"),
        &format!("{KEY},{KEY}"),
    ] {
        let answer = evaluate_with(&served, &[&format!("Bearer {key}")], "/v1-evaluate").await;
        assert_eq!(answer.status, 401, "{key}: {}", answer.text);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.header("x-ratelimit-limit"), None);
    }
    // A key in the query or in the body is not accepted.
    let target = format!("/v1-evaluate?api_key={KEY}&authorization=Bearer%20{KEY}");
    evaluate_with(&served, &[], &target)
        .await
        .is_problem(401, "MISSING_API_KEY");
    let request = served
        .bare(Method::POST, "/v1-evaluate")
        .header(CONTENT_TYPE, "application/json");
    let request = request.body(with(deploy(), &json!({"api_key": KEY})).to_string());
    Answer::receive(request)
        .await
        .is_problem(401, "MISSING_API_KEY");
    token_of(&evaluate_with(&served, &[&format!("bearer {KEY}")], "/v1-evaluate").await);
    assert_eq!(served.count("evaluate.allow").await, 1);
}

#[tokio::test]
async fn each_endpoint_wants_a_key() {
    let served = Served::start().await;
    let more = [
        (ApiScope::Evaluate, Method::GET, "/v1-api-key-self"),
        (ApiScope::Evaluate, Method::GET, "/v1-signing-keys"),
    ];
    for (_, method, target) in scoped().into_iter().chain(more) {
        let request = served
            .bare(method, target)
            .header(CONTENT_TYPE, "application/json");
        Answer::receive(request.body(all_fields()))
            .await
            .is_problem(401, "MISSING_API_KEY");
    }
}

#[tokio::test]
async fn a_key_is_good_for_its_scopes_alone() {
    for scope in ApiScope::ALL {
        let served = Served::run(server([changed(|key| key.scopes = vec![scope])])).await;
        for (wanted, method, target) in scoped() {
            let request = crate::support::keyed(served.bare(method, target));
            let answer = Answer::receive(request.body(all_fields())).await;
            if wanted == scope {
                assert_eq!(answer.status, 200, "{scope} {target}: {}", answer.text);
            } else {
                answer.is_problem(403, "INSUFFICIENT_SCOPE");
                assert!(answer.text.contains(wanted.as_str()), "{}", answer.text);
            }
        }
        // Every caller with an API key may call these two endpoints.
        for target in ["/v1-api-key-self", "/v1-signing-keys"] {
            assert_eq!(served.get(target).await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_refused() {
    let now = Timestamp::now();
    let hour = SignedDuration::from_hours(1);
    for bad in [
        changed(|key| key.revoked_at = Some(now)),
        changed(|key| key.expires_at = Some(now)),
        changed(|key| key.expires_at = Some(now - hour)),
    ] {
        let served = Served::run(server([bad])).await;
        served
            .evaluate(&deploy())
            .await
            .is_problem(401, "INVALID_API_KEY");
    }
    let served = Served::run(server([changed(|key| key.expires_at = Some(now + hour))])).await;
    token_of(&served.evaluate(&deploy()).await);
}

#[tokio::test]
async fn wrong_keys_are_throttled_and_the_right_one_is_not() {
    let served = Served::start().await;
    let mut statuses = Vec::new();
    for n in 0..200 {
        let wrong = format!("Bearer ask_test_guess-{n}");
        let answer = evaluate_with(&served, &[&wrong], "/v1-evaluate").await;
        if answer.status == 429 {
            answer.is_problem(429, "TOO_MANY_WRONG_KEYS");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            assert!(!answer.text.contains("guess"));
            // A valid key works in between.
            token_of(&served.evaluate(&deploy()).await);
        } else {
            answer.is_problem(401, "INVALID_API_KEY");
        }
        statuses.push(answer.status);
    }
    // At most one minute boundary passes meanwhile.
    let throttled = statuses.iter().filter(|status| **status == 429).count();
    assert!((80..=140).contains(&throttled), "{throttled}");
    // Requests without a key do not count as guesses.
    let missing = evaluate_with(&served, &[], "/v1-evaluate").await;
    missing.is_problem(401, "MISSING_API_KEY");
}

#[tokio::test]
async fn a_key_is_good_from_its_networks_alone() {
    let from = |networks: &[&str]| {
        let networks = networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        server([changed(|key| key.allowed_cidrs = networks)])
    };
    for networks in [
        &["10.0.0.0/8"][..],
        &["::1/128"],
        &["::/0"],
        &["::ffff:10.0.0.0/104"],
    ] {
        let served = Served::run(from(networks)).await;
        let answer = served.evaluate(&deploy()).await;
        answer.is_problem(403, "IP_NOT_ALLOWED");
        // A thief cannot use up the key's rate from elsewhere either.
        assert_eq!(answer.header("x-ratelimit-remaining"), None);
    }
    for networks in [
        &["10.0.0.0/8", "127.0.0.0/8"][..],
        &["::ffff:127.0.0.0/104"],
    ] {
        let served = Served::run(from(networks)).await;
        token_of(&served.evaluate(&deploy()).await);
    }
}

#[tokio::test]
async fn a_client_whose_address_is_unknown_is_in_no_network() {
    // In another server, without a socket that reports its peer.
    let ask = async |key: ApiKey, method: &str, target: &str| {
        let request = http::Request::builder().method(method).uri(target);
        let request = request
            .header(AUTHORIZATION, format!("Bearer {KEY}"))
            .header(CONTENT_TYPE, "application/json")
            .body(axum::body::Body::from(deploy().to_string()))
            .unwrap();
        let response = server([key]).into_router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    for network in ["0.0.0.0/0", "0.0.0.0/32", "::/0", "::ffff:0.0.0.0/96"] {
        let key = changed(|key| key.allowed_cidrs = vec![network.parse().unwrap()]);
        let (status, body) = ask(key, "POST", "/v1-evaluate").await;
        assert_eq!(status, 403, "{network}: {body}");
        assert!(body.contains("IP_NOT_ALLOWED"), "{body}");
    }
    let (status, body) = ask(stored(KEY), "POST", "/v1-evaluate").await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = ask(stored(KEY), "GET", "/v1-api-key-self").await;
    assert!(status == 200 && !body.contains("client_ip"), "{body}");
}

#[tokio::test]
async fn a_proxy_is_believed_if_it_is_trusted() {
    let ask = async |served: &Served, forwarded: &str| {
        let request = crate::support::keyed(served.bare(Method::POST, "/v1-evaluate"));
        let request = request.header("x-forwarded-for", forwarded);
        Answer::receive(request.body(deploy().to_string())).await
    };
    let inside = || changed(|key| key.allowed_cidrs = vec!["10.0.0.0/8".parse().unwrap()]);
    let served = Served::run(server([inside()])).await;
    ask(&served, "10.1.2.3")
        .await
        .is_problem(403, "IP_NOT_ALLOWED");

    let trusting =
        settings(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let served = Served::run(server([inside()]).settings(trusting)).await;
    token_of(&ask(&served, "10.1.2.3").await);
    token_of(&ask(&served, "192.0.2.1, 10.1.2.3, 127.0.0.9").await);
    for forwarded in [
        "10.1.2.3:4711",
        "[::ffff:10.1.2.3]",
        "[::ffff:10.1.2.3]:4711",
    ] {
        token_of(&ask(&served, forwarded).await);
    }
    for forwarded in ["192.0.2.1", "10.1.2.3, 192.0.2.1", "10.1.2.3, x"] {
        ask(&served, forwarded)
            .await
            .is_problem(403, "IP_NOT_ALLOWED");
    }
    // A forged line of the client is not trusted when the proxy's next line is damaged.
    let request = crate::support::keyed(served.bare(Method::POST, "/v1-evaluate"))
        .header("x-forwarded-for", "10.1.2.3")
        .header(
            "x-forwarded-for",
            HeaderValue::from_bytes(b"caf\xe9").unwrap(),
        );
    let answer = Answer::receive(request.body(deploy().to_string())).await;
    answer.is_problem(403, "IP_NOT_ALLOWED");
}

#[tokio::test]
async fn a_key_in_a_body_has_to_be_the_one_of_the_header() {
    let served = Served::run(server([stored(KEY), stored(OTHER)])).await;
    for target in [
        "/v1-evaluate",
        "/v1-evaluate-stream",
        "/v1-verify-permit",
        "/v1-revoke-permit",
    ] {
        let body = |key: &str| with(deploy(), &json!({"api_key": key, "permit_token": "x"}));
        assert_eq!(
            served.post(target, &body(KEY)).await.status,
            200,
            "{target}"
        );
        assert_eq!(served.post(target, &body("")).await.status, 200, "{target}");
        for other in [OTHER, "hunter2"] {
            let answer = served.post(target, &body(other)).await;
            answer.is_problem(401, "API_KEY_MISMATCH");
            assert!(!answer.text.contains(other));
        }
    }
}

#[tokio::test]
async fn a_body_with_the_key_of_another_caller_changes_nothing_at_any_endpoint() {
    let all = changed(|key| key.scopes = ApiScope::ALL.to_vec());
    let served = Served::run(server([all, stored(OTHER)])).await;
    let granted = served.evaluate(&deploy()).await.json();
    let id = granted["permit_id"].as_str().unwrap();
    let of_permit = |verb: &str| format!("/v1/permits/{id}/{verb}");
    let everything = json!({"all": true, "reason": "x"});
    let receipt =
        json!({"permit_token": granted["permit_token"], "outcome": "completed", "duration_ms": 1});
    let question = json!({"agent_id": "bot", "escalation_reason": "r"});
    let before = served.events().await;
    for (target, body) in [
        ("/v1/stops".to_owned(), everything.clone()),
        ("/v1/permits/revoke".to_owned(), everything.clone()),
        (of_permit("revoke"), json!({})),
        (of_permit("verify"), json!({})),
        (of_permit("complete"), receipt),
        ("/v1/hitl".to_owned(), question),
        ("/v1-audit/exports".to_owned(), json!({})),
        ("/v1/store/backup".to_owned(), json!({})),
        (
            "/v1/evaluate/batch".to_owned(),
            json!({"items": [deploy()]}),
        ),
    ] {
        let body = with(body, &json!({"api_key": OTHER}));
        let answer = served.post(&target, &body).await;
        answer.is_problem(401, "API_KEY_MISMATCH");
    }
    assert_eq!(served.events().await, before);

    let own = with(everything, &json!({"api_key": KEY}));
    let stop = served.post("/v1/stops", &own).await;
    assert_eq!(stop.status, 200, "{}", stop.text);
    let stop = stop.json()["id"].as_str().unwrap().to_owned();
    let lift = served
        .bare(Method::DELETE, &format!("/v1/stops/{stop}"))
        .header(AUTHORIZATION, format!("Bearer {KEY}"))
        .header(CONTENT_TYPE, "application/json")
        .body(json!({"reason": "over", "api_key": OTHER}).to_string());
    let answer = Answer::receive(lift).await;
    answer.is_problem(401, "API_KEY_MISMATCH");
    assert_eq!(served.count("stop.lifted").await, 0);
}

#[tokio::test]
async fn a_new_key_is_known_at_its_first_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.json"));
    let keys = ApiKeys::default().with_file(file.clone()).await.unwrap();
    let served = Served::run(Server::new(memory(), keys, KeyRing::in_memory().unwrap())).await;
    for n in 0..5 {
        let key = format!("ask_test_new-key-{n}");
        file.add(stored(&key)).unwrap();
        let bearer = format!("Bearer {key}");
        let answer = evaluate_with(&served, &[&bearer], "/v1-evaluate").await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text);
        // A quarter of a second after a read, unknown keys may ask for the next one.
        tokio::time::sleep(ms(300)).await;
    }
}

#[tokio::test]
async fn a_key_file_that_changes_is_read_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.json"));
    file.add(stored(OTHER)).unwrap();
    let book = ApiKeys::default().with_file(file.clone()).await.unwrap();
    let served = Served::run(Server::new(memory(), book, KeyRing::in_memory().unwrap())).await;
    let other = format!("Bearer {OTHER}");
    assert_eq!(
        evaluate_with(&served, &[&other], "/v1-evaluate")
            .await
            .status,
        200
    );
    served
        .evaluate(&deploy())
        .await
        .is_problem(401, "INVALID_API_KEY");

    file.add(stored(KEY)).unwrap();
    file.revoke(&stored(OTHER).key_id).unwrap();
    tokio::time::timeout(ms(20_000), async {
        while served.evaluate(&deploy()).await.status != 200 {
            tokio::time::sleep(ms(50)).await;
        }
    })
    .await
    .unwrap();
    evaluate_with(&served, &[&other], "/v1-evaluate")
        .await
        .is_problem(401, "INVALID_API_KEY");

    // An unreadable key file changes nothing.
    fs::write(file.path(), "[{").unwrap();
    tokio::time::sleep(ms(1_500)).await;
    token_of(&served.evaluate(&deploy()).await);
}
