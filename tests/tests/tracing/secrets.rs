//! Tests that no token and no context value is logged or printed, whatever an authority answers.

use std::error::Error as _;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use atlasent::audit::Event;
use atlasent::error::{Code, Failure, PermitOutcome};
use atlasent::protected_action::ProtectedAction;
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{
    ConstraintTrace, EvaluateRequest, Evaluation, PermitToken, PolicyTrace, RequestOptions,
    Revocation, StageTrace, Verification, VerifyRequest,
};
use atlasent::{
    Action, Agent, Authority, AuthorityExt, Client, Decision, Error, Guarded, Permit, blocking,
};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::{Driven, capture, drive, quiet_panics};
use serde_json::json;

use crate::calls::{ACTION, AGENT, Body, PATIENT, TOKEN, action, async_calls, sync_calls};

/// All texts that are printed of a value.
#[derive(Default)]
struct Printed(Vec<String>);

impl Printed {
    fn debug(&mut self, thing: &impl Debug) {
        self.0.push(format!("{thing:?}"));
        self.0.push(format!("{thing:#?}"));
    }

    fn error(&mut self, error: &Error) {
        self.debug(error);
        self.0.push(error.to_string());
        let mut source = error.source();
        while let Some(error) = source {
            self.0.push(format!("{error} {error:?}"));
            source = error.source();
        }
    }

    fn holds_no(self, secrets: &[&str], case: &str) {
        for text in self.0 {
            for secret in secrets {
                assert!(!text.contains(secret), "{case}: `{secret}` in {text}");
            }
        }
    }
}

fn token() -> PermitToken {
    PermitToken::new(TOKEN).unwrap()
}

fn allow() -> Evaluation {
    Evaluation::allow(token())
}

/// An authority with scripted answers and errors.
struct Scripted {
    evaluation: Evaluation,
    verification: Result<Verification, String>,
}

impl Authority for Scripted {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Ok(self.evaluation.clone())
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        let answer = self.verification.clone();
        answer.map_err(|message| Failure::new(Code::ServerError, message).into())
    }
}

/// Returns a trace that repeats the token in all texts.
fn trace() -> ConstraintTrace {
    let stage = StageTrace::new(TOKEN, true)
        .with_rule(TOKEN)
        .with_detail(format!("seen {TOKEN}"));
    let policy = PolicyTrace::new(TOKEN, Decision::Allow, TOKEN).with_stage(stage);
    ConstraintTrace::new(vec![policy], Some(TOKEN.to_owned()))
}

/// Returns authorities that repeat the token in all their texts.
fn careless() -> Vec<Scripted> {
    let said = || Some(format!("about {TOKEN}: this"));
    let mut scripted = Vec::new();
    let mut add = |evaluation: &Evaluation, verification: Result<Verification, String>| {
        scripted.push(Scripted {
            evaluation: evaluation.clone(),
            verification,
        });
    };

    let mut allow = allow();
    allow.reason = said();
    allow.code = said();
    allow.decision_id = Some(TOKEN.into());
    allow.constraint_trace = Some(trace());
    let mut valid = Verification::valid();
    valid.reason = said().map(Into::into);
    valid.approval = Some(json!({"by": TOKEN, TOKEN: [{"x": format!("of {TOKEN}")}]}));
    add(&allow, Ok(valid.clone()));

    type Change = fn(&mut Verification, Option<String>);
    let changes: [Change; 6] = [
        |v, said| v.outcome = said.map(Into::into),
        |v, said| v.verify_error_code = said,
        |v, said| v.decision = said.map(Into::into),
        |v, said| v.action_type = said,
        |v, said| v.actor_id = said,
        |v, _| v.valid = false,
    ];
    for change in changes {
        for text in [said(), Some(TOKEN.into())] {
            let mut careless = valid.clone();
            change(&mut careless, text);
            add(&allow, Ok(careless));
        }
    }
    add(&allow, Err(format!("no such permit: {TOKEN}")));
    for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
        allow.decision = decision;
        add(&allow, Ok(valid.clone()));
    }
    scripted
}

#[test]
fn whatever_the_authority_says_no_path_repeats_the_token() {
    quiet_panics();
    for scripted in careless() {
        let case = format!(
            "{} then {:?}",
            scripted.evaluation.decision, scripted.verification
        );
        for (path, call) in async_calls().into_iter().chain(sync_calls()) {
            for body in [Body::Completes, Body::Fails, Body::Panics] {
                let mut printed = Printed::default();
                let (happened, seen) = capture(|| call(&scripted, body));
                printed.debug(&seen);
                if let Driven::Done(Err(error)) = &happened {
                    printed.error(error);
                }
                printed.holds_no(&[TOKEN, PATIENT], &format!("{path}, {case}"));
            }
        }
        let mut printed = Printed::default();
        let ((), seen) = capture(|| {
            match drive(scripted.gate(AGENT, action()), 1) {
                Driven::Done(Ok(gate)) => {
                    printed.debug(&gate);
                    printed.debug(&gate.permit);
                    printed.debug(&gate.permit.record());
                    printed.debug(&gate.permit.reason());
                    printed.debug(&gate.evaluation);
                    printed.debug(&gate.verification);
                    printed.debug(gate.permit.action());
                }
                Driven::Done(Err(error)) => printed.error(&error),
                other => panic!("{other:?}"),
            }
            match drive(scripted.authorize(AGENT, action()), 1) {
                Driven::Done(Ok(authorization)) => {
                    printed.debug(&authorization);
                    printed.debug(&authorization.denied());
                    printed.debug(&authorization.record());
                }
                Driven::Done(Err(error)) => printed.error(&error),
                other => panic!("{other:?}"),
            }
        });
        printed.debug(&seen);
        printed.holds_no(&[TOKEN, PATIENT], &case);
    }
}

