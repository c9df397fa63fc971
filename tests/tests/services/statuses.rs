//! Tests the response to each kind of missing permit: the table of statuses, over sockets.

use std::time::Duration;

use ati_client::{Claims, RateSpec, RateUnit};
use atlasent::Decision;
use atlasent::error::{Code, PermitOutcome};
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{Evaluation, Verification};
use atlasent_tests::cases::{ACTION, AGENT};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;

use crate::agents::{SCOPE, agent, bad_tokens, good_token, token};
use crate::asking::Answer;
use crate::stage::{Stage, by_every_way};

fn evaluating(evaluation: Evaluation) -> MockAuthority {
    MockAuthority::new().on_evaluate(ACTION, Reply::Answer(evaluation))
}

/// Sends a request with a valid token, and asserts that no handler runs.
async fn refused(stage: &Stage) -> Answer {
    let before = stage.ran.count();
    let answer = stage.ask(Some(good_token())).await;
    assert_eq!(stage.ran.count(), before, "{}", stage.case);
    answer
}

/// Asserts that the same service then allows the same request.
async fn runs_when_allowed(stage: &Stage) {
    stage.authority.follow(MockAuthority::new().allow(ACTION));
    let before = stage.ran.count();
    let answer = stage.ask(Some(good_token())).await;
    assert_eq!(answer.status, 200, "{}: {answer:?}", stage.case);
    assert_eq!(answer.body, "ran", "{}", stage.case);
    assert_eq!(stage.ran.count(), before + 1, "{}", stage.case);
}

