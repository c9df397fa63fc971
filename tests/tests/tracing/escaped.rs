//! Tests that displayed text of others cannot end a line, control a terminal, change the reading
//! direction or hide.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use atlasent::audit::{Trail, TrustedKeys};
use atlasent::error::{Code, ConfigError, Failure};
use atlasent::testing::{MockAuthority, Reply};
use atlasent::text::Escaped;
use atlasent::wire::{Evaluation, PermitToken, Verification};
use atlasent::{AnyAction, AuthorityExt, Decision, Error, Permit};
use atlasent_authority::keys::ApiScope;
use atlasent_authority::store::StoreError;
use atlasent_tests::{Driven, capture, drive};
use atlasent_tower::{Refusal, Unauthenticated};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

/// Every kind of line break, a terminal escape, a bell, bidirectional controls, and invisible
/// characters.
const HOSTILE: &str = "x\n2026-01-01 INFO permitted\r\u{85}\u{2028}\u{2029}\u{1b}[2J\u{9b}1m\u{7}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}y";

fn is_hostile(character: char) -> bool {
    !matches!(character, 'x' | 'y' | ' '..='~') && HOSTILE.contains(character)
}

fn assert_harmless(text: &str) {
    assert!(!text.contains(is_hostile), "{text:?}");
    assert!(text.contains("x\\n2026"), "not displayed at all: {text:?}");
}

fn action() -> AnyAction {
    AnyAction::new(HOSTILE).unwrap().with_resource(HOSTILE)
}

/// Returns authorities that refuse the evaluation or the verification, or return a permit, with
/// hostile texts.
fn authorities() -> Vec<MockAuthority> {
    let mut refusal = Evaluation::refuse(Decision::Hold, HOSTILE);
    refusal.code = Some(HOSTILE.into());
    refusal.decision_id = Some(HOSTILE.into());
    refusal.audit_hash = Some(HOSTILE.into());
    let mut allow = Evaluation::allow(PermitToken::new(format!("permit_{HOSTILE}")).unwrap());
    allow.audit_hash = Some(HOSTILE.into());
    let mut invalid = Verification::refuse(None, HOSTILE);
    invalid.outcome = Some(HOSTILE.into());
    invalid.verify_error_code = Some(HOSTILE.into());
    let mock = |evaluation| MockAuthority::new().on_evaluate(HOSTILE, Reply::Answer(evaluation));
    vec![
        mock(refusal),
        mock(allow.clone()).on_verify(HOSTILE, Reply::Answer(invalid)),
        mock(allow),
        MockAuthority::new().on_evaluate(HOSTILE, Reply::Fail(Code::Timeout)),
    ]
}

#[test]
fn a_refusal_is_one_line_and_keeps_its_texts_for_programs() {
    for authority in authorities().iter().take(2) {
        let Driven::Done(Err(error)) = drive(authority.protect(HOSTILE, action()), 1) else {
            panic!("no refusal");
        };
        let denied = error.denied().unwrap();
        assert_harmless(&error.to_string());
        assert_harmless(&denied.to_string());
        assert_harmless(&format!("{denied:?}"));
        // Programs get the original text.
        assert_eq!(denied.action(), HOSTILE);
        assert_eq!(denied.agent().as_str(), HOSTILE);
        assert!(denied.reason().contains(HOSTILE));
        assert_eq!(denied.code(), Some(HOSTILE));
    }
}

#[test]
fn every_error_is_one_line() {
    let failure = Failure::new(Code::ServerError, HOSTILE);
    assert_eq!(failure.message(), HOSTILE);
    assert_harmless(&failure.to_string());
    for error in [
        failure.into(),
        ConfigError::new(HOSTILE).into(),
        Error::Invalid(HOSTILE.into()),
        AnyAction::new(HOSTILE.repeat(100)).unwrap_err(),
        HOSTILE.parse::<Decision>().unwrap_err(),
    ] {
        assert_harmless(&error.to_string());
        assert!(!format!("{error:?}").contains(is_hostile), "{error:?}");
    }
}

/// Logs of the layers and the stores have one line, too.
#[test]
fn every_refusal_of_a_layer_and_every_failure_of_a_store_is_one_line() {
    for refusal in [
        Refusal::bad_request(HOSTILE),
        Refusal::misconfigured(HOSTILE),
        Unauthenticated::NoAgent(HOSTILE.into()).into(),
        Refusal::RateExceeded {
            reason: HOSTILE.into(),
            retry_after: None,
        },
        Refusal::Unavailable {
            cause: HOSTILE.into(),
            retry_after: None,
        },
        Error::from(Failure::new(Code::ServerError, HOSTILE)).into(),
    ] {
        assert_harmless(&refusal.to_string());
    }
    assert_harmless(&StoreError::failed(HOSTILE).to_string());
    assert_harmless(&HOSTILE.parse::<ApiScope>().unwrap_err().to_string());
    assert_harmless(&Escaped::new(HOSTILE).to_string());
}

#[test]
fn every_field_that_is_told_is_escaped() {
    for authority in authorities() {
        let body = async |_: Permit| Ok::<_, Error>(());
        let (_, seen) = capture(|| drive(authority.with_permit(HOSTILE, action(), body), 1));
        assert!(!seen.is_empty());
        for seen in seen {
            for (name, value) in &seen.fields {
                assert!(!value.contains(is_hostile), "{name}: {value:?}");
            }
            if seen.name == "protect" {
                for name in ["action", "agent", "resource"] {
                    assert_harmless(seen.field(name).unwrap());
                }
            }
        }
    }
}

#[test]
fn a_plain_log_has_one_line_for_each_event() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    // Other tests of this process may have reached an event while no subscriber was installed.
    let ((), _) = capture(|| ());
    tracing::subscriber::with_default(log, || {
        tracing::callsite::rebuild_interest_cache();
        for authority in authorities() {
            let _ = drive(authority.protect(HOSTILE, action()), 1);
        }
    });
    let written = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8(written.clone()).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    for line in text.lines() {
        assert!(line.contains("2026-01-01 INFO permitted"), "{line:?}");
        assert!(!line.contains(is_hostile), "{line:?}");
    }
}

#[test]
fn a_finding_in_a_trail_is_one_line() {
    let event = json!({"id": HOSTILE, "org_id": "o", "sequence": 7, "type": "a", "occurred_at": "t", "created_at": "t",
        "payload": {}, "hash": "h", "previous_hash": "p"});
    let report = Trail::new(vec![serde_json::from_value(event).unwrap()]).verify();
    assert!(!report.findings.is_empty());
    for finding in report
        .findings
        .iter()
        .filter(|finding| finding.event_id.is_some())
    {
        assert_harmless(&finding.to_string());
    }
    let error = TrustedKeys::new().pem(HOSTILE, "no key").unwrap_err();
    assert_harmless(&error.to_string());
}
