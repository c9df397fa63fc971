//! Any headers of an answer: a retry delay, if there is one, can be added to the current time.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use atlasent::testing::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let now = UNIX_EPOCH + Duration::from_secs(1_445_412_480);
    let read = |values: &[&[u8]]| {
        let wait = wire::retry_after(values, now);
        assert!(wait.is_none_or(|wait| now.checked_add(wait).is_some()));
        wait
    };
    let all = read(&lines);
    let first = read(&lines[..1]);
    // Several headers give the delay of the first, or none if they differ.
    assert!(all.is_none() || all == first);

    for reset in lines {
        let limit = wire::rate_limit(b"60", b" 7 ", reset);
        assert!(limit.is_none_or(|limit| limit.reset_at >= UNIX_EPOCH));
        let limit = wire::rate_limit(reset, reset, b"0");
        assert!(limit.is_none_or(|limit| limit.limit == limit.remaining));
    }
});