#[tokio::test]
async fn a_request_without_a_valid_token_is_challenged() {
    by_every_way(async |stage| {
        stage.authority.follow(MockAuthority::new().allow(ACTION));
        let bad = bad_tokens();
        let bad = bad.iter().map(|(name, token)| (*name, Some(&**token)));
        for (name, token) in bad.chain([("no token", None)]) {
            // RFC 6750 §3.1: a request without a token has no error.
            let expected = match token {
                Some(_) => r#"Bearer error="invalid_token""#,
                None => "Bearer",
            };
            let case = format!("{}, {name}", stage.case);
            let answer = stage.ask(token).await;
            answer.problem(401, &case);
            let challenge = answer.header(WWW_AUTHENTICATE);
            assert_eq!(challenge, Some(expected), "{case}");
            assert_eq!(answer.header(RETRY_AFTER), None, "{case}");
            // An anonymous request does not reach the authority.
            let asked = stage.authority.calls().len();
            assert_eq!((asked, stage.ran.count()), (0, 0), "{case}");
        }
        runs_when_allowed(stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_without_the_scope_is_told_which_one() {
    let token = token(Claims::builder(AGENT).scope("tool:search"));
    by_every_way(async |stage| {
        stage.authority.follow(MockAuthority::new().allow(ACTION));
        let answer = stage.ask(Some(&token)).await;
        let problem = answer.problem(403, &stage.case);
        assert_eq!(problem["scope"], SCOPE, "{}", stage.case);
        assert_eq!(
            answer.header(WWW_AUTHENTICATE),
            Some(r#"Bearer error="insufficient_scope", scope="tool:deploy""#),
            "{}",
            stage.case
        );
        let asked = stage.authority.calls().len();
        assert_eq!((asked, stage.ran.count()), (0, 0), "{}", stage.case);
        runs_when_allowed(stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_whose_rate_is_used_up_is_told_when_to_come_back() {
    let token = token(agent().rate("*", RateSpec::new(1, RateUnit::Hour)));
    by_every_way(async |stage| {
        stage.authority.follow(MockAuthority::new().allow(ACTION));
        assert_eq!(stage.ask(Some(&token)).await.status, 200, "{}", stage.case);
        let answer = stage.ask(Some(&token)).await;
        answer.problem(429, &stage.case);
        let seconds: u64 = answer.header(RETRY_AFTER).unwrap().parse().unwrap();
        assert!(
            (3500..=3600).contains(&seconds),
            "{}: {seconds}",
            stage.case
        );
        assert_eq!(answer.header(WWW_AUTHENTICATE), None, "{}", stage.case);
        // The first of the two versions sent two requests, of which one ran.
        let asked = stage.authority.calls().len();
        assert_eq!((asked, stage.ran.count()), (2, 1), "{}", stage.case);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_says_what_was_decided_and_whom_to_ask_about() {
    by_every_way(async |stage| {
        for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
            let mut evaluation = Evaluation::refuse(decision, "not on a Friday");
            evaluation.code = Some("FRIDAY".into());
            evaluation.decision_id = Some("ev-1".into());
            stage.authority.follow(evaluating(evaluation));
            let answer = refused(stage).await;
            let problem = answer.problem(403, &stage.case);
            let detail = problem["detail"].clone();
            let expected = json!({
                "status": 403, "title": "Forbidden", "detail": detail, "decision": decision.as_str(),
                "reason": "not on a Friday", "code": "FRIDAY", "evaluation_id": "ev-1",
            });
            assert_eq!(problem, expected, "{}", stage.case);
            assert_eq!(answer.header(RETRY_AFTER), None, "{}", stage.case);
            // No challenge: another token would not help.
            assert_eq!(answer.header(WWW_AUTHENTICATE), None, "{}", stage.case);
        }
        runs_when_allowed(stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_hold_with_a_known_time_says_when_to_retry() {
    by_every_way(async |stage| {
        for (millis, seconds) in [(1, "1"), (1_500, "2"), (300_000, "300")] {
            let mut hold = Evaluation::refuse(Decision::Hold, "waits for the change window");
            hold.retry_after = Some(Duration::from_millis(millis));
            stage.authority.follow(evaluating(hold));
            let answer = refused(stage).await;
            let problem = answer.problem(403, &stage.case);
            assert_eq!(problem["decision"], "hold", "{}", stage.case);
            assert_eq!(answer.header(RETRY_AFTER), Some(seconds), "{}", stage.case);
        }
    })
    .await;
}

#[tokio::test]
async fn a_permit_that_does_not_verify_is_a_denial() {
    by_every_way(async |stage| {
        for outcome in [
            PermitOutcome::Consumed,
            PermitOutcome::Expired,
            PermitOutcome::Revoked,
            PermitOutcome::NotFound,
        ] {
            let reply = Reply::Answer(Verification::refuse(Some(outcome), "no"));
            let script = MockAuthority::new().on_verify(ACTION, reply);
            stage.authority.follow(script);
            let case = format!("{}, {outcome:?}", stage.case);
            let problem = refused(stage).await.problem(403, &case);
            assert_eq!(problem["decision"], "deny", "{case}");
            assert_eq!(problem["code"], outcome.error_code(), "{case}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_authority_that_cannot_answer_is_a_503_and_says_nothing_of_itself() {
    by_every_way(async |stage| {
        for (code, status) in [
            (Code::RateLimited, 503),
            (Code::ServerError, 503),
            (Code::Timeout, 503),
            (Code::Network, 503),
            (Code::BadResponse, 503),
            // These failures are mistakes of the service, so the client is not told to retry.
            (Code::InvalidApiKey, 500),
            (Code::Forbidden, 500),
            (Code::BadRequest, 500),
        ] {
            for (wait, seconds) in [(None, None), (Some(1_500), Some("2"))] {
                stage.authority.fail(code, wait.map(Duration::from_millis));
                let answer = refused(stage).await;
                let case = format!("{}, {code}", stage.case);
                let problem = answer.problem(status, &case);
                // Only status, title and detail: the cause is not sent.
                assert_eq!(problem.as_object().unwrap().len(), 3, "{case}: {problem}");
                assert!(
                    !problem.to_string().contains("internal"),
                    "{case}: {problem}"
                );
                let seconds = seconds.filter(|_| status == 503);
                assert_eq!(answer.header(RETRY_AFTER), seconds, "{case}");
            }
        }
    })
    .await;
}
