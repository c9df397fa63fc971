//! The wait that a refusal states: the `Retry-After` of a readable answer.

use std::time::{Duration, SystemTime};

use atlasent::{AnyAction, AuthorityExt, Decision, Denied};
use atlasent_tests::server::Reply;
use serde_json::json;

use crate::cases::{ACTION, AGENT, TOKEN};
use crate::support::{ms, question, saying};

const WAIT: Option<Duration> = Some(Duration::from_secs(120));

fn action() -> AnyAction {
    AnyAction::new(ACTION).unwrap()
}

fn refusal(word: &str, retry_after: impl AsRef<[u8]>) -> Reply {
    Reply::json(200, json!({"decision": word, "reason": "r"})).header("Retry-After", retry_after)
}

async fn denied(replies: impl IntoIterator<Item = Reply>) -> Denied {
    let (client, _server) = saying(replies);
    let error = client.protect(AGENT, action()).await.unwrap_err();
    error.denied().unwrap().clone()
}

#[tokio::test]
async fn every_refusal_says_when_to_come_back_and_is_not_asked_for_again() {
    for (word, decision) in [
        ("hold", Decision::Hold),
        ("escalate", Decision::Escalate),
        ("deny", Decision::Deny),
    ] {
        let (client, server) = saying([(); 3].map(|()| refusal(word, "120")));
        let evaluation = client.evaluate(&question()).await.unwrap();
        assert_eq!(
            (evaluation.decision, evaluation.retry_after),
            (decision, WAIT)
        );
        let preflight = client.evaluate_preflight(&question()).await.unwrap();
        assert_eq!(preflight.retry_after, WAIT);
        let error = client.protect(AGENT, action()).await.unwrap_err();
        let denied = error.denied().unwrap();
        assert_eq!((denied.decision(), denied.retry_after()), (decision, WAIT));
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn a_wait_may_be_a_date() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let wait = denied([refusal("hold", date)]).await.retry_after().unwrap();
    // A date has whole seconds, and the clock advances.
    assert!(wait <= Duration::from_secs(3600), "{wait:?}");
    assert!(wait + ms(60_000) >= Duration::from_secs(3600), "{wait:?}");
}

#[tokio::test]
async fn a_malformed_wait_is_none_and_no_error() {
    for value in ["", "-5", "soon", "2026-01-01T00:00:00Z", "12\u{e9}", "nan"] {
        let denied = denied([refusal("hold", value)]).await;
        assert_eq!(
            (denied.decision(), denied.retry_after()),
            (Decision::Hold, None),
            "{value}"
        );
    }
    let twice = refusal("hold", "120").header("retry-after", "60");
    assert_eq!(denied([twice]).await.retry_after(), None);
    let unsaid = Reply::json(200, json!({"decision": "hold"}));
    assert_eq!(denied([unsaid]).await.retry_after(), None);
}

#[tokio::test]
async fn neither_an_allow_nor_a_permit_that_failed_says_anything_of_waiting() {
    let later = |body| Reply::json(200, body).header("Retry-After", "120");
    let allow = || later(json!({"decision": "allow", "permit_token": TOKEN}));
    let (client, _server) = saying([allow(), allow(), later(json!({"valid": true}))]);
    let evaluation = client.evaluate(&question()).await.unwrap();
    assert_eq!(
        (evaluation.decision, evaluation.retry_after),
        (Decision::Allow, None)
    );
    let gate = client.gate(AGENT, action()).await.unwrap();
    assert_eq!(gate.evaluation.retry_after, None);

    let refused = later(json!({"valid": false, "outcome": "permit_expired"}));
    let denied = denied([allow(), refused]).await;
    assert!(denied.is_expired());
    assert_eq!(denied.retry_after(), None);
}
