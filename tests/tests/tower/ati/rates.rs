//! Tests rates: how often an agent may call, counted for the required scope.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ati_client::{
    Claims, ClaimsBuilder, Error, RateLimiter, RateSpec, RateStore, RateUnit, RateWindow,
};
use atlasent_tests::cases::AGENT;
use atlasent_tower::AtiLayer;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tower::Layer;

use crate::agents::{agent, bearing, hs256, raw_claims, raw_token, token, verifier};
use crate::answer::{Answer, send};
use crate::inner::Inner;
use crate::ways::PATH;

fn layer() -> AtiLayer {
    AtiLayer::new(verifier())
}

fn limited(pattern: &str, calls: u64) -> ClaimsBuilder {
    agent()
        .scope("*")
        .rate(pattern, RateSpec::new(calls, RateUnit::Hour))
}

fn agent_named(name: &str) -> ClaimsBuilder {
    Claims::builder(name).scope("*")
}

fn through<S: RateStore>(layer: &AtiLayer<S>, token: &str) -> Answer {
    let inner = Inner::new();
    let answer = send(layer.layer(inner.clone()), bearing(PATH, token));
    assert_eq!(inner.count() == 1, answer.status == 200, "{answer:?}");
    answer
}

fn statuses<S: RateStore>(layer: &AtiLayer<S>, claims: ClaimsBuilder, calls: usize) -> Vec<u16> {
    let token = token(claims);
    let through = |_| through(layer, &token).status.as_u16();
    (0..calls).map(through).collect()
}

#[test]
fn a_rate_that_is_used_up_is_a_429_that_says_when_to_come_back() {
    let layer = layer().scope("tool:search");
    assert_eq!(statuses(&layer, limited("tool:*", 2), 2), [200, 200]);
    let answer = through(&layer, &token(limited("tool:*", 2)));
    answer.expect_refusal(429, "the rate of `tool:*` is used up", "third");
    let seconds: u64 = answer.header(RETRY_AFTER).unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&seconds), "{seconds}");
    assert_eq!(answer.header(WWW_AUTHENTICATE), None);
}

#[test]
fn a_rate_of_zero_allows_nothing_and_never_will() {
    let layer = layer().scope("tool:search");
    let answer = through(&layer, &token(limited("tool:search", 0)));
    answer.expect_refusal(429, "it allows no call", "zero");
    assert_eq!(answer.header(RETRY_AFTER), None);
    // The rate is for this tool only.
    assert_eq!(statuses(&layer, limited("tool:read", 0), 3), [200; 3]);
}

#[test]
fn calls_are_counted_for_the_scope_that_is_required_wherever_it_is() {
    let rates = Arc::new(RateLimiter::new(100));
    let with = |scope: &str| layer().scope(scope).rates(Arc::clone(&rates));
    let (search, read) = (with("tool:search"), with("tool:read"));
    let claims = || limited("tool:search", 1).rate("tool:read", RateSpec::new(1, RateUnit::Hour));
    assert_eq!(statuses(&search, claims(), 2), [200, 429]);
    assert_eq!(statuses(&read, claims(), 2), [200, 429]);
    // The same scope on another route shares the rate.
    assert_eq!(statuses(&with("tool:search"), claims(), 1), [429]);
    // A rate that covers both is used up by both.
    let over_both = || agent_named("other").rate("tool:*", RateSpec::new(2, RateUnit::Hour));
    assert_eq!(statuses(&search, over_both(), 1), [200]);
    assert_eq!(statuses(&read, over_both(), 2), [200, 429]);
}

#[test]
fn the_rates_of_every_required_scope_count_in_whatever_order_they_are_required() {
    for pattern in ["tool:*", "tool:x", "audit", "a*", "*"] {
        for layer in [
            layer().scope("tool:x").scope("audit"),
            layer().scope("audit").scope("tool:x"),
            layer().scope("tool:x").scope_from(|_| Ok("audit".into())),
            layer().scope_from(|_| Ok("tool:x".into())).scope("audit"),
            layer().scope("audit").scope("help").scope("tool:x"),
        ] {
            let day = RateSpec::new(1, RateUnit::Day);
            let claims = agent().scope("*").rate(pattern, day);
            let statuses = statuses(&layer, claims, 5);
            assert_eq!(statuses, [200, 429, 429, 429, 429], "{pattern}");
        }
    }
}

#[test]
fn a_rate_that_covers_several_required_scopes_counts_a_call_once() {
    let layer = || layer().scope("tool:x").scope("tool:y").scope("tool:x");
    assert_eq!(
        statuses(&layer(), limited("tool:*", 3), 4),
        [200, 200, 200, 429]
    );
    // A call that one rate refuses is not counted for the others.
    let rates = Arc::new(RateLimiter::new(100));
    let claims = limited("tool:x", 1).rate("tool:y", RateSpec::new(2, RateUnit::Hour));
    let both = layer().rates(Arc::clone(&rates));
    assert_eq!(statuses(&both, claims.clone(), 4), [200, 429, 429, 429]);
    let second = AtiLayer::new(verifier()).scope("tool:y").rates(rates);
    assert_eq!(statuses(&second, claims, 2), [200, 429]);
}

