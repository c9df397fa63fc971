//! What the cases share.

use atlasent::Error;
use atlasent::testing::{Call, MockAuthority};
use serde_json::Value;

/// The last question to the authority whether something may be done, as it stands on the wire.
pub(crate) fn asked(authority: &MockAuthority) -> Value {
    let calls = authority.calls();
    let question = calls.iter().rev().find_map(|call| match call {
        Call::Evaluate(request) => Some(request),
        _ => None,
    });
    serde_json::to_value(question.expect("the authority was not asked")).unwrap()
}

/// Whether the authority refused, so that the body did not run.
pub(crate) fn refused<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Denied(_)))
}
