//! Builds the responses of a service that obtains permits.

use std::sync::Arc;

use atlasent::permit::{Execution, PermitRecord};
use http::request::Parts;
use http::{HeaderName, Request, Response};
use tower_service::Service;

use crate::grpc::header_value;
use crate::{Refusal, Respond, ResponseBody};

const PERMIT_ID: HeaderName = HeaderName::from_static("x-atlasent-permit-id");
const AUDIT_HASH: HeaderName = HeaderName::from_static("x-atlasent-audit-hash");

/// Builds the responses of a layer: to refused requests, and to executed ones.
#[derive(Clone)]
pub(crate) struct Responder {
    pub(super) permit_headers: bool,
    pub(super) respond: Arc<dyn Respond>,
}

impl Responder {
    pub(crate) fn new(respond: impl Respond) -> Self {
        Self {
            permit_headers: false,
            respond: Arc::new(respond),
        }
    }

    /// Calls the inner service. With an execution, finishes it, and adds its record to the
    /// response.
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
        let failure = match &result {
            Ok(response) if !response.status().is_server_error() => None,
            Ok(response) => Some(format!("answered {}", response.status().as_u16())),
            Err(_) => Some("the service failed".to_owned()),
        };
        let record = execution.map(|execution| match failure {
            Some(why) => execution.with_error(why).finish(true),
            None => execution.finish(false),
        });
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

    /// Logs the refusal and builds its response.
    pub(crate) fn refuse<R>(
        &self,
        refusal: &Refusal,
        request: &Parts,
    ) -> Response<ResponseBody<R>> {
        ResponseBody::refusal(refusal.answer(&*self.respond, request))
    }
}

/// Adds the headers of the permit. A value that a header cannot hold is left out; the record has
/// it.
fn add_headers<R>(response: &mut Response<R>, record: &PermitRecord) {
    let hash = record.audit_hash.as_deref();
    for (name, value) in [(PERMIT_ID, Some(&*record.id)), (AUDIT_HASH, hash)] {
        if let Some(value) = value.and_then(header_value) {
            response.headers_mut().insert(name, value);
        }
    }
}
