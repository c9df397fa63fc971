//! A session of the embedded authority that contains one operation of each kind.

use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, Ordering};

use atlasent::audit::{Event, Trail};
use atlasent::wire::{
    EvaluateRequest, Evaluation, PermitToken, Revocation, Verification, VerifyRequest,
};
use atlasent::{Agent, AnyAction, Authority, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::{Driven, drive};
use jiff::Timestamp;
use serde_json::{Map, Value};

const POLICIES: &str = r#"
    @id("bots") permit (principal == Agent::"bot", action, resource);
    @id("never") @reason("never") @code("NEVER") forbid (principal, action == Action::"drop", resource);
    @id("wait") @decision("hold") @reason("wait") @code("WAIT")
        forbid (principal, action == Action::"deploy", resource == Resource::"prod");
    @id("ask") @decision("escalate") forbid (principal, action == Action::"pay", resource);
    @id("typo") forbid (principal, action == Action::"read", resource) when { context.patient > 5 };
"#;

/// A value that occurs in every context.
pub(crate) const PATIENT: &str = "Jane Doe, born 1980";

/// The authority, and every token that it has issued.
pub(crate) struct Story {
    pub(crate) authority: LocalAuthority,
    pub(crate) tokens: Vec<String>,
}

pub(crate) fn answer<T>(call: impl Future<Output = Result<T, Error>>) -> T {
    match drive(call, 1) {
        Driven::Done(Ok(answer)) => answer,
        Driven::Done(Err(error)) => panic!("{error}"),
        Driven::Pending | Driven::Panicked => panic!("no answer"),
    }
}

/// A clock that starts at 9 o'clock and advances by one second at each reading.
fn clock() -> impl Fn() -> Timestamp + Send + Sync + 'static {
    let seconds = AtomicI64::new(1_767_258_000);
    move || Timestamp::from_second(seconds.fetch_add(1, Ordering::SeqCst)).unwrap()
}

pub(crate) fn request(agent: &str, action: &str, resource: Option<&str>) -> EvaluateRequest {
    let mut action = AnyAction::new(action.to_owned()).unwrap();
    if let Some(resource) = resource {
        action = action.with_resource(resource);
    }
    let action = action.with_field("patient", PATIENT).unwrap();
    EvaluateRequest::new(Agent::new(agent).unwrap(), &action).unwrap()
}

impl Story {
    pub(crate) fn begin(record_context: bool) -> Self {
        let policies = Policies::parse(POLICIES).unwrap();
        let authority = LocalAuthority::builder(policies)
            .clock(clock())
            .record_context(record_context)
            .build();
        Self {
            authority: answer(authority),
            tokens: Vec::new(),
        }
    }

    pub(crate) fn evaluate(&mut self, request: &EvaluateRequest) -> Evaluation {
        let evaluation = answer(self.authority.evaluate(request));
        let token = evaluation.permit_token.iter();
        self.tokens.extend(token.map(|t| t.expose().to_owned()));
        evaluation
    }

    pub(crate) fn verify(&self, question: &VerifyRequest) -> Verification {
        answer(self.authority.verify(question))
    }

    pub(crate) fn revoke(&self, token: &PermitToken, reason: &str) -> Revocation {
        answer(self.authority.revoke(token, reason))
    }

    pub(crate) fn trail(&self) -> Trail {
        answer(self.authority.trail())
    }

    pub(crate) fn newest(&self) -> Event {
        self.trail().events.pop().unwrap()
    }

    /// Returns the newest event of a decision. A hold is followed by the event that asks approvers.
    pub(crate) fn newest_decision(&self) -> Event {
        let mut events = self.trail().events.into_iter().rev();
        let is_decision = |event: &Event| event.envelope.kind.starts_with("evaluate.");
        events.find(is_decision).unwrap()
    }

    /// Performs one operation of each kind: 17 events with the authority's start.
    pub(crate) fn with_all_operations(record_context: bool) -> Self {
        let mut story = Self::begin(record_context);
        let allowed = request("bot", "deploy", Some("staging"));
        let token = story.evaluate(&allowed).permit_token.unwrap();
        let question = VerifyRequest::restating(&allowed, token);
        assert!(story.verify(&question).valid);
        assert!(!story.verify(&question).valid);

        let token = story.evaluate(&allowed).permit_token.unwrap();
        assert!(story.revoke(&token, "too fast").revoked);
        assert!(!story.revoke(&token, "again").revoked);
        let question = VerifyRequest::restating(&allowed, token);
        assert!(!story.verify(&question).valid);

        let unknown = PermitToken::new("permit_of-somebody-else-0123456789").unwrap();
        story.tokens.push(unknown.expose().to_owned());
        assert!(!story.verify(&VerifyRequest::new(unknown)).valid);
        for (agent, action, resource) in [
            ("intern", "deploy", None),
            ("bot", "drop", Some("patients")),
            ("bot", "deploy", Some("prod")),
            ("bot", "pay", None),
            ("bot", "read", Some("record-7")),
        ] {
            let refused = story.evaluate(&request(agent, action, resource));
            assert!(!refused.decision.is_allow());
        }
        let shadow = story.evaluate(&allowed.shadow(true));
        assert!(shadow.decision.is_allow());
        story
    }
}

/// The exported form of the trail.
pub(crate) fn export(trail: &Trail) -> Vec<u8> {
    serde_json::to_vec(trail).unwrap()
}

pub(crate) fn payload(event: &Event, key: &str) -> Option<String> {
    event.payload.text(key).map(Cow::into_owned)
}

/// The fields of an event, as values.
pub(crate) fn fields(event: &Event) -> Map<String, Value> {
    event.payload.parse().unwrap()
}