#[test]
fn nothing_that_can_be_printed_shows_a_secret() {
    let request = EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action()).unwrap();
    let mock = MockAuthority::new()
        .on_evaluate(ACTION, Reply::Answer(allow()))
        .on_verify(ACTION, Reply::Answer(Verification::valid()));
    let mut printed = Printed::default();
    printed.debug(&token());
    printed.0.push(token().to_string());
    printed.debug(&allow());
    printed.debug(&VerifyRequest::restating(&request, token()));
    printed.debug(&request);
    printed.debug(&request.context);
    printed.debug(&action());
    printed.debug(&mock.ask(AGENT, action()));
    let state = || serde_json::json!({ "patient": PATIENT, "approval": TOKEN });
    let options = RequestOptions::default()
        .state_snapshot(state())
        .approval(state())
        .resource(state())
        .current_state(state())
        .proposed_state(state())
        .execution_binding(state());
    printed.debug(&options);
    printed.debug(&request.clone().with_options(options));
    let Driven::Done(Ok(permit)) = drive(mock.protect(AGENT, action()), 1) else {
        panic!("no permit");
    };
    printed.debug(&mock);
    printed.debug(&mock.calls());
    printed.debug(&permit);
    printed.debug(&permit.record());
    let secrets = [TOKEN, PATIENT];
    printed.holds_no(&secrets, "printed");
    // The record is for databases, so it has the id.
    assert_eq!(permit.record().id, TOKEN);
}

/// Prints each type that may hold a token, a key, a password or a context value.
#[test]
fn no_public_type_prints_what_it_holds_of_secrets() {
    const KEY: &str = "ask_test_Qm7xV2pLz9";
    const PASSWORD: &str = "hunter2";
    let mut evaluation = allow();
    evaluation.reason = Some(format!("for {TOKEN}"));
    evaluation.request_id = Some(TOKEN.into());
    evaluation.constraint_trace = Some(trace());
    let mut verification = Verification::valid();
    verification.approval = Some(json!({"token": TOKEN, "patient": PATIENT, "key": KEY}));

    let mut printed = Printed::default();
    printed.debug(&evaluation);
    printed.debug(&Reply::Answer(evaluation.clone()));
    printed.debug(&verification);
    printed.debug(&Revocation::new(token(), true));

    let builder = || Client::builder().api_key(KEY);
    printed.debug(&builder());
    for url in [
        format!("https://user:{PASSWORD}@host.example.com"),
        format!("https://{PASSWORD}@host.example.com"),
        format!("https://host.example.com/?password={PASSWORD}"),
        format!("https:/ /user:{PASSWORD}"),
    ] {
        printed.debug(&builder().base_url(&url));
        printed.error(&builder().base_url(&url).build().unwrap_err());
    }
    let client = builder().build().unwrap();
    printed.debug(&client);
    printed.debug(&blocking::Client::from(client.clone()));

    let action = ProtectedAction::new(ACTION, AGENT, "record-7", "production").unwrap();
    let action = action.with_field("patient", PATIENT).unwrap();
    printed.debug(&action);
    printed.debug(&client.ask(AGENT, action));
    let event = format!(
        r#"{{"id":"e","org_id":"o","sequence":1,"type":"evaluate.allow","occurred_at":"t","created_at":"t",
            "payload":{{"context":"{PATIENT}","note":"{TOKEN}"}},"previous_hash":"p","hash":"h"}}"#
    );
    printed.debug(&serde_json::from_str::<Event>(&event).unwrap());

    let mock = MockAuthority::new()
        .on_evaluate(ACTION, Reply::Answer(evaluation))
        .on_verify(ACTION, Reply::Answer(verification));
    printed.debug(&mock);
    let Driven::Done(Ok(gate)) = drive(mock.gate(AGENT, self::action()), 1) else {
        panic!("no permit");
    };
    printed.debug(&gate);
    printed.debug(&mock.calls());
    let failure = Failure::new(Code::Network, "no answer");
    printed.debug(&failure);
    printed.holds_no(&[TOKEN, PATIENT, KEY, PASSWORD], "public types");
}

