//! Each operation leaves one event with the fields of the contract.

use std::time::Duration;

use atlasent::audit::Event;
use atlasent::wire::{PermitToken, VerifyRequest};
use atlasent::{Agent, Authority, AuthorityExt};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::story::{PATIENT, Story, answer, fields, payload, request};

fn hex(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asserts that the newest event has this number and type, and at least these fields.
#[track_caller]
fn newest(story: &Story, sequence: u64, kind: &str, says: Value) {
    on_record(&story.newest(), sequence, kind, says);
}

/// Asserts that an event has this number and type, and at least these fields.
#[track_caller]
fn on_record(event: &Event, sequence: u64, kind: &str, says: Value) {
    assert_eq!(
        (event.envelope.sequence, &*event.envelope.kind),
        (sequence, kind)
    );
    let said = fields(event);
    for (key, value) in says.as_object().unwrap() {
        assert_eq!(said.get(key), Some(value), "{key} of {event:?}");
    }
    // The payload repeats agent and type of the envelope.
    let envelope = serde_json::to_value(&event.envelope).unwrap();
    for (key, value) in envelope.as_object().unwrap() {
        assert_eq!(said.get(key), Some(value), "{key} of {event:?}");
    }
    assert_eq!(
        envelope["resource_type"] == "Resource",
        envelope["resource_id"].is_string()
    );
}

#[test]
fn the_start_is_on_record_with_the_policies() {
    let story = Story::begin(false);
    let says = json!({ "policies": ["ask", "bots", "never", "typo", "wait"] });
    newest(&story, 1, "policy.loaded", says);
}

#[test]
fn each_decision_is_on_record_with_what_it_rests_on() {
    let context_hash = hex(&format!(r#"{{"patient":"{PATIENT}"}}"#));
    let cases = [
        (
            "bot",
            "deploy",
            None,
            "allow",
            json!({
            "reason": "permitted by policy `bots`", "policies": ["bots"] }),
        ),
        (
            "intern",
            "deploy",
            None,
            "deny",
            json!({
            "code": "NO_MATCHING_POLICY", "policies": [] }),
        ),
        (
            "bot",
            "drop",
            Some("patients"),
            "deny",
            json!({
            "reason": "never", "code": "NEVER", "policies": ["never"] }),
        ),
        (
            "bot",
            "deploy",
            Some("prod"),
            "hold",
            json!({
            "reason": "wait", "code": "WAIT", "policies": ["wait"] }),
        ),
        (
            "bot",
            "pay",
            None,
            "escalate",
            json!({
            "reason": "forbidden by policy `ask`", "policies": ["ask"] }),
        ),
        (
            "bot",
            "read",
            Some("record-7"),
            "deny",
            json!({
            "reason": "policy `typo` could not be evaluated", "code": "POLICY_EVALUATION_ERROR",
            "policies": ["typo"] }),
        ),
    ];
    let mut story = Story::begin(false);
    let mut sequence = 1;
    for (agent, action, resource, decision, mut says) in cases {
        sequence += 1;
        let evaluation = story.evaluate(&request(agent, action, resource));
        for (key, value) in [
            ("decision", json!(decision)),
            ("actor_id", json!(agent)),
            ("action_type", json!(action)),
            ("context_hash", json!(context_hash)),
        ] {
            says[key] = value;
        }
        if let Some(resource) = resource {
            says["resource_id"] = json!(resource);
        }
        let event = story.newest_decision();
        on_record(&event, sequence, &format!("evaluate.{decision}"), says);
        if let Some(id) = &evaluation.escalation_id {
            sequence += 1;
            assert_eq!(payload(&event, "escalation_id").as_ref(), Some(id));
            let says = json!({ "escalation_id": id, "actor_id": agent, "action_type": action });
            newest(&story, sequence, "approval.requested", says);
        }
        assert_eq!(evaluation.audit_hash.as_ref(), Some(&event.hash));
        assert_eq!(
            evaluation.timestamp.as_ref(),
            Some(&event.envelope.occurred_at)
        );
        assert_eq!(evaluation.request_id.as_ref(), Some(&event.envelope.id));
        assert_eq!(evaluation.expires_at, payload(&event, "expires_at"));
        assert_eq!(evaluation.expires_at.is_some(), decision == "allow");
        let permit = evaluation.permit_token.map(|token| hex(token.expose()));
        assert_eq!(permit, payload(&event, "permit_hash"));
    }
}

#[test]
fn the_options_of_a_request_are_on_record() {
    let mut story = Story::begin(false);
    let options = atlasent::wire::RequestOptions::default()
        .environment("production")
        .request_id("r-17");
    let evaluation = story.evaluate(&request("bot", "deploy", None).with_options(options));
    assert_eq!(evaluation.request_id.as_deref(), Some("r-17"));
    let says = json!({ "environment": "production", "request_id": "r-17" });
    newest(&story, 2, "evaluate.allow", says);

    let shadow = story.evaluate(&request("bot", "deploy", None).shadow(true));
    assert_eq!(shadow.permit_token, None);
    newest(&story, 3, "evaluate.allow", json!({ "shadow": true }));
    let event = story.newest();
    assert!(event.payload.get("permit_hash").is_none());
    assert!(event.payload.get("expires_at").is_none());

    let options = atlasent::wire::RequestOptions::default().require_approval(true);
    story.evaluate(&request("bot", "deploy", None).with_options(options));
    let says = json!({ "code": "APPROVAL_REQUIRED", "decision": "hold" });
    on_record(&story.newest_decision(), 4, "evaluate.hold", says);
}

#[test]
fn each_verification_is_on_record_with_its_permit() {
    let mut story = Story::begin(false);
    let asked = request("bot", "deploy", Some("staging"));
    let token = story.evaluate(&asked).permit_token.unwrap();
    let permit_hash = hex(token.expose());
    let question = VerifyRequest::restating(&asked, token);
    let about = |mut says: Value| {
        says["permit_hash"] = json!(permit_hash);
        says["actor_id"] = json!("bot");
        says["action_type"] = json!("deploy");
        says["resource_id"] = json!("staging");
        says
    };

    let answer = story.verify(&question);
    let says = about(json!({ "presented_by": "bot", "presented_for": "deploy" }));
    newest(&story, 3, "permit.verified", says);
    assert_eq!(answer.permit_hash.as_ref(), Some(&permit_hash));
    assert_eq!(answer.timestamp, Some(story.newest().envelope.occurred_at));

    story.verify(&question);
    let says = about(json!({ "code": "PERMIT_ALREADY_USED", "presented_by": "bot" }));
    newest(&story, 4, "permit.verify_failed", says);

    let mut stolen = question.clone();
    stolen.permit_token = story.evaluate(&asked).permit_token.unwrap();
    stolen.actor_id = Some(Agent::new("intern").unwrap());
    story.verify(&stolen);
    let says = json!({
        "code": "ACTOR_MISMATCH", "presented_by": "intern", "presented_for": "deploy",
        "actor_id": "bot", "action_type": "deploy"
    });
    newest(&story, 6, "permit.verify_failed", says);
}

#[test]
fn a_permit_that_nobody_issued_is_on_record_too() {
    let story = Story::begin(false);
    let unknown = PermitToken::new("permit_0123456789").unwrap();
    let says = json!({ "code": "PERMIT_NOT_FOUND", "permit_hash": hex(unknown.expose()) });
    story.verify(&VerifyRequest::new(unknown.clone()));
    newest(&story, 2, "permit.verify_failed", says);
    let event = story.newest();
    for key in ["actor_id", "action_type", "presented_by", "presented_for"] {
        assert!(event.payload.get(key).is_none(), "{key}");
    }
    story.verify(&VerifyRequest::new(PermitToken::new("").unwrap()));
    newest(
        &story,
        3,
        "permit.verify_failed",
        json!({ "code": "MISSING_PERMIT" }),
    );
    story.revoke(&unknown, "just in case");
    newest(
        &story,
        4,
        "permit.revoked",
        json!({ "revoked": false, "reason": "just in case" }),
    );
}

#[test]
fn each_revocation_is_on_record_with_whether_it_took_anything_back() {
    let mut story = Story::begin(false);
    let token = story
        .evaluate(&request("bot", "deploy", None))
        .permit_token
        .unwrap();
    let mut first = None;
    for (sequence, revoked) in [(3, true), (4, false)] {
        let revocation = story.revoke(&token, "the bot misbehaved");
        let says = json!({
            "revoked": revoked, "reason": "the bot misbehaved", "actor_id": "bot",
            "action_type": "deploy", "permit_hash": hex(token.expose())
        });
        newest(&story, sequence, "permit.revoked", says);
        let event = story.newest();
        assert_eq!(revocation.revoked, revoked);
        assert_eq!(revocation.audit_hash.as_deref(), Some(&*event.hash));
        let at = first.get_or_insert(event.envelope.occurred_at);
        assert_eq!(revocation.revoked_at.as_ref(), Some(&*at));
    }
}

#[test]
fn a_protected_body_can_name_the_events_that_it_rests_on() {
    let story = Story::begin(false);
    let asked = request("bot", "deploy", None);
    let action = atlasent::AnyAction::new("deploy").unwrap();
    let action = action.with_context(asked.context);
    let permit = answer(story.authority.protect("bot", action.clone()));
    let events = story.trail().events;
    assert_eq!(permit.audit_hash(), Some(&*events[1].hash));
    assert_eq!(permit.hash(), payload(&events[2], "permit_hash").as_deref());
    assert_eq!(permit.timestamp(), Some(&*events[2].envelope.occurred_at));
    assert_eq!(
        permit.expires_at(),
        payload(&events[1], "expires_at").as_deref()
    );

    let refused = answer(story.authority.authorize("intern", action));
    let event = story.newest();
    let denied = refused.denied().unwrap();
    assert_eq!(denied.audit_hash(), Some(&*event.hash));
    assert_eq!(denied.evaluation_id(), Some(&*event.envelope.id));
}

#[test]
fn the_trail_is_read_in_pages() {
    let story = Story::with_all_operations(false);
    let whole = story.trail().events;
    for limit in [1, 4, 100] {
        let (mut pages, mut after) = (Vec::new(), 0);
        loop {
            let page = answer(
                story
                    .authority
                    .events(after, limit, &EventFilter::default()),
            );
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit);
            after = last.envelope.sequence;
            pages.extend(page);
        }
        assert_eq!(pages, whole);
    }
}

#[test]
fn the_time_on_record_is_the_clock_s_and_a_permit_lives_as_long_as_it_says() {
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    let noon = jiff::Timestamp::from_second(1_767_268_800).unwrap();
    let authority = answer(
        LocalAuthority::builder(policies)
            .permit_ttl(Duration::from_secs(90))
            .clock(move || noon)
            .build(),
    );
    let action = atlasent::AnyAction::new("deploy").unwrap();
    let agent = Agent::new("bot").unwrap();
    let asked = atlasent::wire::EvaluateRequest::new(agent, &action).unwrap();
    let evaluation = answer(authority.evaluate(&asked));
    assert_eq!(
        evaluation.timestamp.as_deref(),
        Some("2026-01-01T12:00:00.000000Z")
    );
    assert_eq!(
        evaluation.expires_at.as_deref(),
        Some("2026-01-01T12:01:30.000000Z")
    );
}
