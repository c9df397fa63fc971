//! The receipts of `ProtectLayer`.

use std::convert::Infallible;

use atlasent::testing::MockAuthority;
use atlasent::wire::{Receipt, ReceiptOutcome};
use atlasent_tests::{Driven, drive};
use atlasent_tower::{PermitSlot, ProtectLayer, RequestTarget};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use std::sync::Arc;
use tower::{Layer, ServiceExt, service_fn};

type Body = Full<Bytes>;

/// Sends one request through a layer around a service, and returns the receipts.
fn receipts_of<F, E>(service: impl Fn(Request<Body>) -> F + Clone + Send + 'static) -> Vec<Receipt>
where
    F: Future<Output = Result<Response<Body>, E>> + Send + 'static,
    E: Send + 'static,
{
    let authority = Arc::new(MockAuthority::new().allow("deploy"));
    let target = RequestTarget::action("deploy").agent("deploy-bot");
    let layer = ProtectLayer::new(Arc::clone(&authority), target);
    let call = layer
        .layer(service_fn(service))
        .oneshot(Request::new(Body::default()));
    match drive(call, 4) {
        Driven::Done(_) | Driven::Pending => {}
        Driven::Panicked => panic!("the layer panicked"),
    }
    authority.receipts()
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

#[test]
fn the_outcome_is_by_the_answer_of_the_inner_service() {
    for (status, outcome, error) in [
        (200, ReceiptOutcome::Completed, None),
        (302, ReceiptOutcome::Completed, None),
        (404, ReceiptOutcome::Completed, None),
        (500, ReceiptOutcome::Failed, Some("answered 500")),
        (503, ReceiptOutcome::Failed, Some("answered 503")),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let receipts = receipts_of(move |_| async move { Ok::<_, Infallible>(answer(status)) });
        assert_eq!(receipts.len(), 1, "{status}");
        assert_eq!(receipts[0].outcome, outcome, "{status}");
        assert_eq!(receipts[0].error.as_deref(), error, "{status}");
    }
}

#[test]
fn a_service_that_fails_is_failed_and_one_that_is_dropped_is_cancelled() {
    let receipts = receipts_of(|_| async { Err(std::io::Error::other("card 4111")) });
    assert_eq!(receipts[0].outcome, ReceiptOutcome::Failed);
    assert_eq!(receipts[0].error.as_deref(), Some("the service failed"));
    let receipts =
        receipts_of(|_| std::future::pending::<Result<Response<Body>, std::io::Error>>());
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].outcome, ReceiptOutcome::Cancelled);
}

#[test]
fn a_handler_that_starts_an_execution_of_its_own_sends_no_second_receipt() {
    let receipts = receipts_of(|request| async move {
        let permit = request.extensions().get::<PermitSlot>().unwrap().take();
        let _ = permit.unwrap().execution().finish(true);
        Ok::<_, Infallible>(answer(StatusCode::OK))
    });
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].outcome, ReceiptOutcome::Completed);
}
