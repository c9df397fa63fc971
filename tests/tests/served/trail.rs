//! The events of the audit trail, page by page.

use atlasent::client::EventFilter;
use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority, Decision};
use atlasent_authority::store::{RateCounter, Store};
use atlasent_authority::{LocalAuthority, RedbStore};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::support::{AGENT, Served, Time, evaluate_body, policies, server, with};

/// Starts a server whose chain has 1 event of its policies, then alternating denials and allows,
/// `count` in all, a second apart.
async fn eventful<S: Store + RateCounter>(store: S, count: usize) -> Served {
    let time = Time::new();
    let authority = LocalAuthority::builder(policies())
        .store(store)
        .clock(time.clock());
    let served = Served::run(server(authority.build().await.unwrap())).await;
    for (second, n) in (1..).zip(0..count) {
        time.set(second);
        let action = if n % 2 == 0 { "drop" } else { "deploy" };
        let agent = json!({"actor_id": format!("bot {}", n % 3)});
        assert_eq!(
            served
                .evaluate(&with(evaluate_body(action), &agent))
                .await
                .status,
            200
        );
    }
    served
}

fn sequences(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["sequence"].as_u64().unwrap())
        .collect()
}

async fn pages<S: Store + RateCounter>(store: S) {
    let served = eventful(store, 16).await;
    for limit in [1, 2, 5, 16, 17, 18] {
        let mut all = Vec::new();
        let mut target = format!("/v1-audit/events?limit={limit}");
        loop {
            let page = served.get(&target).await.json();
            assert_eq!(page["total"], 17);
            let here = sequences(&page);
            assert!(!here.is_empty() && here.len() <= limit, "{here:?}");
            all.extend(here);
            match page.get("next_cursor") {
                Some(cursor) => {
                    target = format!(
                        "/v1-audit/events?limit={limit}&cursor={}",
                        cursor.as_str().unwrap()
                    );
                }
                None => break,
            }
        }
        assert_eq!(all, (1..=17).collect::<Vec<_>>(), "{limit}");
    }
    let client = served.client().build().unwrap();
    let filter = EventFilter::default().types(["evaluate.deny"]).limit(3);
    let events: Vec<_> = client
        .audit_event_stream(filter)
        .try_collect()
        .await
        .unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event.envelope.sequence).collect();
    assert_eq!(numbers, [2, 4, 6, 8, 10, 12, 14, 16]);
}

#[tokio::test]
async fn pages_lead_through_all_events_in_their_order() {
    pages(atlasent_authority::MemoryStore::new()).await;
    let folder = tempfile::tempdir().unwrap();
    pages(RedbStore::open(folder.path().join("store")).unwrap()).await;
}

#[tokio::test]
async fn a_page_has_50_events_unless_it_is_told() {
    let served = eventful(atlasent_authority::MemoryStore::new(), 520).await;
    for (query, count) in [
        ("", 50),
        ("?limit=7", 7),
        ("?limit=500", 500),
        ("?limit=501", 500),
        ("?limit=99999", 500),
        ("?limit=", 50),
    ] {
        let page = served.get(&format!("/v1-audit/events{query}")).await.json();
        assert_eq!(sequences(&page).len(), count, "{query}");
        assert_eq!(
            (&page["total"], page["next_cursor"].is_string()),
            (&json!(521), true)
        );
    }
}

#[tokio::test]
async fn a_filter_passes_what_it_says() {
    let served = eventful(atlasent_authority::MemoryStore::new(), 6).await;
    // The policies' event is of 12:00:00, then a denial of :01, an allow of :02, and so on.
    for (query, expected) in [
        ("types=evaluate.deny", &[2, 4, 6][..]),
        ("types=evaluate.deny,policy.loaded", &[1, 2, 4, 6]),
        ("types=evaluate.deny%2C%20policy.loaded", &[1, 2, 4, 6]),
        ("types=stop.set", &[]),
        ("types=", &[1, 2, 3, 4, 5, 6, 7]),
        ("actor_id=bot%200", &[2, 5]),
        ("actor_id=bot+1", &[3, 6]),
        ("actor_id=bot", &[]),
        ("types=evaluate.allow&actor_id=bot+1", &[3]),
        ("from=2026-01-01T12:00:05Z", &[6, 7]),
        ("to=2026-01-01T12:00:01Z", &[1, 2]),
        (
            "from=2026-01-01T12:00:02&to=2026-01-01T14:00:03%2B02:00",
            &[3, 4],
        ),
        ("from=2026-01-02", &[]),
        ("unknown=1", &[1, 2, 3, 4, 5, 6, 7]),
        ("types=evaluate.deny&limit=2&cursor=after_4", &[6]),
        ("cursor=after_99", &[]),
    ] {
        let page = served
            .get(&format!("/v1-audit/events?{query}"))
            .await
            .json();
        assert_eq!(sequences(&page), expected, "{query}");
        if !query.contains("cursor") {
            assert_eq!(page["total"], expected.len(), "{query}");
        }
        assert!(page.get("next_cursor").is_none(), "{query}");
    }
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let served = Served::start().await;
    for (query, code) in [
        ("limit=0", "INVALID_QUERY"),
        ("limit=-1", "INVALID_QUERY"),
        ("limit=ten", "INVALID_QUERY"),
        ("limit=99999999999999999999999", "INVALID_QUERY"),
        ("cursor=x", "INVALID_QUERY"),
        ("cursor=after_", "INVALID_QUERY"),
        ("cursor=after_-1", "INVALID_QUERY"),
        ("cursor=after_99999999999999999999999", "INVALID_QUERY"),
        ("actor_id=%ff", "INVALID_QUERY"),
        ("actor_id%ff=a", "INVALID_QUERY"),
        ("%74ypes=nothing", "INVALID_QUERY"),
        ("types=nothing", "INVALID_QUERY"),
        ("types=evaluate.deny,evaluate", "INVALID_QUERY"),
        ("from=yesterday", "INVALID_TIME"),
        ("to=2026-13-01", "INVALID_TIME"),
        ("from=1767268800", "INVALID_TIME"),
    ] {
        let answer = served.get(&format!("/v1-audit/events?{query}")).await;
        answer.is_problem(400, code);
    }
}

