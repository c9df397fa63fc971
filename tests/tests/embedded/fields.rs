//! Tests the fields of a request beside its context: policies see them, and the permit is bound to
//! the request as it was sent.

use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Authority, Decision, Error};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};

const POLICIES: &str = r#"
    permit (principal, action, resource) when { context.environment == "test" && context.amount == 5 };
"#;

fn request(context: &str, options: RequestOptions) -> EvaluateRequest {
    let action = AnyAction::new("pay").unwrap();
    let action = action.with_context(atlasent::Context::parse(context).unwrap());
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    request.with_options(options)
}

fn fields() -> RequestOptions {
    RequestOptions::default().environment("test").amount(5)
}

#[tokio::test]
async fn the_permit_is_bound_to_the_request_as_it_was_sent() {
    let authority = LocalAuthority::in_memory(Policies::parse(POLICIES).unwrap()).unwrap();
    for context in ["{}", r#"{"amount": 50e-1, "environment": null}"#] {
        let asked = request(context, fields());
        let evaluation = authority.evaluate(&asked).await.unwrap();
        assert_eq!(evaluation.decision, Decision::Allow);
        let mut question = atlasent::wire::VerifyRequest::new(evaluation.permit_token.unwrap());
        question.execution_hash = Some(asked.execution_hash());
        let verification = authority.verify(&question).await.unwrap();
        assert!(verification.valid, "{verification:?}");
    }
}

#[tokio::test]
async fn a_contradiction_is_an_error_and_nothing_is_recorded() {
    let authority = LocalAuthority::in_memory(Policies::parse(POLICIES).unwrap()).unwrap();
    let events = || async { authority.events(0, 100, &EventFilter::default()).await };
    let before = events().await.unwrap().len();
    for context in [r#"{"amount": 6}"#, r#"{"environment": "live"}"#] {
        let error = authority.evaluate(&request(context, fields())).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        assert!(
            error.to_string().contains("two different values"),
            "{error}"
        );
    }
    assert_eq!(events().await.unwrap().len(), before);
}