#[test]
fn clones_of_a_layer_count_together_and_so_do_its_services() {
    let layer = layer().scope("tool:search");
    let service = layer.layer(Inner::new());
    let token = token(limited("tool:*", 3));
    let services = [
        service.clone(),
        service,
        layer.clone().layer(Inner::new()),
        layer.layer(Inner::new()),
    ];
    let statuses = services.map(|service| send(service, bearing(PATH, &token)).status.as_u16());
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn agents_are_counted_one_by_one() {
    let layer = layer().scope("tool:search");
    let once = RateSpec::new(1, RateUnit::Hour);
    for name in ["a", "b", "c"] {
        assert_eq!(
            statuses(&layer, agent_named(name).rate("*", once), 2),
            [200, 429],
            "{name}"
        );
    }
}

#[test]
fn a_call_that_is_refused_for_its_scope_is_not_counted() {
    let rates = Arc::new(RateLimiter::new(100));
    let with = |scope: &str| layer().scope(scope).rates(Arc::clone(&rates));
    let claims = || {
        agent()
            .scope("tool:search")
            .rate("tool:*", RateSpec::new(1, RateUnit::Hour))
    };
    assert_eq!(statuses(&with("tool:drop"), claims(), 3), [403; 3]);
    assert_eq!(statuses(&with("tool:search"), claims(), 2), [200, 429]);
}

#[test]
fn without_a_required_scope_only_the_rates_for_everything_count() {
    assert_eq!(statuses(&layer(), limited("*", 2), 3), [200, 200, 429]);
    assert_eq!(statuses(&layer(), limited("tool:*", 0), 3), [200; 3]);
    assert_eq!(
        statuses(&layer().optional(), limited("*", 1), 2),
        [200, 429]
    );
}

#[test]
fn a_token_whose_rates_nobody_can_read_is_not_believed() {
    let rate = |rate: &Value| {
        let mut claims = raw_claims();
        claims["ati"] = json!({"v": 1, "rate": rate});
        raw_token(&hs256(), &claims)
    };
    for bad in [
        json!({"tool:search": "ten/hour"}),
        json!({"tool:search": "10"}),
        json!({"tool:search": "-1/hour"}),
        json!({"tool:search": "10/fortnight"}),
        json!({"tool:search": 10}),
        // The rate is for another tool, but an unreadable rate invalidates the token.
        json!({"tool:search": "10/hour", "tool:other": "10/"}),
    ] {
        for layer in [layer(), layer().scope("tool:search"), layer().optional()] {
            let answer = through(&layer, &rate(&bad));
            answer.expect_refusal(401, "", &bad.to_string());
            assert!(answer.headers.contains_key(WWW_AUTHENTICATE), "{bad}");
        }
    }
    let good = rate(&json!({"tool:search": "10/hour"}));
    assert_eq!(through(&layer().scope("tool:search"), &good).status, 200);
}

/// A rate store that records its calls and returns a scripted result.
#[derive(Clone)]
struct Scripted {
    windows: Arc<Mutex<Vec<(String, String)>>>,
    result: Result<(), Error>,
}

impl Scripted {
    fn new(result: Result<(), Error>) -> Self {
        let windows = Arc::default();
        Self { windows, result }
    }
}

impl RateStore for Scripted {
    fn count_call(
        &self,
        windows: &[RateWindow<'_>],
        _: SystemTime,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let taken = windows
            .iter()
            .map(|w| (w.subject.to_owned(), w.pattern.to_owned()));
        self.windows.lock().unwrap().extend(taken);
        ready(self.result.clone())
    }
}

fn counted_by(store: &Scripted) -> AtiLayer<Scripted> {
    let limiter = RateLimiter::with_store(store.clone());
    layer().scope("tool:search").rates(limiter)
}

#[test]
fn a_store_that_fails_is_a_503_that_does_not_say_how() {
    let store = Scripted::new(Err(Error::RateStoreFailed {
        reason: "redis://:hunter2@cache:6379 is down".into(),
    }));
    let answer = through(&counted_by(&store), &token(limited("tool:*", 5)));
    answer.expect_refusal(503, "try again later", "a store that fails");
    assert_eq!(answer.header(RETRY_AFTER), None);
    assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"));
}

#[test]
fn a_limiter_without_room_is_a_503_that_says_when_to_come_back() {
    let once = RateSpec::new(1, RateUnit::Hour);
    let layer = layer().scope("tool:search").rates(RateLimiter::new(1));
    assert_eq!(statuses(&layer, agent_named("a").rate("*", once), 1), [200]);
    let answer = through(&layer, &token(agent_named("b").rate("*", once)));
    answer.expect_refusal(503, "try again later", "no room");
    assert!(answer.header(RETRY_AFTER).is_some());

    let wait = Duration::from_millis(1);
    let store = Scripted::new(Err(Error::RateLimiterFull { retry_after: wait }));
    let answer = through(&counted_by(&store), &token(limited("tool:*", 5)));
    assert_eq!(
        (answer.status.as_u16(), answer.header(RETRY_AFTER)),
        (503, Some("1"))
    );
}

#[test]
fn a_store_counts_what_covers_the_scope_and_nothing_else() {
    let store = Scripted::new(Ok(()));
    let layer = counted_by(&store);
    let once = RateSpec::new(1, RateUnit::Hour);
    let claims = limited("tool:*", 5).rate("*", once).rate("tool:read", once);
    assert_eq!(through(&layer, &token(claims)).status, 200);
    // A token without rates is not counted at all.
    assert_eq!(through(&layer, &token(agent().scope("*"))).status, 200);
    let mut windows = store.windows.lock().unwrap().clone();
    windows.sort();
    let of = |pattern: &str| (AGENT.to_owned(), pattern.to_owned());
    assert_eq!(windows, [of("*"), of("tool:*")]);
}
