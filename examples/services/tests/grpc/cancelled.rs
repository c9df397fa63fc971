//! A call that is dropped before the authority answers does nothing.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;

use atlasent::authority::DynAuthority;
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Error};
use atlasent_tests::{Driven, Ran, Slow, drive};
use bytes::Bytes;
use clinic::{Records, grpc};
use futures_util::future::pending;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::methods::{METHODS, Method};
use crate::raw::call_with_token;
use crate::stage::{AGENT, Stage, soon, token, verifier};

/// Starts a call of the example's server, up to its first frame. The service is called even if the
/// future is never polled.
fn call(
    authority: Arc<dyn DynAuthority>,
    records: Arc<Records>,
    method: Method,
) -> impl Future<Output = ()> {
    let methods = grpc::methods(Arc::clone(&authority), verifier());
    let mut service = methods.layer(grpc::routes(authority, records));
    let body = Full::new(Bytes::from(method.body()));
    let request = call_with_token(&method.path(), &token(AGENT)).map(|()| Body::new(body));
    let ready = poll_fn(|context| Service::<Request<Body>>::poll_ready(&mut service, context));
    let ready = drive(ready, 1);
    assert!(matches!(ready, Driven::Done(Ok::<(), Infallible>(()))));
    let answer = service.call(request);
    async move {
        let frame = answer.await.unwrap().into_body().frame().await.unwrap();
        assert!(frame.unwrap().is_data(), "{method:?}");
    }
}

#[test]
fn a_call_dropped_before_its_last_answer_reaches_no_record() {
    for method in METHODS {
        for yields in 1..5 {
            for polls in 0..=2 * yields + 1 {
                let records = Arc::new(Records::sample());
                let authority = Arc::new(Slow { yields });
                let happened = drive(call(authority, Arc::clone(&records), method), polls);
                let done = polls == 2 * yields + 1;
                let name = format!("{method:?}, {polls} polls of {yields} yields");
                assert_eq!(matches!(happened, Driven::Done(())), done, "{name}");
                assert_eq!(records.accesses().len(), usize::from(done), "{name}");
            }
        }
    }
}

/// Never answers one of the two requests, and notices that its future is dropped.
struct Waiting {
    at_verify: bool,
    asked: Semaphore,
    left: Semaphore,
}

struct Leave<'a>(&'a Semaphore);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl Waiting {
    async fn wait<T>(&self) -> T {
        let _leave = Leave(&self.left);
        self.asked.add_permits(1);
        pending().await
    }
}

impl Authority for Waiting {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        match self.at_verify {
            true => Ok(Evaluation::allow(PermitToken::new("p")?)),
            false => self.wait().await,
        }
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        self.wait().await
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_question_with_it() {
    for method in METHODS {
        for at_verify in [false, true] {
            let authority = Arc::new(Waiting {
                at_verify,
                asked: Semaphore::new(0),
                left: Semaphore::new(0),
            });
            let stage = Stage::counted(authority.clone()).await;
            let (channel, token) = (stage.channel(), token(AGENT));
            let call = tokio::spawn(async move { method.call(channel, &token).await });
            soon(authority.asked.acquire()).await.unwrap().forget();
            assert_eq!(authority.left.available_permits(), 0, "{method:?}");

            call.abort();
            soon(authority.left.acquire()).await.unwrap().forget();
            assert_eq!(authority.asked.available_permits(), 0, "{method:?}");
            let passed = usize::from(!method.is_permitted_by_layer());
            assert_eq!((stage.passed.count(), stage.accesses()), (passed, 0));
        }
    }
}

#[test]
fn a_call_that_nobody_polls_asks_nobody() {
    let asked = Arc::new(Ran::new());
    struct Counting(Arc<Ran>);
    impl Authority for Counting {
        async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
            self.0.hit();
            pending().await
        }
        async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
            pending().await
        }
    }
    for method in METHODS {
        let authority = Arc::new(Counting(Arc::clone(&asked)));
        drop(call(authority, Arc::new(Records::sample()), method));
    }
    assert_eq!(asked.count(), 0);
}
