//! The status that a caller gets for each reason of a missing permit, down to the frames.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ati_client::{Claims, RateSpec, RateUnit, SigningKey, issue};
use atlasent::error::{Code, ConfigError, Failure, PermitOutcome};
use atlasent::testing::Reply;
use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, Decision, Error};
use http::{HeaderMap, Request};
use tonic::Status;

use crate::methods::{METHODS, Method, allowing, evaluating, verifying};
use crate::raw::{Raw, anonymous_call, call, call_with_token, send};
use crate::stage::{AGENT, Stage, soon, token, token_of, token_with};

const UNDECIDED: &str = "the request could not be authorized: try again later";
const UNABLE: &str = "the service cannot authorize requests";

/// The expected status, which holds nothing else.
#[derive(Clone, Copy)]
struct ExpectedStatus<'a> {
    code: i32,
    /// The message, in which `{action}` stands for the name of the action.
    message: &'a str,
    metadata: &'a [(&'a str, &'a str)],
}

/// Returns the headers of a response beside those that every response has.
fn metadata(headers: &HeaderMap) -> BTreeMap<&str, &str> {
    let all = headers.iter();
    all.map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .filter(|(name, _)| !["content-type", "date", "grpc-message", "grpc-status"].contains(name))
        .collect()
}

fn check_status(headers: &HeaderMap, told: ExpectedStatus<'_>, name: &str) {
    let status = Status::from_header_map(headers).unwrap();
    assert_eq!(i32::from(status.code()), told.code, "{name}: {status:?}");
    assert_eq!(status.message(), told.message, "{name}");
    let expected: BTreeMap<_, _> = told.metadata.iter().copied().collect();
    assert_eq!(metadata(headers), expected, "{name}");
}

fn check_trailers_only(raw: &Raw, told: ExpectedStatus<'_>, name: &str) {
    assert_eq!(raw.status, 200, "{name}");
    assert_eq!(raw.headers["content-type"], "application/grpc", "{name}");
    assert!(raw.ended_with_headers, "{name}: {raw:?}");
    assert!(raw.body.is_empty() && raw.trailers.is_none(), "{name}");
    check_status(&raw.headers, told, name);
}

/// Asserts that every method gives the same status for this authority's answer, and reaches no
/// record.
async fn check<P: Authority + 'static>(authority: P, told: ExpectedStatus<'_>, name: &str) {
    let authority = Arc::new(authority);
    for method in METHODS {
        let name = format!("{name}, {method:?}");
        let message = told.message.replace("{action}", method.action());
        let told = ExpectedStatus {
            message: &message,
            ..told
        };
        let stage = Stage::counted(authority.clone()).await;
        let raw = call(stage.address, method, &token(AGENT)).await;
        match method {
            // The response begins before the first change is read.
            Method::Import => {
                assert!(raw.body.is_empty(), "{name}");
                check_status(&raw.trailers.unwrap(), told, &name);
            }
            _ => check_trailers_only(&raw, told, &name),
        }
        let status = soon(method.call(stage.channel(), &token(AGENT))).await;
        let status = status.unwrap_err();
        assert_eq!(i32::from(status.code()), told.code, "{name}");
        assert_eq!(status.message(), told.message, "{name}");
        for (key, value) in told.metadata {
            assert_eq!(status.metadata().get(*key).unwrap(), value, "{name}");
        }
        let passed = if method.is_permitted_by_layer() { 0 } else { 2 };
        assert_eq!(stage.passed.count(), passed, "{name}");
        assert_eq!(stage.accesses(), 0, "{name}");
    }
}

/// Asserts that the status is given before the authority is asked.
async fn check_unasked(requests: Vec<Request<()>>, told: ExpectedStatus<'_>, name: &str) {
    let authority = Arc::new(allowing());
    let stage = Stage::counted(authority.clone()).await;
    for request in requests {
        let name = format!("{name}, {}", request.uri());
        let raw = send(stage.address, request, Method::Modify.body()).await;
        check_trailers_only(&raw, told, &name);
    }
    assert_eq!((stage.passed.count(), stage.accesses()), (0, 0), "{name}");
    assert!(authority.calls().is_empty(), "{name}");
}

fn for_every_method(request: impl Fn(&str) -> Request<()>) -> Vec<Request<()>> {
    METHODS.map(|method| request(&method.path())).into()
}

const fn unauthenticated(message: &str) -> ExpectedStatus<'_> {
    ExpectedStatus {
        code: 16,
        message,
        metadata: &[],
    }
}

#[tokio::test]
async fn a_call_without_a_token_is_unauthenticated() {
    let message = "the request has no token: send it as `Authorization: Bearer <token>`";
    check_unasked(
        for_every_method(anonymous_call),
        unauthenticated(message),
        "no token",
    )
    .await;
}

