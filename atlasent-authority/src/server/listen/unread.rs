//! The rest of a request's body, when the response is ready before the body was read.
//!
//! hyper closes the connection of such a request without telling the client, so the client's next
//! request on it fails. Most of these bodies are small and arrive a moment after their headers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

/// How long the server waits for the rest of a body.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// How many bytes of the rest are read.
const MAX_REST: usize = 1024 * 1024;

/// How many bytes of the rest of a body that is too large are read. Many clients read no response
/// before they have sent their whole body. When the server closes the connection meanwhile, such a
/// client gets an error of the connection in place of the response.
const MAX_REST_OF_TOO_LARGE: usize = 16 * 1024 * 1024;

/// Reads the part of a body that the endpoint did not read, before the response is sent, so that
/// the client can send its next request on the same connection. If the body was too large, or the
/// rest is large or slow, the response tells the client that the connection closes (RFC 9112,
/// section 9.6).
///
/// The request holds no concurrency slot meanwhile, and the bytes are dropped as they arrive.
pub(super) async fn read_rest(request: Request, next: Next) -> Response {
    // In HTTP/2, an unread body does not hold up the next request.
    if request.body().is_end_stream() || request.version() > Version::HTTP_11 {
        return next.run(request).await;
    }
    // With `Expect`, the client waits for `100 Continue` before it sends its body (RFC 9110,
    // section 10.1.1).
    let waits = request.headers().contains_key(header::EXPECT);
    let rest = Rest::default();
    let request = request.map(|body| {
        Body::new(LentBody {
            body: Some(body),
            rest: Arc::clone(&rest),
        })
    });
    let mut response = next.run(request).await;
    let rest = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(rest) = rest else {
        return response;
    };
    let status = response.status();
    let is_too_large = status == StatusCode::PAYLOAD_TOO_LARGE;
    let most = match is_too_large {
        true => MAX_REST_OF_TOO_LARGE,
        false => MAX_REST,
    };
    // The server has waited for a slow body already.
    let is_slow = status == StatusCode::REQUEST_TIMEOUT;
    let is_read = !waits && !is_slow && read_to_end(rest, most).await;
    if is_too_large || !is_read {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Reads a body of at most `most` bytes to its end. Returns whether it ended within the limits.
async fn read_to_end(body: Body, most: usize) -> bool {
    if body.size_hint().lower() > most as u64 {
        return false;
    }
    let mut body = Limited::new(body, most);
    let reading = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    timeout(MAX_WAIT, reading).await.unwrap_or(false)
}

/// The body that an endpoint dropped before its end.
type Rest = Arc<Mutex<Option<Body>>>;

/// A body that is put into `rest` if it is dropped before its end.
struct LentBody {
    /// Unset after its end or an error.
    body: Option<Body>,
    rest: Rest,
}

impl HttpBody for LentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}