/// The error of an authority may wrap another error, which cannot be rewritten.
#[test]
fn a_wrapped_error_that_repeats_the_token_is_dropped() {
    struct Wrapping(bool);

    impl Authority for Wrapping {
        async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
            Ok(allow())
        }

        async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
            let text = if self.0 { TOKEN } else { "reset" };
            let inner = std::io::Error::other(std::io::Error::other(format!("with {text}")));
            let failure = Failure::new(Code::Network, "the connection broke");
            Err(failure.with_source(inner).with_request_id(text).into())
        }
    }

    for repeats in [true, false] {
        let mut printed = Printed::default();
        let (happened, seen) = capture(|| drive(Wrapping(repeats).protect(AGENT, action()), 1));
        let Driven::Done(Err(error)) = happened else {
            panic!("no error");
        };
        assert_eq!(error.source().is_none(), repeats, "{error:?}");
        printed.error(&error);
        printed.debug(&error.failure().unwrap().request_id());
        printed.debug(&seen);
        printed.holds_no(&[TOKEN], "underneath");
    }
}

#[test]
fn an_opened_permit_shows_no_secret() {
    #[derive(Action)]
    #[action("record.read")]
    struct Read {
        patient: String,
    }

    let mock = MockAuthority::new().on_evaluate(ACTION, Reply::Answer(allow()));
    let patient = PATIENT.to_owned();
    let Driven::Done(Ok(permit)) = drive(mock.protect(AGENT, Read { patient }), 1) else {
        panic!("no permit");
    };
    let records = Guarded::granted_by(&mock, "the records").unwrap();
    let mut printed = Printed::default();
    printed.debug(&permit);
    printed.debug(&records);
    let opened = records.open(permit).unwrap();
    printed.debug(&opened);
    assert_eq!(opened.permit().patient, PATIENT);
    printed.holds_no(&[TOKEN, PATIENT], "guarded");
}

#[test]
fn a_refusal_by_the_permit_s_outcome_shows_no_secret() {
    for outcome in [
        PermitOutcome::Consumed,
        PermitOutcome::Expired,
        PermitOutcome::Revoked,
        PermitOutcome::NotFound,
    ] {
        let reason = format!("{TOKEN} is no good for {PATIENT}");
        let refused = Verification::refuse(Some(outcome), reason);
        let mock = MockAuthority::new()
            .on_evaluate(ACTION, Reply::Answer(allow()))
            .on_verify(ACTION, Reply::Answer(refused));
        let mut printed = Printed::default();
        let (happened, seen) = capture(|| drive(mock.protect(AGENT, action()), 1));
        let Driven::Done(Err(error)) = happened else {
            panic!("{outcome:?} passed");
        };
        assert_eq!(error.denied().unwrap().permit_outcome(), Some(outcome));
        printed.error(&error);
        printed.debug(&seen);
        printed.holds_no(&[TOKEN, PATIENT], outcome.as_str());
    }
}

#[test]
fn the_embedded_authority_tells_no_secret() {
    quiet_panics();
    let policies = Policies::parse(
        r#"permit (principal == Agent::"chart-bot", action, resource);
           @id("typo") forbid (principal, action == Action::"broken", resource) when { context.patient > 5 };"#,
    )
    .unwrap();
    let mut tokens = Vec::new();
    let mut printed = Printed::default();
    let ((), seen) = capture(|| {
        let authority = LocalAuthority::in_memory(policies).unwrap();
        for name in [ACTION, "broken"] {
            let action = atlasent::AnyAction::new(name).unwrap();
            let action = action.with_field("patient", PATIENT).unwrap();
            for agent in [AGENT, "intern"] {
                match drive(authority.protect(agent, action.clone()), 1) {
                    Driven::Done(Ok(permit)) => {
                        tokens.push(Permit::id(&permit).to_owned());
                        printed.debug(&permit);
                        let again = VerifyRequest::new(PermitToken::new(permit.id()).unwrap());
                        printed.debug(&drive(authority.verify(&again), 1));
                    }
                    Driven::Done(Err(error)) => printed.error(&error),
                    other => panic!("{other:?}"),
                }
            }
        }
        printed.debug(&authority);
    });
    printed.debug(&seen);
    assert_eq!(tokens.len(), 1);
    printed.holds_no(&[&tokens[0], PATIENT], "embedded");
}

#[test]
fn a_panicking_authority_tells_no_secret() {
    quiet_panics();
    let mock = MockAuthority::new()
        .on_evaluate(ACTION, Reply::Answer(allow()))
        .on_verify(ACTION, Reply::Panic);
    for (path, call) in async_calls().into_iter().chain(sync_calls()) {
        let mut printed = Printed::default();
        let (happened, seen) =
            capture(|| catch_unwind(AssertUnwindSafe(|| call(&mock, Body::Completes))));
        assert!(matches!(happened, Ok(Driven::Panicked)), "{path}");
        printed.debug(&seen);
        printed.holds_no(&[TOKEN, PATIENT], path);
    }
}
