use super::*;

fn builder() -> ClientBuilder {
    Client::builder().api_key("ask_test_0123456789")
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn settings_that_cannot_hold_are_refused() {
    assert!(builder().build().is_ok());
    for wrong in [
        builder().timeout(Duration::ZERO),
        builder().timeout(Duration::MAX),
        builder().deadline(Duration::ZERO),
        builder().deadline(Duration::MAX),
        builder().timeout(secs(31)).deadline(secs(30)),
        builder().deadline(secs(30)).timeout(secs(31)),
        builder().max_retries(MAX_RETRIES + 1),
        builder().retry_backoff(MAX_BACKOFF + Duration::from_nanos(1)),
        builder().cache(DecisionCache::new(secs(30), 0)),
        builder().cache(DecisionCache::new(Duration::ZERO, 8)),
        builder().user_agent_suffix("a\nb"),
        builder().base_url("http://api.atlasent.io"),
        builder().base_url("https://user:hunter2@api.atlasent.io"),
        builder().api_key("ask_test_"),
        builder().bearer_token("e30.e30.c2ln"),
        Client::builder().bearer_token("e30 e30"),
        builder().require_schema("5e0c"),
    ] {
        let shown = format!("{wrong:?}");
        let Err(Error::Config(why)) = wrong.build() else {
            panic!("{shown}");
        };
        assert!(!why.message().contains("hunter2"), "{why}");
    }
}

#[test]
fn a_deadline_that_is_not_set_has_room_for_all_attempts_and_waits() {
    let deadline = |builder: ClientBuilder| builder.limits().unwrap().deadline;
    for (builder, expected) in [
        (builder(), 30_000),
        (builder().timeout(secs(2)), 30_000),
        // Three attempts, half a second and one between them.
        (builder().timeout(secs(10)), 31_500),
        (builder().timeout(secs(60)), 181_500),
        (builder().timeout(secs(60)).max_retries(0), 60_000),
        (builder().max_retries(5), 60_000 + 15_500),
        (builder().retry_backoff(MAX_BACKOFF), 62_000),
        (builder().deadline(secs(5)), 5_000),
        (builder().deadline(secs(5)).max_retries(100), 5_000),
        (builder().timeout(secs(60)).deadline(secs(60)), 60_000),
    ] {
        let shown = format!("{builder:?}");
        let expected = Duration::from_millis(expected);
        assert_eq!(deadline(builder), expected, "{shown}");
    }
    assert!(
        builder()
            .timeout(MAX_LIMIT)
            .max_retries(100)
            .build()
            .is_ok()
    );
}

#[test]
fn a_second_call_replaces_what_the_first_one_set() {
    let twice = Client::builder()
        .api_key("ask_test_a")
        .base_url("https://a.example.com")
        .timeout(secs(1))
        .deadline(secs(10))
        .max_retries(1)
        .retry_backoff(secs(1))
        .cache(DecisionCache::new(secs(1), 1))
        .snapshot_source("a")
        .user_agent_suffix("a")
        .export_limit(1)
        .stream_limit(1)
        .api_key("ask_test_b")
        .base_url("https://b.example.com")
        .timeout(secs(2))
        .deadline(secs(20))
        .max_retries(2)
        .retry_backoff(secs(2))
        .cache(DecisionCache::new(secs(2), 2))
        .snapshot_source("b")
        .user_agent_suffix("b")
        .export_limit(2)
        .stream_limit(2);
    assert_eq!(twice.cache, Some(DecisionCache::new(secs(2), 2)));
    let Client { shared } = twice.build().unwrap();
    let transport = &shared.transport;
    assert_eq!(transport.credential.expose(), "ask_test_b");
    assert_eq!(
        format!("{:?}", transport.endpoint),
        r#""https://b.example.com""#
    );
    let user_agent = transport.headers["user-agent"].to_str().unwrap();
    assert!(user_agent.ends_with(" b"));
    let limits = &transport.limits;
    assert_eq!((limits.timeout, limits.deadline), (secs(2), secs(20)));
    assert_eq!((limits.max_retries, limits.backoff), (2, secs(2)));
    assert_eq!(shared.snapshot_source.as_deref(), Some("b"));
    assert_eq!((shared.export_limit, shared.stream_limit), (2, 2));
}

#[test]
fn a_bearer_token_takes_the_place_of_the_api_key() {
    let builder = Client::builder()
        .base_url("https://a.example.com")
        .bearer_token("e30.e30.hunter1")
        .bearer_token("e30.e30.hunter2");
    assert!(!format!("{builder:?}").contains("hunter"), "{builder:?}");
    let client = builder.build().unwrap();
    assert!(!format!("{client:?}").contains("hunter"), "{client:?}");
    let credential = &client.shared.transport.credential;
    assert_eq!(credential.expose(), "e30.e30.hunter2");
    assert_eq!(credential.as_api_key(), None);
}

#[test]
fn debug_shows_no_secret() {
    let client = builder().build().unwrap();
    let builder = builder()
        .base_url("https://user:hunter2@host")
        .http_client(reqwest::Client::builder().user_agent("hunter2"));
    for text in [
        format!("{client:?}"),
        format!("{builder:?}"),
        format!("{:?}", builder.base_url("https://host/?hunter2")),
    ] {
        assert!(!text.contains("0123456789"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn the_user_agent_says_who_and_which_version() {
    let agent = user_agent(Some("my-service/1.2")).unwrap();
    assert_eq!(
        agent,
        format!("atlasent-rust/{} my-service/1.2", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn an_unset_variable_is_none() {
    assert_eq!(variable("ATLASENT_NO_SUCH_VARIABLE").unwrap(), None);
}
