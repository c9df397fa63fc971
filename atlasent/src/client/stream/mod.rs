//! A decision as it comes about: server-sent events of `POST /v1-evaluate-stream`.

mod event;
pub(crate) mod reader;
pub(crate) mod sse;

pub use event::{StreamDecision, StreamEvent, StreamProgress};

use futures_util::stream::{self, Stream};
use reqwest::Response;
use serde_json::json;
use tokio::time::timeout;

use crate::Error;
use crate::client::transport::{BODY_LIMIT, Call, describe};
use crate::client::{Client, failure};
use crate::error::{Code, Failure};
use crate::wire::EvaluateRequest;
use event::bad_response;
use reader::StreamReader;

impl Client {
    /// Asks for a decision, and follows how it comes about: `POST /v1-evaluate-stream`.
    ///
    /// The stream ends after the final decision, or with its first error: one that breaks off
    /// without a final decision ends with an error. Each piece has to come within the
    /// [timeout](crate::client::ClientBuilder::timeout). The call sends agent, action and context; the
    /// other fields of the request are not part of it.
    ///
    /// What comes is data, and opens nothing: `protect` asks in one piece.
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
        let body = json!({
            "action": request.action_type,
            "agent": request.actor_id,
            "context": request.context,
            "api_key": transport.key.expose(),
        });
        let call = transport
            .post("/v1-evaluate-stream", &body)
            .map(|call| call.accept("text/event-stream"));
        let state = State::Unasked(self.clone(), call);
        stream::try_unfold(state, async |state: State| state.next().await)
    }
}

enum State {
    Unasked(Client, Result<Call, Error>),
    Open(Box<Open>),
}

/// A stream whose end has not come.
struct Open {
    client: Client,
    response: Response,
    request_id: String,
    reader: StreamReader,
    received: usize,
}

impl State {
    async fn next(self) -> Result<Option<(StreamEvent, Self)>, Error> {
        let mut open = match self {
            Self::Open(open) => open,
            Self::Unasked(client, call) => {
                let (response, about, secrets) = client.shared.transport.open(&call?).await?;
                Box::new(Open {
                    client,
                    response,
                    request_id: about.request_id,
                    reader: StreamReader::new(BODY_LIMIT, secrets),
                    received: 0,
                })
            }
        };
        let next = open.next().await;
        let next =
            next.map_err(|failure| describe(failure, &open.request_id, open.reader.secrets()))?;
        Ok(next.map(|event| (event, Self::Open(open))))
    }
}

impl Open {
    /// The next event; none when the answer is complete.
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
            .map_err(|_| Failure::new(Code::Timeout, format!("nothing came for {limit:?}")))?
            .map_err(|error| *failure::of_transport(error).failure)?;
        let Some(chunk) = chunk else {
            return self.reader.end();
        };
        self.received += chunk.len();
        if self.received > shared.stream_limit {
            return Err(bad_response("the stream has more bytes than it may"));
        }
        self.reader.push(&chunk);
        Ok(())
    }
}
