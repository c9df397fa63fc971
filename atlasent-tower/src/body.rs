//! The body of a response: the stream of the inner service, or the bytes of a refusal.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response. It streams the frames and trailers of the inner service unchanged,
    /// or holds the body of a refusal.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        content: Content<B>,
    }
}

pin_project! {
    #[project = ContentProject]
    #[derive(Debug)]
    enum Content<B> {
        Inner { #[pin] body: B },
        Refusal { body: Option<Bytes> },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn inner(response: Response<B>) -> Response<Self> {
        response.map(|body| Self {
            content: Content::Inner { body },
        })
    }

    pub(crate) fn refusal(response: Response<Bytes>) -> Response<Self> {
        response.map(|body| Self {
            content: Content::Refusal {
                body: (!body.is_empty()).then_some(body),
            },
        })
    }
}

/// An empty body, with which outer layers answer, as `tower_http::cors::CorsLayer` does a
/// preflight.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self {
            content: Content::Refusal { body: None },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().content.project() {
            ContentProject::Inner { body } => body.poll_frame(context),
            ContentProject::Refusal { body } => Poll::Ready(body.take().map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Inner { body } => body.is_end_stream(),
            Content::Refusal { body } => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Inner { body } => body.size_hint(),
            Content::Refusal { body } => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
        }
    }
}
