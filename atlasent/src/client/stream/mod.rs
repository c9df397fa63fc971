//! Evaluation streams: the server-sent events of `POST /v1-evaluate-stream`.

mod event;
pub(crate) mod reader;
pub(crate) mod sse;

pub use event::{StreamDecision, StreamEvent, StreamProgress};

use futures_util::stream::{self, Stream};
use reqwest::Response;
use serde_json::json;
use tokio::time::timeout;

use crate::Error;
use crate::client::message::{ApiRequest, scrub_failure};
use crate::client::transport::BODY_LIMIT;
use crate::client::{Client, failure};
use crate::error::{Code, Failure};
use crate::wire::EvaluateRequest;
use event::bad_response;
use reader::StreamReader;

impl Client {
    /// Asks for a decision, and streams its progress: `POST /v1-evaluate-stream`.
    ///
    /// The stream ends after the final decision, or with its first error; ending without a final
    /// decision is an error. Each part must arrive within the
    /// [timeout](crate::client::ClientBuilder::timeout). The call sends only the agent, actors,
    /// action and context of the request.
    ///
    /// A decision in a stream does not authorize the action: use `protect` for that.
    ///
    /// ```no_run
    /// use atlasent::client::StreamEvent;
    /// use atlasent::wire::EvaluateRequest;
    /// use atlasent::Client;
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn f(client: Client, request: EvaluateRequest) -> Result<(), atlasent::Error> {
    /// let mut events = std::pin::pin!(client.evaluate_stream(&request));
    /// while let Some(event) = events.try_next().await? {
    ///     match event {
    ///         StreamEvent::Progress(progress) => println!("{} …", progress.stage),
    ///         StreamEvent::Decision(decision) => println!("{}", decision.decision),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn evaluate_stream(
        &self,
        request: &EvaluateRequest,
    ) -> impl Stream<Item = Result<StreamEvent, Error>> + Send + use<> {
        let transport = &self.shared.transport;
        let mut body = json!({
            "action": request.action_type,
            "agent": request.actor_id,
            "context": request.context,
            "api_key": transport.credential.as_api_key(),
        });
        if let (Some(body), false) = (body.as_object_mut(), request.actors.is_empty()) {
            body.insert("actors".to_owned(), json!(request.actors));
        }
        let call = transport
            .post("/v1-evaluate-stream", &body)
            .map(|call| call.deciding().accept("text/event-stream"));
        let state = StreamState::Unsent(self.clone(), call);
        stream::try_unfold(state, async |state: StreamState| state.next().await)
    }
}

/// The state of an evaluation stream. The request is sent when the first event is needed.
enum StreamState {
    Unsent(Client, Result<ApiRequest, Error>),
    Open(Box<OpenStream>),
}

/// A stream whose answer is being received.
struct OpenStream {
    client: Client,
    response: Response,
    request_id: String,
    reader: StreamReader,
    received: usize,
}

impl StreamState {
    async fn next(self) -> Result<Option<(StreamEvent, Self)>, Error> {
        let mut open = match self {
            Self::Open(open) => open,
            Self::Unsent(client, call) => {
                let (response, metadata, secrets) = client.shared.transport.open(&call?).await?;
                Box::new(OpenStream {
                    client,
                    response,
                    request_id: metadata.request_id,
                    reader: StreamReader::new(BODY_LIMIT, secrets),
                    received: 0,
                })
            }
        };
        let next = open.next().await;
        let next = next
            .map_err(|failure| scrub_failure(failure, &open.request_id, open.reader.secrets()))?;
        Ok(next.map(|event| (event, Self::Open(open))))
    }
}

impl OpenStream {
    /// Returns the next event. `None` if the answer is complete.
    async fn next(&mut self) -> Result<Option<StreamEvent>, Failure> {
        loop {
            let event = self.reader.next_event()?;
            if event.is_some() || self.reader.is_complete() {
                return Ok(event);
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        let shared = &self.client.shared;
        let limit = shared.transport.limits.timeout;
        let chunk = timeout(limit, self.response.chunk())
            .await
            .map_err(|_| {
                let text = format!("the server sent nothing for {limit:?}");
                Failure::new(Code::Timeout, text)
            })?
            .map_err(|error| *failure::from_transport(error).failure)?;
        let Some(chunk) = chunk else {
            return self.reader.end();
        };
        self.received += chunk.len();
        if self.received > shared.stream_limit {
            let limit = shared.stream_limit;
            return Err(bad_response(format!(
                "the stream has more than {limit} bytes (raise `stream_limit` if it should)"
            )));
        }
        self.reader.push(&chunk);
        Ok(())
    }
}
