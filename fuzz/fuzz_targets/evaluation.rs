//! Any body as the answer to evaluate: only an allow with a token grants a permit.

#![no_main]

use atlasent::wire::Evaluation;
use atlasent::testing::{MockAuthority, Reply};
use atlasent_fuzz::{ACTION, permit, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Some(answer) = read::<Evaluation>(body) else {
        return;
    };
    let token = answer.permit_token.clone();
    assert_eq!(answer.decision.is_allow(), token.is_some());
    assert!(token.as_ref().is_none_or(|token| !token.is_empty()));

    let authority = MockAuthority::new().on_evaluate(ACTION, Reply::Answer(answer));
    let permit = permit(&authority);
    assert_eq!(
        permit.as_ref().map(|permit| permit.id()),
        token.as_ref().map(|token| token.expose())
    );
});