#[tokio::test]
async fn a_call_with_a_bad_token_is_unauthenticated() {
    let stranger = SigningKey::from_hex(&"ab".repeat(32)).unwrap();
    let claims = Claims::builder(AGENT).scopes(["tool:ehr:read", "tool:ehr:write"]);
    let claims = claims.build().unwrap();
    for (token, message) in [
        (
            issue(&claims, &stranger).unwrap(),
            "the token's signature is invalid: the token was signed with another key, or was changed since",
        ),
        (
            "a.b.c".to_owned(),
            "the token is malformed: its header is not base64url",
        ),
        (
            token_with(AGENT, |claims| claims.audience("somebody-else")),
            "the token is for another audience: compare its `aud` with the accepted audiences",
        ),
    ] {
        let requests = for_every_method(|path| call_with_token(path, &token));
        check_unasked(requests, unauthenticated(message), message).await;
    }
    let twice = for_every_method(|path| {
        let mut request = call_with_token(path, &token(AGENT));
        let second = request.headers()["authorization"].clone();
        request.headers_mut().append("authorization", second);
        request
    });
    let message = "the header `Authorization` appears more than once: send one, as \
                   `Authorization: Bearer <token>`";
    check_unasked(twice, unauthenticated(message), "twice").await;
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    for (methods, missing) in [
        ([Method::Read, Method::Watch], "tool:ehr:read"),
        ([Method::Modify, Method::Import], "tool:ehr:write"),
    ] {
        let granted = ["tool:ehr:read", "tool:ehr:write"];
        let rest = granted.into_iter().filter(|scope| *scope != missing);
        let token = token_of(Claims::builder(AGENT).scopes(rest));
        let told = ExpectedStatus {
            code: 7,
            message: &format!("the agent's token does not grant the scope `{missing}`"),
            metadata: &[],
        };
        let requests = methods.map(|method| call_with_token(&method.path(), &token));
        check_unasked(requests.into(), told, missing).await;
    }
}

#[tokio::test]
async fn a_caller_beyond_its_rate_is_told_when_to_retry() {
    let once = |claims: ati_client::ClaimsBuilder| {
        claims.rate("tool:ehr:read", RateSpec::new(1, RateUnit::Hour))
    };
    let token = token_with(AGENT, once);
    let stage = Stage::counted(Arc::new(allowing())).await;
    let first = call(stage.address, Method::Read, &token).await;
    assert_eq!(first.code(), 0);
    let second = call(stage.address, Method::Watch, &token).await;
    assert_eq!(second.code(), 8);
    assert!(second.ended_with_headers && second.body.is_empty());

    let told = metadata(&second.headers);
    assert_eq!(told.len(), 2, "{told:?}");
    let millis: u64 = told["grpc-retry-pushback-ms"].parse().unwrap();
    let seconds: u64 = told["retry-after"].parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&millis), "{millis}");
    assert_eq!(seconds, millis.div_ceil(1_000));
    assert_eq!((stage.passed.count(), stage.accesses()), (1, 1));
}

#[tokio::test]
async fn a_rate_that_allows_no_call_at_all_does_not_say_to_come_back() {
    let none = |claims: ati_client::ClaimsBuilder| {
        claims.rate("tool:ehr:read", RateSpec::new(0, RateUnit::Hour))
    };
    let stage = Stage::counted(Arc::new(allowing())).await;
    let raw = call(stage.address, Method::Read, &token_with(AGENT, none)).await;
    assert_eq!(raw.code(), 8);
    assert!(metadata(&raw.headers).is_empty(), "{raw:?}");
    assert_eq!(stage.passed.count(), 0);
}

#[tokio::test]
async fn a_refusal_says_its_decision_its_reason_and_its_evaluation() {
    for (decision, verb) in [
        (Decision::Deny, "is denied"),
        (Decision::Hold, "is on hold"),
        (Decision::Escalate, "needs escalation"),
    ] {
        let mut evaluation = Evaluation::refuse(decision, "not today");
        let message = format!("`{{action}}` {verb} for agent `chart-bot`: not today");
        let mut metadata = vec![("atlasent-decision", decision.as_str())];
        let bare = ExpectedStatus {
            code: 7,
            message: &message,
            metadata: &metadata,
        };
        let authority = evaluating(&Reply::Answer(evaluation.clone()));
        check(authority, bare, decision.as_str()).await;

        evaluation.decision_id = Some("eval-17".into());
        evaluation.retry_after = Some(Duration::from_millis(1_500));
        metadata.extend([
            ("atlasent-evaluation-id", "eval-17"),
            ("grpc-retry-pushback-ms", "1500"),
            ("retry-after", "2"),
        ]);
        let known = ExpectedStatus {
            code: 7,
            message: &message,
            metadata: &metadata,
        };
        let authority = evaluating(&Reply::Answer(evaluation));
        check(authority, known, decision.as_str()).await;
    }
}

