//! No response contains keys, tokens or permits.

use std::sync::Arc;

use atlasent::error::{Code, ConfigError, Failure};
use atlasent::testing::Reply;
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Decision, Error};

use crate::methods::{METHODS, allowing, evaluating};
use crate::raw::call;
use crate::stage::{AGENT, Stage, token, token_with};

const API_KEY: &str = "ask_live_4fT9cQ2mXw";
const PERMIT: &str = "permit_7c1e55d0a9b84f33";

/// Calls every method, and searches the responses for the secrets.
async fn check<P: Authority + 'static>(authority: P, token: &str, codes: &[i32], name: &str) {
    let stage = Stage::counted(Arc::new(authority)).await;
    // A text of a letter or two is too short to be a secret, and may be in any response.
    let signature = token.rsplit('.').next().filter(|part| part.len() > 8);
    for method in METHODS {
        let raw = call(stage.address, method, token).await;
        assert!(codes.contains(&raw.code()), "{name}, {method:?}: {raw:?}");
        let text = raw.text();
        for secret in [API_KEY, PERMIT, token].into_iter().chain(signature) {
            assert!(!text.contains(secret), "{name}, {method:?}: {text}");
        }
    }
}

/// Fails with the key of the service in each text of the failure.
struct Blabbing {
    make: fn() -> Error,
    at_verify: bool,
}

impl Authority for Blabbing {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        match self.at_verify {
            true => Ok(Evaluation::allow(PermitToken::new(PERMIT)?)),
            false => Err((self.make)()),
        }
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Err((self.make)())
    }
}

fn failure(code: Code) -> Error {
    let text = format!("`{API_KEY}` may not use {PERMIT}");
    let source = std::io::Error::other(text.clone());
    let failure = Failure::new(code, text.clone()).with_source(source);
    failure.with_request_id(text).into()
}

#[tokio::test]
async fn a_failure_of_the_authority_is_not_revealed() {
    let makers: [fn() -> Error; 10] = [
        || failure(Code::InvalidApiKey),
        || failure(Code::Forbidden),
        || failure(Code::RateLimited),
        || failure(Code::BadRequest),
        || failure(Code::ServerError),
        || failure(Code::Timeout),
        || failure(Code::Network),
        || failure(Code::BadResponse),
        || ConfigError::new(format!("the key `{API_KEY}` is not known")).into(),
        || Error::Invalid(format!("the key `{API_KEY}` is not known")),
    ];
    for make in makers {
        for at_verify in [false, true] {
            let authority = Blabbing { make, at_verify };
            let name = make().to_string();
            check(authority, &token(AGENT), &[13, 14], &name).await;
        }
    }
}

/// Allows with a permit that it also puts into each text, and then refuses that permit.
struct Echoing;

impl Authority for Echoing {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        let mut evaluation = Evaluation::allow(PermitToken::new(PERMIT)?);
        let text = Some(format!("it is {PERMIT}"));
        evaluation.reason.clone_from(&text);
        evaluation.code.clone_from(&text);
        evaluation.decision_id.clone_from(&text);
        evaluation.audit_hash.clone_from(&text);
        Ok(evaluation)
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        let mut verification = Verification::refuse(None, format!("{PERMIT} is used up"));
        let text = Some(format!("used_up:{PERMIT}"));
        verification.outcome = text.clone().map(Into::into);
        verification.verify_error_code.clone_from(&text);
        verification.permit_hash.clone_from(&text);
        Ok(verification)
    }
}

#[tokio::test]
async fn a_permit_is_not_told_even_where_the_authority_writes_it_into_its_texts() {
    check(Echoing, &token(AGENT), &[7], "after an allow").await;
    for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
        let mut evaluation = Evaluation::refuse(decision, format!("{PERMIT} is for later"));
        evaluation.permit_token = Some(PermitToken::new(PERMIT).unwrap());
        evaluation.decision_id = Some(PERMIT.into());
        let authority = evaluating(&Reply::Answer(evaluation));
        check(authority, &token(AGENT), &[7], decision.as_str()).await;
    }
}

#[tokio::test]
async fn a_token_that_is_not_believed_is_not_repeated() {
    let good = token(AGENT);
    let cut = good.split_at(good.len() - 1).0;
    let expired = token_with(AGENT, |claims| claims.issued_at(1_000).expires_at(2_000));
    for token in [
        cut,
        &expired,
        "not-a-token",
        "a.b.c",
        &good.replace('.', ":"),
    ] {
        check(allowing(), token, &[16], token).await;
    }
    let long = format!("{good}{}", "A".repeat(8_000));
    check(allowing(), &long, &[16], "a long one").await;
}

#[tokio::test]
async fn an_answer_to_what_is_allowed_has_neither_permit_nor_token() {
    struct Allowing;
    impl Authority for Allowing {
        async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
            Ok(Evaluation::allow(PermitToken::new(PERMIT)?))
        }
        async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
            Ok(Verification::valid())
        }
    }
    // The stream of `Watch` does not end by itself.
    let stage = Stage::counted(Arc::new(Allowing)).await;
    let token = token(AGENT);
    for method in METHODS
        .into_iter()
        .filter(|method| *method != crate::methods::Method::Watch)
    {
        let raw = call(stage.address, method, &token).await;
        assert_eq!(raw.code(), 0, "{method:?}");
        let text = raw.text();
        assert!(!text.contains(PERMIT) && !text.contains(&token), "{text}");
    }
}