#[tokio::test]
async fn an_unknown_type_is_refused_with_the_one_that_was_meant() {
    let served = Served::start().await;
    let get = served.get("/v1-audit/events?types=evaluate.allow,evaluate.denied");
    let get = get.await;
    let wanted = json!({"types": ["evaluate.denied"]});
    let post = served.post("/v1-audit/exports", &wanted).await;
    get.is_problem(400, "INVALID_QUERY");
    post.is_problem(422, "INVALID_FIELD");
    for answer in [get, post] {
        assert!(
            answer.text.contains("did you mean `evaluate.deny`?"),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains("evaluate.denied"), "{}", answer.text);
    }
}

#[tokio::test]
async fn lists_and_names_have_their_limits() {
    let served = Served::start().await;
    let types = |count| vec!["stop.set"; count].join(",");
    let name = |length| "\u{fc}".repeat(length);
    for (wanted, good) in [
        (json!({"types": types(64)}), true),
        (json!({"types": types(65)}), false),
        (json!({"types": vec!["stop.set"; 65]}), false),
        (json!({"actor_id": name(256)}), true),
        (json!({"actor_id": name(257)}), false),
    ] {
        let status = served.post("/v1-audit/exports", &wanted).await.status;
        assert_eq!(status, if good { 200 } else { 422 }, "{wanted}");
        let fields = wanted.as_object().unwrap().iter();
        for (field, value) in fields.filter_map(|(field, value)| Some((field, value.as_str()?))) {
            let target = format!("/v1-audit/events?{field}={value}");
            let status = served.get(&target).await.status;
            assert_eq!(status, if good { 200 } else { 400 }, "{target}");
        }
    }
}

/// Events of almost 2 MiB: JSON within JSON escapes each quote.
async fn big_events(served: &Served, count: usize) {
    let text = "\"".repeat(500_000);
    for _ in 0..count {
        let context = json!({"context": {"environment": "production", "text": text}});
        assert_eq!(
            served
                .evaluate(&with(evaluate_body("deploy"), &context))
                .await
                .status,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_holds_8_mb_and_the_cursor_leads_to_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let authority = LocalAuthority::builder(policies())
        .store(RedbStore::open(folder.path().join("store")).unwrap())
        .record_context(true);
    let served = Served::run(server(authority.build().await.unwrap())).await;
    big_events(&served, 12).await;
    let (mut target, mut all, mut count) = ("/v1-audit/events".to_owned(), Vec::new(), 0);
    loop {
        let page = served.get(&target).await;
        assert!(page.text.len() <= 8_000_000, "{}", page.text.len());
        let json = page.json();
        assert_eq!(json["total"], 13);
        assert!(!sequences(&json).is_empty());
        all.extend(sequences(&json));
        count += 1;
        let Some(cursor) = json["next_cursor"].as_str() else {
            break;
        };
        target = format!("/v1-audit/events?cursor={cursor}");
    }
    assert_eq!(all, (1..=13).collect::<Vec<_>>());
    assert!(count > 3, "{count}");
    let client = served.client().build().unwrap();
    let events = client.audit_event_stream(EventFilter::default().limit(500));
    assert_eq!(events.try_collect::<Vec<_>>().await.unwrap().len(), 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_does_not_fit_on_a_page_is_on_the_next_one() {
    let authority = LocalAuthority::builder(policies()).record_context(true);
    let authority = authority.build().await.unwrap();
    // Requests over HTTP are smaller than these.
    for length in [4_100_000, 4_100_000, 9_000_000] {
        let action = AnyAction::new("deploy").unwrap();
        let action = action.with_field("text", &"x".repeat(length)).unwrap();
        let request = EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action).unwrap();
        let evaluation = authority.evaluate(&request).await.unwrap();
        assert_eq!(evaluation.decision, Decision::Allow);
    }
    let served = Served::run(server(authority)).await;
    let mut cursor = String::new();
    for (sequences_of_page, next) in [
        (&[1, 2][..], Some("after_2")),
        (&[3], Some("after_3")),
        (&[4], None),
    ] {
        let page = served.get(&format!("/v1-audit/events{cursor}")).await;
        let has_large_event = sequences_of_page.contains(&4);
        assert_eq!(page.text.len() > 8_000_000, has_large_event);
        let page = page.json();
        assert_eq!(sequences(&page), sequences_of_page);
        assert_eq!(page["next_cursor"].as_str(), next);
        cursor = format!("?cursor={}", next.unwrap_or_default());
    }
    let client = served.client().build().unwrap();
    let events = client.audit_event_stream(EventFilter::default());
    assert_eq!(events.try_collect::<Vec<_>>().await.unwrap().len(), 4);
}
