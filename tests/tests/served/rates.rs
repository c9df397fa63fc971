//! The call rate of an API key, and its headers on every answer.

use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, MemoryStore};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    Answer, KEY, Served, Time, deploy, evaluate_body, keyed, memory, policies, stored,
};

const OTHER: &str = "ask_test_the-other";

fn limited(limit: u64) -> Server<MemoryStore> {
    let mut key = stored(KEY);
    key.rate_limit_per_minute = limit;
    Server::new(
        memory(),
        ApiKeys::new([key, stored(OTHER)]),
        KeyRing::in_memory().unwrap(),
    )
}

fn rate(answer: &Answer) -> Option<[i64; 3]> {
    let names = [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ];
    let values = names.map(|name| answer.header(name)?.parse().ok());
    let [Some(limit), Some(remaining), Some(reset)] = values else {
        assert_eq!(values, [None; 3]);
        return None;
    };
    Some([limit, remaining, reset])
}

/// Returns the answers to a number of calls, all within one minute.
async fn calls(limit: u64, count: usize) -> (Served, Vec<Answer>) {
    loop {
        let served = Served::run(limited(limit)).await;
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(served.evaluate(&deploy()).await);
        }
        let reset = |answer: &Answer| rate(answer).unwrap()[2];
        if reset(&answers[0]) == reset(answers.last().unwrap()) {
            return (served, answers);
        }
    }
}

#[tokio::test]
async fn a_key_is_good_for_so_many_calls_a_minute() {
    let (served, answers) = calls(3, 5).await;
    for (n, answer) in answers.iter().enumerate() {
        let [limit, remaining, reset] = rate(answer).unwrap();
        assert_eq!((limit, remaining), (3, [2, 1, 0, 0, 0][n]));
        let left = reset - Timestamp::now().as_second();
        assert!((-1..=60).contains(&left), "{left}");
        if n < 3 {
            assert_eq!(answer.status, 200);
            continue;
        }
        answer.is_problem(429, "RATE_LIMITED");
        let wait: i64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Another key has another count.
    let request = served
        .bare(Method::POST, "/v1-evaluate")
        .header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {OTHER}"));
    assert_eq!(
        Answer::receive(request.body(deploy().to_string()))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn every_answer_to_a_known_key_tells_its_rate() {
    let served = Served::run(limited(1_000)).await;
    let token = json!({"permit_token": "x", "decision_id": "x"});
    let answers = [
        served.evaluate(&deploy()).await,
        served.evaluate(&evaluate_body("drop")).await,
        served.evaluate(&json!({})).await,
        served.post_text("/v1-evaluate", "{").await,
        served
            .post_text("/v1-evaluate", vec![b' '; 1024 * 1024 + 1])
            .await,
        served.post("/v1-evaluate-stream", &deploy()).await,
        served.verify(&token).await,
        served.post("/v1-revoke-permit", &token).await,
        served.get("/v1-api-key-self").await,
        served.get("/v1-signing-keys").await,
        served.get("/v1-audit/events").await,
        served.get("/v1-audit/events?limit=x").await,
        served.post("/v1-audit/exports", &json!({})).await,
        served.get("/v1-evaluate").await,
    ];
    for answer in answers {
        assert_eq!(
            rate(&answer).map(|[limit, ..]| limit),
            Some(1_000),
            "{answer:?}"
        );
    }
    // An unauthenticated caller has no rate.
    let unknown = served.bare(Method::POST, "/v1-evaluate").body("{}");
    assert_eq!(rate(&Answer::receive(unknown).await), None);
    for open in ["/healthz", "/readyz", "/metrics", "/nowhere"] {
        assert_eq!(
            rate(&Answer::receive(keyed(served.bare(Method::GET, open))).await),
            None
        );
    }
}

#[tokio::test]
async fn rates_and_the_ends_of_keys_go_by_the_clock_of_the_authority() {
    let time = Time::new();
    let authority = LocalAuthority::builder(policies()).clock(time.clock());
    let authority = authority.build().await.unwrap();
    let mut key = stored(KEY);
    key.rate_limit_per_minute = 2;
    key.expires_at = Some(Timestamp::from_second(Time::NOON + 3_600).unwrap());
    let ring = KeyRing::in_memory().unwrap();
    let served = Served::run(Server::new(authority, ApiKeys::new([key]), ring)).await;
    let ask = async |second| {
        time.set(second);
        served.evaluate(&deploy()).await
    };
    for second in [10, 59] {
        let answer = ask(second).await;
        assert_eq!(answer.status, 200);
        assert_eq!(rate(&answer).unwrap()[2], Time::NOON + 60);
    }
    let refused = ask(50).await;
    refused.is_problem(429, "RATE_LIMITED");
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert_eq!(ask(60).await.status, 200);
    assert_eq!(ask(3_599).await.status, 200);
    ask(3_600).await.is_problem(401, "INVALID_API_KEY");
}
