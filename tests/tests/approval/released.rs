//! Signed approvals that a request carries release what the policies hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atlasent::approval::{ActionBinding, TrustedIssuers, action_hash};
use atlasent::wire::{EvaluateRequest, Evaluation, RequestOptions, VerifyRequest};
use atlasent::{Agent, AnyAction, Authority, Decision};
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use futures_executor::block_on;
use serde_json::{Value, json};

use crate::case::{Case, Signer, now};
use crate::released_quorum::with_quorum;

/// The reason of a refusal, and what causes it.
type Fault = (&'static str, fn(&mut Case));

fn policies(quorum: u32) -> Policies {
    let text = format!(
        r#"
        permit (principal, action, resource);
        @id("h") @decision("hold") @approvers("role:qa_reviewer") @quorum("{quorum}")
        forbid (principal, action == Action::"deploy.production", resource);
        "#
    );
    Policies::parse(&text).unwrap()
}

pub(crate) fn request() -> EvaluateRequest {
    let action = AnyAction::new("deploy.production").unwrap();
    let action = action.with_resource("cluster-7");
    let action = action.with_field("commit", "4f2a").unwrap();
    let options = RequestOptions::default().environment("production");
    EvaluateRequest::new(Agent::new("deploy-bot").unwrap(), &action)
        .unwrap()
        .with_options(options)
}

/// An approval of [`request`] by a person.
pub(crate) fn case(number: usize, person: &str) -> Case {
    let mut case = Case::numbered(
        number,
        person,
        Signer::Ed25519([3; 32]),
        Signer::Hs256([4; 32]),
    );
    let hash = action_hash(&ActionBinding::from(&request()));
    case.artifact["action_hash"] = json!(hash);
    case.with_assertion(|assertion| assertion["binding"]["action_hash"] = json!(hash));
    case
}

pub(crate) fn carrying(field: &str, value: Value) -> EvaluateRequest {
    let mut request = request();
    match field {
        "approval" => request.options.approval = Some(value),
        _ => request.options.approval_quorum = Some(value),
    }
    request
}

pub(crate) fn with_artifact(case: &Case) -> EvaluateRequest {
    carrying("approval", json!({"artifact": case.signed()}))
}

pub(crate) fn authority(quorum: u32, issuers: TrustedIssuers) -> LocalAuthority {
    let builder = LocalAuthority::builder(policies(quorum))
        .org_id("org-1")
        .clock(now);
    block_on(builder.trusted_issuers(issuers).build()).unwrap()
}

pub(crate) fn ask(authority: &LocalAuthority, request: &EvaluateRequest) -> Evaluation {
    block_on(authority.evaluate(request)).unwrap()
}

pub(crate) fn refused(authority: &LocalAuthority, request: &EvaluateRequest) -> String {
    let answer = ask(authority, request);
    assert_eq!(answer.decision, Decision::Deny, "{answer:?}");
    assert_eq!(
        answer.code.as_deref(),
        Some("APPROVAL_ARTIFACT_INVALID"),
        "{answer:?}"
    );
    assert!(answer.permit_token.is_none());
    answer.reason.unwrap()
}

pub(crate) fn kinds(authority: &LocalAuthority) -> Vec<String> {
    let events = block_on(authority.events(0, 100, &EventFilter::default())).unwrap();
    events
        .into_iter()
        .map(|event| event.envelope.kind)
        .collect()
}

#[test]
fn a_signed_approval_releases_its_request_once() {
    let ada = case(0, "ada");
    let authority = authority(1, ada.issuers());
    let allowed = ask(&authority, &with_artifact(&ada));
    assert_eq!(allowed.decision, Decision::Allow, "{allowed:?}");
    let verify = VerifyRequest::restating(&request(), allowed.permit_token.unwrap());
    assert!(block_on(authority.verify(&verify)).unwrap().valid);
    let expected = [
        "policy.loaded",
        "approval.requested",
        "approval.voted",
        "approval.granted",
        "evaluate.allow",
        "permit.verified",
    ];
    assert_eq!(kinds(&authority), expected);
    assert_eq!(
        refused(&authority, &with_artifact(&ada)),
        "approval replay detected"
    );
    assert_eq!(ask(&authority, &request()).decision, Decision::Hold);
}

#[test]
fn an_approval_that_is_not_good_for_the_request_uses_nothing_up() {
    let ada = case(0, "ada");
    let authority = authority(1, ada.issuers());
    let faults: [Fault; 5] = [
        ("approval tenant mismatch", |case| {
            case.artifact["tenant_id"] = json!("org-2");
        }),
        ("approval does not match this action", |case| {
            case.artifact["action_hash"] = json!("00");
        }),
        ("reviewer must be human", |case| {
            case.artifact["reviewer"]["principal_kind"] = json!("agent");
        }),
        ("approval expired", |case| {
            case.artifact["expires_at"] = json!("2026-11-01T12:10:00Z");
        }),
        ("invalid approval signature", |case| {
            case.signer = Signer::Ed25519([9; 32]);
        }),
    ];
    for (reason, fault) in faults {
        let mut bad = ada.clone();
        fault(&mut bad);
        assert_eq!(refused(&authority, &with_artifact(&bad)), reason);
    }
    for missing in [
        json!({}),
        json!({"artifact": null}),
        json!({"artifact": 7}),
        json!(7),
    ] {
        let request = carrying("approval", missing);
        assert_eq!(refused(&authority, &request), "missing approval artifact");
    }
    let held = ask(&authority, &request()).escalation_id;
    let artifact = ada.signed();
    for unclear in [
        json!({"artifact": artifact, "approval_id": "esc_00000000000000000000000000000000"}),
        json!({"artifact": artifact, "approval_id": held}),
        json!({"artifact": artifact, "approval_id": 7}),
        json!({"artifact": artifact, "x": 1}),
        json!({"artifact": artifact, "x": null}),
        json!({"approval_id": held, "x": 1}),
    ] {
        let request = carrying("approval", unclear);
        assert_eq!(
            refused(&authority, &request),
            "invalid approval artifact version"
        );
    }
    assert!(!kinds(&authority).contains(&"approval.voted".to_owned()));
    assert_eq!(
        ask(
            &authority,
            &carrying(
                "approval",
                json!({"artifact": artifact, "approval_id": null})
            )
        )
        .decision,
        Decision::Allow
    );
}

#[test]
fn without_trusted_issuers_no_signed_approval_counts() {
    let authority = authority(1, TrustedIssuers::default());
    let reason = refused(&authority, &with_artifact(&case(0, "ada")));
    assert_eq!(reason, "untrusted approval issuer");
}

#[test]
fn the_policies_say_whose_approval_counts() {
    let mut reader = case(0, "ada");
    reader.artifact["reviewer"]["roles"] = json!(["reader"]);
    reader.assertion = None;
    let own = case(0, "Deploy-Bot");
    let authority = authority(1, reader.issuers());
    let reason = refused(&authority, &with_artifact(&reader));
    assert!(reason.contains("`ada` cannot decide this"), "{reason}");
    let reason = refused(&authority, &with_artifact(&own));
    assert!(reason.contains("asked for this"), "{reason}");
    assert_eq!(ask(&authority, &request()).decision, Decision::Hold);
}

#[test]
fn approvals_add_up_from_signatures_and_from_approvers_of_the_authority() {
    let ada = case(0, "ada");
    let authority = authority(3, {
        let bob = case(1, "bob");
        let both = json!({"svc-0": ada.trusted["svc-0"], "svc-1": bob.trusted["svc-1"]});
        TrustedIssuers::parse(&both.to_string())
            .and_then(|trusted| {
                let both = json!({"idp-0": ada.trusted_identity["idp-0"], "idp-1": bob.trusted_identity["idp-1"]});
                trusted.identity_issuers(&both.to_string())
            })
            .unwrap()
    });
    let first = ask(&authority, &with_artifact(&ada));
    assert_eq!(first.decision, Decision::Hold);
    let again = ask(&authority, &with_artifact(&ada));
    assert_eq!(
        again.decision,
        Decision::Hold,
        "the same approval again is no replay: {again:?}"
    );
    assert_eq!(first.escalation_id, again.escalation_id);
    let second = ask(&authority, &with_artifact(&case(1, "bob")));
    assert_eq!(
        (second.decision, &second.escalation_id),
        (Decision::Hold, &first.escalation_id)
    );
    let carol = Approver::new("carol", ["qa_reviewer"]).unwrap();
    let id = first.escalation_id.unwrap();
    block_on(authority.vote(id.parse().unwrap(), Ballot::approve(carol))).unwrap();

    let other = carrying(
        "approval",
        json!({"approval_id": "esc_00000000000000000000000000000000"}),
    );
    assert_eq!(
        refused(&authority, &other),
        "approval does not match this action"
    );
    let named = ask(
        &authority,
        &carrying("approval", json!({"approval_id": id})),
    );
    assert_eq!(named.decision, Decision::Allow, "{named:?}");
}

#[test]
fn an_approval_expires_by_the_time_of_the_chain_where_the_clock_was_set_back() {
    let minutes = Arc::new(AtomicI64::new(0));
    let clock = {
        let minutes = Arc::clone(&minutes);
        move || now() + jiff::SignedDuration::from_mins(minutes.load(Ordering::SeqCst))
    };
    let ada = case(0, "ada");
    let builder = LocalAuthority::builder(policies(1)).org_id("org-1");
    let builder = builder.clock(clock).trusted_issuers(ada.issuers());
    let authority = block_on(builder.build()).unwrap();
    // It expires at 13:00, and `now` is 12:10.
    minutes.store(50, Ordering::SeqCst);
    assert_eq!(ask(&authority, &request()).decision, Decision::Hold);
    minutes.store(0, Ordering::SeqCst);
    assert_eq!(
        refused(&authority, &with_artifact(&ada)),
        "approval expired"
    );
    assert_eq!(
        refused(&authority, &with_quorum(&[&ada], 1)),
        "approval quorum entry 0: approval expired"
    );
}

#[test]
fn an_approval_that_expires_between_its_verification_and_the_commit_does_not_count() {
    let (ada, bob) = (case(0, "ada"), case(0, "bob"));
    let mut long = bob.clone();
    long.artifact["expires_at"] = json!("2026-11-01T18:00:00Z");
    for (request, reason) in [
        (with_artifact(&ada), "approval expired"),
        (
            with_quorum(&[&ada, &bob], 2),
            "approval quorum entry 0: approval expired",
        ),
        (
            with_quorum(&[&long, &ada], 2),
            "approval quorum entry 1: approval expired",
        ),
    ] {
        let minutes = Arc::new(AtomicI64::new(0));
        let clock = {
            let minutes = Arc::clone(&minutes);
            move || now() + jiff::SignedDuration::from_mins(minutes.fetch_add(30, Ordering::SeqCst))
        };
        let builder = LocalAuthority::builder(policies(1)).org_id("org-1");
        let builder = builder.clock(clock).trusted_issuers(ada.issuers());
        let authority = block_on(builder.build()).unwrap();
        // It is verified at 12:59, and committed after 13:00.
        minutes.store(49, Ordering::SeqCst);
        assert_eq!(refused(&authority, &request), reason);
    }
}

#[test]
fn an_approval_changes_nothing_for_what_no_policy_holds() {
    let ada = case(0, "ada");
    let authority = authority(1, ada.issuers());
    let deny = r#"forbid (principal, action, resource);"#;
    block_on(authority.replace_policies(Policies::parse(deny).unwrap())).unwrap();
    let denied = ask(&authority, &with_artifact(&ada));
    assert_eq!(denied.decision, Decision::Deny);
    assert_ne!(denied.code.as_deref(), Some("APPROVAL_ARTIFACT_INVALID"));
    let allow = r#"permit (principal, action, resource);"#;
    block_on(authority.replace_policies(Policies::parse(allow).unwrap())).unwrap();
    let mut bad = ada.clone();
    bad.artifact["tenant_id"] = json!("org-2");
    assert_eq!(
        ask(&authority, &with_artifact(&bad)).decision,
        Decision::Allow
    );
}
