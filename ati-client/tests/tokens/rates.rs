//! Rates, under a clock that the test controls.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use ati_client::{Claims, Error, RateLimiter, RateSpec, RateStore, RateUnit, RateWindow};
use futures_executor::block_on;

use crate::support::{NOW, at, good, verify, with};

fn claims(sub: &str, rates: &[(&str, &str)]) -> Claims {
    let claims = Claims::builder(sub);
    let claims = rates.iter().fold(claims, |claims, (pattern, spec)| {
        claims.rate(*pattern, spec.parse().unwrap())
    });
    claims.build().unwrap()
}

/// Returns the time `milliseconds` after the test began.
fn after(milliseconds: u64) -> SystemTime {
    at(NOW) + Duration::from_millis(milliseconds)
}

fn check(
    limiter: &RateLimiter,
    claims: &Claims,
    scope: &str,
    now: SystemTime,
) -> Result<(), Error> {
    block_on(limiter.check(claims, scope, now))
}

fn exceeded(pattern: &str, milliseconds: u64) -> Result<(), Error> {
    Err(Error::RateExceeded {
        pattern: pattern.to_owned(),
        retry_after: Some(Duration::from_millis(milliseconds)),
    })
}

#[test]
fn a_rate_is_written_in_one_way_and_read_in_several() {
    for (unit, names) in [
        (RateUnit::Second, &["s", "sec", "second"][..]),
        (RateUnit::Minute, &["m", "min", "minute"]),
        (RateUnit::Hour, &["h", "hr", "hour"]),
        (RateUnit::Day, &["d", "day"]),
    ] {
        for name in names {
            let rate: RateSpec = format!("10/{name}").parse().unwrap();
            assert_eq!(rate, RateSpec::new(10, unit));
            assert_eq!(rate.to_string().parse(), Ok(rate));
            assert_eq!(rate.to_string(), format!("10/{}", names[names.len() - 1]));
        }
    }
    assert_eq!("0/s".parse(), Ok(RateSpec::new(0, RateUnit::Second)));
    assert_eq!(
        "18446744073709551615/s".parse(),
        Ok(RateSpec::new(u64::MAX, RateUnit::Second))
    );
    for no_rate in [
        "",
        "/",
        "10",
        "10/",
        "/hour",
        "10/Hour",
        "10/hours",
        "10/week",
        "-1/hour",
        "+1/hour",
        "1.5/hour",
        "1e3/hour",
        " 10/hour",
        "10 /hour",
        "10/ hour",
        "10/hour ",
        "10/hour/2",
        "ten/hour",
        "18446744073709551616/s",
        "１/s",
        "10\\hour",
    ] {
        assert!(
            matches!(no_rate.parse::<RateSpec>(), Err(Error::BadRate { .. })),
            "{no_rate:?}"
        );
    }
}

#[test]
fn no_more_calls_than_the_rate_pass_in_any_unit_of_time() {
    let limiter = RateLimiter::new(10);
    let agent = claims("a", &[("tool:a", "2/s")]);
    let call = |ms| check(&limiter, &agent, "tool:a", after(ms));
    assert_eq!(call(0), Ok(()));
    assert_eq!(call(600), Ok(()));
    assert_eq!(call(600), exceeded("tool:a", 400));
    assert_eq!(call(999), exceeded("tool:a", 1));
    // The first call was exactly one second ago, so it has left the window.
    assert_eq!(call(1000), Ok(()));
    assert_eq!(call(1000), exceeded("tool:a", 600));
    assert_eq!(call(1600), Ok(()));
    assert_eq!(call(1601), exceeded("tool:a", 399));
}

