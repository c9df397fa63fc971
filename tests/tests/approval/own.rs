//! Tests that signed approvals release nothing to the people who signed them.

use atlasent::Decision;
use atlasent::wire::{EvaluateRequest, Evaluation};
use atlasent_authority::{Caller, EvaluateOutcome, LocalAuthority};
use futures_executor::block_on;

use crate::released::{authority, case, request, with_artifact};

const PROGRAM: Caller<'_> = Caller::new("key_program", b"the key of a program");
const ADA: Caller<'_> = Caller::new("key_ada", b"the key of ada").principal("Ada");

fn ask(authority: &LocalAuthority, caller: Caller<'_>, request: &EvaluateRequest) -> Evaluation {
    match block_on(authority.evaluate_for(caller, request, None)).unwrap() {
        EvaluateOutcome::First(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_asks_with_an_approval_that_they_signed() {
    let ada = case(0, "ada");
    let authority = authority(1, ada.issuers());
    let own = ask(&authority, ADA, &with_artifact(&ada));
    assert_eq!(own.decision, Decision::Deny, "{own:?}");
    assert_eq!(own.code.as_deref(), Some("APPROVAL_ARTIFACT_INVALID"));
    let other = ask(&authority, PROGRAM, &with_artifact(&ada));
    assert_eq!(other.decision, Decision::Allow, "{other:?}");
}

#[test]
fn nobody_asks_after_an_approval_that_they_signed() {
    let (ada, bob) = (case(0, "ada"), case(0, "bob"));
    let authority = authority(2, ada.issuers());
    let first = ask(&authority, PROGRAM, &with_artifact(&ada));
    assert_eq!(first.decision, Decision::Hold);
    // Ada's key brings the approval that is missing. It counts, and releases nothing to her.
    for request in [with_artifact(&bob), request()] {
        let own = ask(&authority, ADA, &request);
        assert_eq!(own.code.as_deref(), Some("SELF_APPROVAL"), "{own:?}");
        assert_eq!(own.escalation_id, first.escalation_id);
        assert!(own.permit_token.is_none());
    }
    let other = ask(&authority, PROGRAM, &request());
    assert_eq!(other.decision, Decision::Allow, "{other:?}");
    assert_eq!(other.escalation_id, first.escalation_id);
}