#[tokio::test]
async fn a_permit_that_fails_its_verification_is_a_denial() {
    for (outcome, word) in [
        (Some(PermitOutcome::Consumed), "permit_consumed"),
        (Some(PermitOutcome::Expired), "permit_expired"),
        (Some(PermitOutcome::Revoked), "permit_revoked"),
        (Some(PermitOutcome::NotFound), "permit_not_found"),
        (None, "deny"),
    ] {
        let authority = verifying(&Reply::Answer(Verification::refuse(outcome, "no")));
        let message = format!(
            "`{{action}}` is denied for agent `chart-bot`: Permit failed verification ({word})"
        );
        let told = ExpectedStatus {
            code: 7,
            message: &message,
            metadata: &[("atlasent-decision", "deny")],
        };
        check(authority, told, word).await;
    }
}

/// Fails each call in its own way.
struct Failing<F>(F);

impl<F: Fn() -> Error + Send + Sync> Authority for Failing<F> {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Err(self.0())
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Err(self.0())
    }
}

#[tokio::test]
async fn an_authority_without_an_answer_is_unavailable() {
    for code in [
        Code::RateLimited,
        Code::ServerError,
        Code::Timeout,
        Code::Network,
        Code::BadResponse,
    ] {
        let told = ExpectedStatus {
            code: 14,
            message: UNDECIDED,
            metadata: &[],
        };
        check(evaluating(&Reply::Fail(code)), told, code.as_str()).await;
        check(verifying(&Reply::Fail(code)), told, code.as_str()).await;
        let wait = Duration::from_secs(30);
        let failing = Failing(move || Failure::new(code, "later").with_retry_after(wait).into());
        let told = ExpectedStatus {
            metadata: &[("grpc-retry-pushback-ms", "30000"), ("retry-after", "30")],
            ..told
        };
        check(failing, told, code.as_str()).await;
    }
}

#[tokio::test]
async fn our_own_mistake_is_internal_and_not_told() {
    let told = ExpectedStatus {
        code: 13,
        message: UNABLE,
        metadata: &[],
    };
    for code in [Code::InvalidApiKey, Code::Forbidden, Code::BadRequest] {
        check(evaluating(&Reply::Fail(code)), told, code.as_str()).await;
        check(verifying(&Reply::Fail(code)), told, code.as_str()).await;
    }
    let config = Failing(|| Error::from(ConfigError::new("no API key")));
    check(config, told, "config").await;
    let invalid = Failing(|| Error::Invalid("an empty action".into()));
    check(invalid, told, "invalid").await;
}

#[tokio::test]
async fn a_message_of_any_characters_arrives_on_one_line() {
    let reason = "für 100 % aller Fälle\nnicht \"heute\"\t\u{1f3e5}\0\u{7f}";
    // The message is for people, who read it in a log, so terminal controls are escaped.
    let shown = "für 100 % aller Fälle\\nnicht \"heute\"\\t\u{1f3e5}\\u{0}\\u{7f}";
    let message = format!("`{{action}}` is denied for agent `chart-bot`: {shown}");
    let told = ExpectedStatus {
        code: 7,
        message: &message,
        metadata: &[("atlasent-decision", "deny")],
    };
    let refusal = Reply::Answer(Evaluation::refuse(Decision::Deny, reason));
    check(evaluating(&refusal), told, "any characters").await;

    // On the wire, the message is printable ASCII, with everything else and `%` escaped.
    let stage = Stage::counted(Arc::new(evaluating(&refusal))).await;
    let raw = call(stage.address, Method::Read, &token(AGENT)).await;
    assert_eq!(
        raw.headers["grpc-message"],
        "`read_patient_record` is denied for agent `chart-bot`: f%C3%BCr 100 %25 aller F%C3%A4lle\\nnicht \
         \"heute\"\\t%F0%9F%8F%A5\\u{0}\\u{7f}"
    );
    let raw = call(stage.address, Method::Modify, &token(AGENT)).await;
    let escaped = raw.headers["grpc-message"].as_bytes();
    assert!(escaped.iter().all(|byte| (0x20..=0x7e).contains(byte)));
}

#[tokio::test]
async fn an_evaluation_id_that_no_header_can_hold_is_left_out() {
    for id in ["id\r\natlasent-decision: allow", "idé", "id\0"] {
        let mut refusal = Evaluation::refuse(Decision::Deny, "no");
        refusal.decision_id = Some(id.into());
        let told = ExpectedStatus {
            code: 7,
            message: "`{action}` is denied for agent `chart-bot`: no",
            metadata: &[("atlasent-decision", "deny")],
        };
        check(evaluating(&Reply::Answer(refusal)), told, id).await;
    }
}
