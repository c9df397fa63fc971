//! Tests the response to each kind of missing permit.

use std::sync::Arc;
use std::time::Duration;

use atlasent::error::{Code, Failure};
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Decision, Error};
use atlasent_tests::cases::{ACTION, TOKEN};
use http::header::RETRY_AFTER;
use serde_json::json;

use crate::answer::{Answer, send};
use crate::inner::Inner;
use crate::ways::{Way, ways};

/// An authority that fails either the evaluation or the verification.
struct Failing {
    code: Code,
    wait: Option<Duration>,
    at_verify: bool,
}

impl Failing {
    fn fail<T>(&self) -> Result<T, Error> {
        let failure = Failure::new(self.code, "at https://key@authority.internal");
        Err(match self.wait {
            Some(wait) => failure.with_retry_after(wait),
            None => failure,
        }
        .into())
    }
}

impl Authority for Failing {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        match self.at_verify {
            true => Ok(Evaluation::allow(PermitToken::new(TOKEN)?)),
            false => self.fail(),
        }
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        self.fail()
    }
}

/// Sends a request by each way, and checks that the inner service was not called.
fn by_every_way<P: Authority + 'static>(authority: &Arc<P>, check: impl Fn(&Answer, &str)) {
    for Way {
        name,
        around,
        request,
        ..
    } in ways::<P>()
    {
        let inner = Inner::new();
        let answer = send(around(Arc::clone(authority), inner.clone()), request());
        assert_eq!(inner.count(), 0, "{name}");
        check(&answer, name);
    }
}

#[test]
fn a_failure_of_the_authority_is_a_503_and_one_of_our_asking_a_500() {
    for (code, status) in [
        (Code::RateLimited, 503),
        (Code::ServerError, 503),
        (Code::Timeout, 503),
        (Code::Network, 503),
        (Code::BadResponse, 503),
        (Code::InvalidApiKey, 500),
        (Code::Forbidden, 500),
        (Code::BadRequest, 500),
    ] {
        for at_verify in [false, true] {
            let authority = Arc::new(Failing {
                code,
                wait: None,
                at_verify,
            });
            by_every_way(&authority, |answer, way| {
                answer.expect_refusal(status, "", &format!("{code}, {way}"));
                assert_eq!(answer.header(RETRY_AFTER), None, "{code}, {way}");
                // Only the three members that every problem has: the cause is not sent.
                let members = answer.problem();
                assert_eq!(members.as_object().unwrap().len(), 3, "{members}");
                assert!(!members.to_string().contains("authority.internal"));
            });
        }
    }
}

#[test]
fn a_failure_that_says_when_to_come_back_passes_it_on() {
    for (millis, seconds) in [
        (0, "0"),
        (1, "1"),
        (1_500, "2"),
        (2_000, "2"),
        (90_000, "90"),
    ] {
        for at_verify in [false, true] {
            let authority = Arc::new(Failing {
                code: Code::RateLimited,
                wait: Some(Duration::from_millis(millis)),
                at_verify,
            });
            by_every_way(&authority, |answer, way| {
                answer.expect_refusal(503, "try again later", way);
                assert_eq!(answer.header(RETRY_AFTER), Some(seconds), "{way}");
            });
        }
    }
}

#[test]
fn a_misconfiguration_never_says_when_to_retry() {
    let authority = Arc::new(Failing {
        code: Code::Forbidden,
        wait: Some(Duration::from_secs(5)),
        at_verify: false,
    });
    by_every_way(&authority, |answer, way| {
        answer.expect_refusal(500, "cannot authorize requests", way);
        assert_eq!(answer.header(RETRY_AFTER), None, "{way}");
    });
}

#[test]
fn a_refusal_says_what_was_decided_and_whom_to_ask_about() {
    for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
        for wait in [None, Some(Duration::from_secs(300))] {
            let mut evaluation = Evaluation::refuse(decision, "not on a Friday");
            evaluation.code = Some("FRIDAY".into());
            evaluation.decision_id = Some("ev-1".into());
            evaluation.retry_after = wait;
            let reply = Reply::Answer(evaluation);
            let authority = Arc::new(MockAuthority::new().on_evaluate(ACTION, reply));
            by_every_way(&authority, |answer, way| {
                assert_eq!(answer.status, 403, "{way}");
                let problem = answer.problem();
                let detail = problem["detail"].clone();
                assert!(detail.as_str().unwrap().ends_with(": not on a Friday"));
                assert_eq!(
                    problem,
                    json!({
                        "status": 403, "title": "Forbidden", "detail": detail,
                        "decision": decision.as_str(), "reason": "not on a Friday", "code": "FRIDAY",
                        "evaluation_id": "ev-1",
                    }),
                    "{way}"
                );
                let seconds = wait.map(|_| "300");
                assert_eq!(answer.header(RETRY_AFTER), seconds, "{way}");
                // No challenge: another token would not help.
                assert!(!answer.headers.contains_key("www-authenticate"), "{way}");
            });
        }
    }
}

#[test]
fn a_permit_that_does_not_verify_is_a_denial() {
    let reply = Reply::Answer(Verification::refuse(None, "gone"));
    let authority = Arc::new(MockAuthority::new().on_verify(ACTION, reply));
    by_every_way(&authority, |answer, way| {
        answer.expect_refusal(403, "Permit failed verification", way);
        assert_eq!(answer.problem()["decision"], "deny", "{way}");
    });
}
