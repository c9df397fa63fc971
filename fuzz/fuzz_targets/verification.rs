//! Any body as the answer to verify: only a yes without a contradiction grants a permit.

#![no_main]

use atlasent::wire::Verification;
use atlasent::testing::{MockAuthority, Reply};
use atlasent_fuzz::{ACTION, AGENT, permit, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Some(answer) = read::<Verification>(body) else {
        return;
    };
    let is = |word: Option<&str>, known: &[&str]| word.is_none_or(|word| known.contains(&word));
    let is_consistent_yes = answer.valid
        && answer.verify_error_code.is_none()
        && is(answer.outcome.as_deref(), &["allow", "verified"])
        && is(answer.decision.as_deref(), &["allow"])
        && is(answer.action_type.as_deref(), &[ACTION])
        && is(answer.actor_id.as_deref(), &[AGENT]);

    let authority = MockAuthority::new().on_verify(ACTION, Reply::Answer(answer));
    assert_eq!(permit(&authority).is_some(), is_consistent_yes);
});
