//! Functions that several fuzz targets use.

use std::fmt::Debug;

use atlasent::testing::MockAuthority;
use atlasent::{AnyAction, Permit, blocking};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The action that the targets ask for.
pub const ACTION: &str = "deploy";
/// The agent that asks.
pub const AGENT: &str = "deploy-bot";

/// Reads an answer as the client does, and asserts that it reads the same after it is written.
pub fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let answer: T = serde_json::from_slice(body).ok()?;
    let written = serde_json::to_vec(&answer).expect("an answer can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, answer);
    Some(answer)
}

/// Returns the permit, if the authority's answers grant one.
pub fn permit(authority: &MockAuthority) -> Option<Permit> {
    let action = AnyAction::new(ACTION).expect("a name");
    blocking::protect(authority, AGENT, action).ok()
}

/// Splits an input into a first byte and a body. Returns the body, whole and in pieces whose sizes
/// the first byte chooses.
pub fn pieces(input: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let (seed, body) = input.split_first()?;
    let mut rest = body;
    let mut state = *seed;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(29).wrapping_add(17);
        let (piece, after) = rest.split_at(usize::from(state % 13).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    Some((body, pieces))
}