#[test]
fn a_caller_that_retries_when_told_is_admitted() {
    for spec in ["1/s", "3/m", "7/h", "2/day", "1000/minute"] {
        let limiter = RateLimiter::new(10);
        let agent = claims("a", &[("*", spec)]);
        let (mut now, mut waits) = (at(NOW), 0);
        for _ in 0..2500 {
            match check(&limiter, &agent, "tool:a", now) {
                Ok(()) => now += Duration::from_millis(7),
                Err(Error::RateExceeded {
                    retry_after: Some(wait),
                    ..
                }) => {
                    waits += 1;
                    now += wait;
                    assert_eq!(check(&limiter, &agent, "tool:a", now), Ok(()), "{spec}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(waits > 0, "{spec}");
    }
}

/// Counts the accepted calls in the last unit, as the definition of a rate does.
#[test]
fn no_window_ever_holds_more_than_the_rate() {
    for (limit, step) in [(1, 97), (5, 31), (256, 3), (257, 3), (600, 1)] {
        let limiter = RateLimiter::new(10);
        let agent = claims("a", &[("tool:a", &format!("{limit}/s"))]);
        let mut through: Vec<u64> = Vec::new();
        let (mut now, mut refused) = (0, 0);
        for n in 0..4000u64 {
            // Uneven steps make calls fall on the edges of a window and between them.
            now = now.max(n * step + (n * n) % 5);
            let last = through.iter().filter(|at| now - **at < 1000).count();
            let is_through = check(&limiter, &agent, "tool:a", after(now)).is_ok();
            assert!(
                !(is_through && last >= limit),
                "{limit}/s let through {} at {now}",
                last + 1
            );
            // Up to 256 calls are counted to the microsecond. Above, a call may have to wait for
            // up to a 256th of the unit longer.
            let late = through.iter().filter(|at| now - **at < 1004).count();
            assert!(
                is_through || late >= limit,
                "{limit}/s refused {last} at {now}"
            );
            match is_through {
                true => through.push(now),
                false => refused += 1,
            }
        }
        assert!(refused > 0 && through.len() > limit, "{limit}/s");
    }
}

#[test]
fn every_matching_pattern_counts_and_a_refused_call_counts_in_none() {
    let limiter = RateLimiter::new(10);
    let agent = claims(
        "a",
        &[("tool:*", "3/m"), ("tool:a", "1/s"), ("skill:*", "0/s")],
    );
    let call = |scope, ms| check(&limiter, &agent, scope, after(ms));
    assert_eq!(call("tool:a", 0), Ok(()));
    for ms in [1, 2, 3, 4] {
        assert_eq!(call("tool:a", ms), exceeded("tool:a", 1000 - ms));
    }
    // If the refused calls were counted, this call would be refused.
    assert_eq!(call("tool:b", 10), Ok(()));
    assert_eq!(call("tool:b", 20), Ok(()));
    assert_eq!(call("tool:b", 30), exceeded("tool:*", 59_970));
    // The error names the rate with the longest wait.
    assert_eq!(call("tool:a", 40), exceeded("tool:*", 59_960));
    // A scope that no pattern covers is not limited.
    for _ in 0..100 {
        assert_eq!(call("help", 50), Ok(()));
    }
}

#[test]
fn a_rate_of_nothing_never_lets_through_and_says_so() {
    let limiter = RateLimiter::new(10);
    let agent = claims("a", &[("tool:a", "0/s"), ("tool:*", "1/s")]);
    for ms in [0, 5000] {
        assert_eq!(
            check(&limiter, &agent, "tool:a", after(ms)),
            Err(Error::RateExceeded {
                pattern: "tool:a".to_owned(),
                retry_after: None
            })
        );
    }
    assert_eq!(check(&limiter, &agent, "tool:b", after(0)), Ok(()));
}

#[test]
fn a_rate_follows_its_tool_under_every_name() {
    for (pattern, called) in [
        ("tool:github:*", "tool:github:search"),
        ("tool:github_*", "tool:github:search"),
        ("tool:github:*", "tool:github_search"),
        ("tool:github:search", "tool:github_search"),
        ("tool:github:search", "tool:github__search"),
        ("tool:github:*", "tool:github__search"),
        ("tool:my_hub:find_all", "tool:my_hub_find_all"),
        ("tool:my_hub:find_all", "tool:my_hub__find_all"),
    ] {
        let limiter = RateLimiter::new(10);
        let agent = claims("a", &[(pattern, "1/s")]);
        assert_eq!(check(&limiter, &agent, called, after(0)), Ok(()));
        assert_eq!(
            check(&limiter, &agent, called, after(1)),
            exceeded(pattern, 999),
            "{called}"
        );
    }
    let limiter = RateLimiter::new(10);
    let agent = claims("a", &[("tool:github:*", "1/s")]);
    assert_eq!(
        check(&limiter, &agent, "tool:github:search", after(0)),
        Ok(())
    );
    assert_eq!(
        check(&limiter, &agent, "tool:github_search", after(0)),
        exceeded("tool:github:*", 1000)
    );
    for other in [
        "tool:gitlab:search",
        "tool:git_hub:search",
        "skill:github_search",
        "tool:github",
    ] {
        for _ in 0..3 {
            assert_eq!(check(&limiter, &agent, other, after(0)), Ok(()), "{other}");
        }
    }
}

#[test]
fn calls_are_counted_for_a_subject_over_all_its_tokens() {
    let limiter = RateLimiter::new(10);
    let [first, second] = [(); 2].map(|()| claims("a", &[("tool:a", "1/s")]));
    let other = claims("b", &[("tool:a", "1/s")]);
    assert_ne!(first.jti(), second.jti());
    assert_eq!(check(&limiter, &first, "tool:a", after(0)), Ok(()));
    assert_eq!(
        check(&limiter, &second, "tool:a", after(0)),
        exceeded("tool:a", 1000)
    );
    assert_eq!(check(&limiter, &other, "tool:a", after(0)), Ok(()));
    // Different subjects and patterns count separately even if their concatenations are equal.
    let [x, y] =
        [("a", "b:c"), ("ab", ":c")].map(|(sub, pattern)| claims(sub, &[(pattern, "1/s")]));
    assert_eq!(check(&limiter, &x, "b:c", after(0)), Ok(()));
    assert_eq!(check(&limiter, &y, ":c", after(0)), Ok(()));
}

#[test]
fn a_token_with_a_lower_rate_waits_for_what_an_earlier_one_used() {
    let limiter = RateLimiter::new(10);
    let (high, low) = (claims("a", &[("*", "3/s")]), claims("a", &[("*", "1/s")]));
    for ms in [0, 100, 200] {
        assert_eq!(check(&limiter, &high, "x", after(ms)), Ok(()));
    }
    assert_eq!(check(&limiter, &low, "x", after(300)), exceeded("*", 900));
    assert_eq!(check(&limiter, &high, "x", after(300)), exceeded("*", 700));
    assert_eq!(check(&limiter, &low, "x", after(1200)), Ok(()));
}

#[test]
fn one_rate_that_cannot_be_read_refuses_the_token() {
    let limiter = RateLimiter::new(10);
    let ati = serde_json::json!({"v": 1, "rate": {"tool:b": "10/fortnight"}});
    // ATI's own issuers can write such a token, so it is accepted, but it allows no call.
    let agent = verify(&with("ati", ati)).unwrap();
    assert_eq!(
        check(&limiter, &agent, "tool:a", after(0)),
        Err(Error::BadRate {
            spec: "10/fortnight".to_owned()
        })
    );
    let agent = verify(&crate::support::token(&good())).unwrap();
    assert_eq!(check(&limiter, &agent, "tool:a", after(0)), Ok(()));
    for scope in ["", "tool:a b"] {
        assert!(matches!(
            check(&limiter, &agent, scope, after(0)),
            Err(Error::BadScope { .. })
        ));
    }
}

#[test]
fn a_full_limiter_forgets_who_is_out_of_the_window_and_nobody_else() {
    let limiter = RateLimiter::new(2);
    let agent = |sub: &str| {
        claims(
            sub,
            &[("tool:a", "5/s"), ("tool:b", "5/s"), ("tool:c", "5/s")],
        )
    };
    assert_eq!(check(&limiter, &agent("a"), "tool:a", after(0)), Ok(()));
    assert_eq!(check(&limiter, &agent("b"), "tool:a", after(300)), Ok(()));
    assert_eq!(
        check(&limiter, &agent("c"), "tool:a", after(400)),
        Err(Error::RateLimiterFull {
            retry_after: Duration::from_millis(600)
        })
    );
    // Agents that have a window may go on calling.
    assert_eq!(check(&limiter, &agent("b"), "tool:a", after(900)), Ok(()));
    assert_eq!(check(&limiter, &agent("c"), "tool:a", after(1000)), Ok(()));
    assert_eq!(
        check(&limiter, &agent("a"), "tool:a", after(1000)),
        Err(Error::RateLimiterFull {
            retry_after: Duration::from_millis(900)
        })
    );
}

#[test]
fn a_clock_that_is_set_back_gives_nothing_away() {
    let limiter = RateLimiter::new(10);
    let agent = claims("a", &[("tool:a", "1/m")]);
    assert_eq!(check(&limiter, &agent, "tool:a", after(120_000)), Ok(()));
    assert_eq!(
        check(&limiter, &agent, "tool:a", after(0)),
        exceeded("tool:a", 60_000)
    );
    assert_eq!(
        check(&limiter, &agent, "tool:a", SystemTime::UNIX_EPOCH),
        exceeded("tool:a", 60_000)
    );
    assert_eq!(check(&limiter, &agent, "tool:a", after(180_000)), Ok(()));
}

#[test]
fn no_time_is_too_far_away_to_count_at() {
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
    for spec in ["1/s", "300/day"] {
        let limiter = RateLimiter::new(10);
        let agent = claims("a", &[("*", spec)]);
        assert_eq!(check(&limiter, &agent, "x", far), Ok(()));
    }
}

#[test]
fn a_token_with_a_shorter_unit_makes_nothing_forgotten() {
    let limiter = RateLimiter::new(10);
    let (slow, fast) = (claims("a", &[("*", "2/m")]), claims("a", &[("*", "9/s")]));
    assert_eq!(check(&limiter, &slow, "x", after(0)), Ok(()));
    assert_eq!(check(&limiter, &slow, "x", after(0)), Ok(()));
    for ms in [5000, 9000] {
        assert_eq!(check(&limiter, &fast, "x", after(ms)), Ok(()));
        assert_eq!(
            check(&limiter, &slow, "x", after(ms)),
            exceeded("*", 60_000 - ms)
        );
    }
}

#[test]
fn of_many_calls_at_once_as_many_get_through_as_the_rate_has_room_for() {
    let limiter = RateLimiter::new(10);
    let agent = claims("a", &[("tool:*", "100/m"), ("tool:a", "70/m")]);
    let start = Barrier::new(8);
    let through: usize = thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    (0..50)
                        .filter(|_| check(&limiter, &agent, "tool:a", after(0)).is_ok())
                        .count()
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum()
    });
    assert_eq!(through, 70);
    // The refused calls did not count against the other pattern.
    let left = (0..50)
        .filter(|_| check(&limiter, &agent, "tool:b", after(0)).is_ok())
        .count();
    assert_eq!(left, 30);
}

#[test]
fn another_store_can_count_and_what_it_cannot_count_is_not_let_through() {
    struct Broken;
    impl RateStore for Broken {
        async fn count_call(&self, windows: &[RateWindow<'_>], _: SystemTime) -> Result<(), Error> {
            let reason = windows
                .iter()
                .map(|window| format!("{} {} {}", window.subject, window.pattern, window.rate));
            Err(Error::RateStoreFailed {
                reason: reason.collect(),
            })
        }
    }
    let limiter = RateLimiter::with_store(Broken);
    let agent = claims("a", &[("tool:*", "100/m"), ("skill:*", "1/s")]);
    let refusal = block_on(limiter.check(&agent, "tool:a", after(0)));
    assert_eq!(
        refusal,
        Err(Error::RateStoreFailed {
            reason: "a tool:* 100/minute".to_owned()
        })
    );
    assert_eq!(block_on(limiter.check(&agent, "help", after(0))), Ok(()));
}

/// Records the patterns of each call to count.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<Vec<Vec<String>>>>);

impl RateStore for Counted {
    async fn count_call(&self, windows: &[RateWindow<'_>], _: SystemTime) -> Result<(), Error> {
        let patterns = windows.iter().map(|window| window.pattern.to_owned());
        self.0.lock().unwrap().push(patterns.collect());
        Ok(())
    }
}

fn check_all(
    limiter: &RateLimiter,
    claims: &Claims,
    scopes: &[&str],
    now: SystemTime,
) -> Result<(), Error> {
    block_on(limiter.check_all(claims, scopes, now))
}

#[test]
fn every_rate_that_covers_any_required_scope_counts_one_call_once() {
    let counted = Counted::default();
    let limiter = RateLimiter::with_store(counted.clone());
    let rates = ["*", "audit", "skill:*", "tool:*", "tool:x", "tool:y"];
    let agent = claims("a", &rates.map(|pattern| (pattern, "9/m")));
    for (scopes, patterns) in [
        (&["tool:x"][..], &["*", "tool:*", "tool:x"][..]),
        (&["tool:x", "audit"], &["*", "audit", "tool:*", "tool:x"]),
        (&["audit", "tool:x"], &["*", "audit", "tool:*", "tool:x"]),
        (
            &["tool:x", "tool:y", "tool:x"],
            &["*", "tool:*", "tool:x", "tool:y"],
        ),
        (&["help"], &["*"]),
        (&[], &["*"]),
    ] {
        block_on(limiter.check_all(&agent, scopes, after(0))).unwrap();
        let mut found = counted.0.lock().unwrap().pop().unwrap();
        found.sort();
        assert_eq!(found, patterns, "{scopes:?}");
    }
}

#[test]
fn a_call_that_one_of_its_scopes_has_no_room_for_is_counted_for_none() {
    let limiter = RateLimiter::new(10);
    let agent = claims("a", &[("tool:x", "5/d"), ("audit", "1/d")]);
    let both = ["tool:x", "audit"];
    assert_eq!(check_all(&limiter, &agent, &both, after(0)), Ok(()));
    for _ in 0..10 {
        let refusal = check_all(&limiter, &agent, &both, after(0));
        assert_eq!(refusal, exceeded("audit", 86_400_000));
    }
    let left = (0..9).filter(|_| check(&limiter, &agent, "tool:x", after(0)).is_ok());
    assert_eq!(left.count(), 4);
}

#[test]
fn an_invalid_scope_is_an_error_wherever_it_stands() {
    let limiter = RateLimiter::new(10);
    let agent = claims("a", &[("*", "1/d")]);
    for scopes in [["tool:x", ""], ["", "tool:x"], ["tool:x", "tool:y tool:z"]] {
        let refusal = check_all(&limiter, &agent, &scopes, after(0));
        assert!(
            matches!(refusal, Err(Error::BadScope { .. })),
            "{refusal:?}"
        );
    }
    // None of these calls was counted.
    assert_eq!(check_all(&limiter, &agent, &["tool:x"], after(0)), Ok(()));
}
