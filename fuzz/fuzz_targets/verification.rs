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
    let is = |word: &Option<String>, known: &[&str]| {
        word.as_deref().is_none_or(|word| known.contains(&word))
    };
    let is_consistent_yes = answer.valid
        && answer.verify_error_code.is_none()
        && is(&answer.outcome, &["allow", "verified"])
        && is(&answer.decision, &["allow"])
        && is(&answer.action_type, &[ACTION])
        && is(&answer.actor_id, &[AGENT]);

    let authority = MockAuthority::new().on_verify(ACTION, Reply::Answer(answer));
    assert_eq!(permit(&authority).is_some(), is_consistent_yes);
});
