//! Tests that a store with sealing keys keeps nothing of a held request's context in the clear, and
//! that no request is approved that its approvers could not see.

use std::path::Path;

use atlasent::wire::Evaluation;
use atlasent::{Agent, Authority, Context, Decision};
use atlasent_authority::approvals::{
    ApprovalEntry, ApprovalError, ApprovalState, Approver, Ballot, EscalationId, NewApproval,
    ShownText, VoteRefusal,
};
use atlasent_authority::policy::ApprovalRule;
use atlasent_authority::sealing::SealingKeys;
use atlasent_authority::store::ApprovalList;
use atlasent_authority::{LocalAuthority, Policies, RedbStore};

use crate::approvals::{HOLDS, request};
use crate::support::now_blocking;

const OLD: &str = "old MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const NEW: &str = "new QUJDREVGR0hJSktMTU5PUEFCQ0RFRkdISUpLTE1OT1A=";

/// A value of the context that must not be found in a sealed store.
const COMMIT: &str = "4f2a-commit-of-the-context";

/// Opens the authority of a folder. No keys leave what approvers see in the clear.
fn open(folder: &Path, keys: &[&str]) -> LocalAuthority<RedbStore> {
    let store = RedbStore::open(folder.join("store")).unwrap();
    let mut builder = LocalAuthority::builder(Policies::parse(HOLDS).unwrap()).store(store);
    if !keys.is_empty() {
        builder = builder.sealing_keys(SealingKeys::parse(&keys.join("\n")).unwrap());
    }
    now_blocking(builder.build())
}

fn ask(authority: &LocalAuthority<RedbStore>) -> Evaluation {
    now_blocking(authority.evaluate(&request(COMMIT)))
}

fn held(authority: &LocalAuthority<RedbStore>) -> EscalationId {
    ask(authority).escalation_id.unwrap().parse().unwrap()
}

fn shown(authority: &LocalAuthority<RedbStore>, id: EscalationId) -> ApprovalEntry {
    now_blocking(authority.approval(id)).unwrap()
}

fn approve(
    authority: &LocalAuthority<RedbStore>,
    id: EscalationId,
    who: &str,
) -> Result<ApprovalEntry, ApprovalError> {
    let ballot = Ballot::approve(Approver::new(who, ["sre"]).unwrap());
    futures_executor::block_on(authority.vote(id, ballot))
}

/// Returns whether a text is in the store's file.
fn is_stored(folder: &Path, text: &str) -> bool {
    let bytes = std::fs::read(folder.join("store")).unwrap();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn a_sealed_store_holds_no_context_and_approvers_see_it() {
    for (keys, in_the_clear) in [(&[][..], true), (&[OLD][..], false)] {
        let folder = tempfile::tempdir().unwrap();
        let authority = open(folder.path(), keys);
        let id = held(&authority);
        let row = shown(&authority, id);
        assert!(row.shown.as_str().unwrap().contains(COMMIT));
        let listed = now_blocking(authority.approvals(ApprovalList::Open, u64::MAX, 10));
        assert_eq!(listed, [row]);
        // Every answer shows it: the vote, and the decision that its question joins.
        let voted = approve(&authority, id, "alice").unwrap();
        assert!(voted.shown.as_str().unwrap().contains(COMMIT));
        assert_eq!(held(&authority), id);
        approve(&authority, id, "bob").unwrap();
        assert_eq!(ask(&authority).decision, Decision::Allow);
        drop(authority);
        assert_eq!(is_stored(folder.path(), COMMIT), in_the_clear);
        // The agent and the action are in the clear, since decisions are listed by them.
        assert!(is_stored(folder.path(), "four-eyes"));
    }
}

#[test]
fn a_decision_opened_by_hand_is_sealed_too() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), &[OLD]);
    let proposed = Context::parse(&format!(r#"{{"note": "{COMMIT}"}}"#)).unwrap();
    let agent = Agent::new("bot").unwrap();
    let new = NewApproval::new(agent, "please look", proposed, ApprovalRule::new("by hand"));
    let row = now_blocking(authority.request_approval(new));
    assert!(row.shown.as_str().unwrap().contains(COMMIT));
    assert_eq!(shown(&authority, row.id), row);
    drop(authority);
    assert!(!is_stored(folder.path(), COMMIT));
}

#[test]
fn without_its_key_a_request_is_hidden_and_can_only_be_rejected() {
    for keys in [&[][..], &[NEW][..], &[&*OLD.replace("MDEy", "MDEz")][..]] {
        let folder = tempfile::tempdir().unwrap();
        let id = held(&open(folder.path(), &[OLD]));
        let authority = open(folder.path(), keys);
        let row = shown(&authority, id);
        assert!(
            matches!(&row.shown, ShownText::Sealed(sealed) if sealed.key_id == "old"),
            "{row:?}"
        );
        let refused = approve(&authority, id, "alice");
        assert!(
            matches!(&refused, Err(ApprovalError::Refused(VoteRefusal::Sealed(key))) if key == "old"),
            "{refused:?}"
        );
        assert_eq!(ask(&authority).decision, Decision::Hold);
        let ballot = Ballot::reject(Approver::new("alice", ["sre"]).unwrap());
        let row = now_blocking(authority.vote(id, ballot));
        assert_eq!(row.state, ApprovalState::Rejected);
        assert_eq!(ask(&authority).decision, Decision::Deny);
    }
}

#[test]
fn after_a_rotation_old_decisions_are_shown_and_new_ones_have_the_new_key() {
    let folder = tempfile::tempdir().unwrap();
    let old = held(&open(folder.path(), &[OLD]));
    let authority = open(folder.path(), &[NEW, OLD]);
    assert!(shown(&authority, old).shown.as_str().is_some());
    approve(&authority, old, "alice").unwrap();
    let later = now_blocking(authority.evaluate(&request("another")));
    let later = later.escalation_id.unwrap().parse().unwrap();
    drop(authority);
    let authority = open(folder.path(), &[NEW]);
    assert!(shown(&authority, old).shown.as_str().is_none());
    assert!(shown(&authority, later).shown.as_str().is_some());
}

#[test]
fn decisions_of_a_store_without_keys_stay_readable_when_keys_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let id = held(&open(folder.path(), &[]));
    let authority = open(folder.path(), &[OLD]);
    assert!(shown(&authority, id).shown.as_str().is_some());
    approve(&authority, id, "alice").unwrap();
}
