//! The service behind [`ProtectLayer`](crate::ProtectLayer).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atlasent::Authority;
use atlasent::permit::{Execution, PermitRecord};
use http::request::Parts;
use http::{HeaderName, Request, Response};
use tower_service::Service;

use super::{Answers, Question, repeat};
use crate::grpc::header_value;
use crate::{Refusal, Respond, ResponseBody, Target, admit, ready};

const PERMIT_ID: HeaderName = HeaderName::from_static("x-atlasent-permit-id");
const AUDIT_HASH: HeaderName = HeaderName::from_static("x-atlasent-audit-hash");

/// A service that is called with a permit, and not otherwise. It comes from
/// [`ProtectLayer`](crate::ProtectLayer).
pub struct ProtectService<I, P, T> {
    inner: I,
    question: Arc<Question<P, T>>,
    answers: Answers,
    /// Whether the inner service is known to call on more than once.
    repeats: bool,
}

impl<I, P, T> ProtectService<I, P, T> {
    pub(super) fn new(inner: I, question: Arc<Question<P, T>>, answers: Answers) -> Self {
        Self {
            inner,
            question,
            answers,
            repeats: repeat::repeats::<I>(),
        }
    }
}

/// The response to come. Dropped before it is there, it leaves nothing behind.
pub type ProtectFuture<R, E> =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send>>;

impl<I, P, T, B, R> Service<Request<B>> for ProtectService<I, P, T>
where
    I: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
    P: Authority + 'static,
    T: Target,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = I::Error;
    type Future = ProtectFuture<R, I::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = ready::take(&mut self.inner);
        let (question, answers) = (Arc::clone(&self.question), self.answers.clone());
        let repeats = self.repeats;
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            if repeats {
                return Ok(answers.refuse(&repeat::refusal(), &parts));
            }
            match admit(&question.authority, &question.target, &mut parts).await {
                Ok(execution) => {
                    let request = Request::from_parts(parts, body);
                    answers.execute(Some(execution), inner, request).await
                }
                Err(refusal) => Ok(answers.refuse(&refusal, &parts)),
            }
        })
    }
}

impl Answers {
    pub(crate) fn new(responder: Arc<dyn Respond>) -> Self {
        Self {
            permit_headers: false,
            responder,
        }
    }

    /// Calls the inner service. Under a permit that is its execution, and the response has its
    /// record.
    pub(crate) async fn execute<I, B, R>(
        &self,
        execution: Option<Execution>,
        mut inner: I,
        request: Request<B>,
    ) -> Result<Response<ResponseBody<R>>, I::Error>
    where
        I: Service<Request<B>, Response = Response<R>>,
    {
        let result = inner.call(request).await;
        let failed = !matches!(&result, Ok(response) if !response.status().is_server_error());
        let record = execution.map(|execution| execution.finish(failed));
        let mut response = result?;
        if let Some(record) = record {
            if self.permit_headers {
                add_headers(&mut response, &record);
            }
            response
                .extensions_mut()
                .insert(Arc::unwrap_or_clone(record));
        }
        Ok(ResponseBody::inner(response))
    }

    pub(crate) fn refuse<R>(
        &self,
        refusal: &Refusal,
        request: &Parts,
    ) -> Response<ResponseBody<R>> {
        ResponseBody::refusal(refusal.answer(&*self.responder, request))
    }
}

/// What no header can hold is left out; the record has it.
fn add_headers<R>(response: &mut Response<R>, record: &PermitRecord) {
    let hash = record.audit_hash.as_deref();
    for (name, value) in [(PERMIT_ID, Some(&*record.id)), (AUDIT_HASH, hash)] {
        if let Some(value) = value.and_then(header_value) {
            response.headers_mut().insert(name, value);
        }
    }
}

impl<I: Clone, P, T> Clone for ProtectService<I, P, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            question: Arc::clone(&self.question),
            answers: self.answers.clone(),
            repeats: self.repeats,
        }
    }
}

impl<I, P, T> fmt::Debug for ProtectService<I, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectService").finish_non_exhaustive()
    }
}
