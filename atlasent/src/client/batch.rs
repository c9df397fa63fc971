//! Many evaluations in one call.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Client;
use super::failure::code_from_name;
use crate::error::{Code, Failure};
use crate::json::object::{Object, ObjectAndOthers};
use crate::text::redact::excerpt;
use crate::wire::SentRequestId;
use crate::wire::evaluate::ShadowEvaluation;
use crate::wire::{EvaluateRequest, Evaluation, RateLimit};
use crate::{Decision, Error};

/// The maximum number of requests in a batch (contract, part D).
pub(super) const MAX_REQUESTS: usize = 100;

/// The error code of a request that breaks a rule of the contract (HTTP 422).
const INVALID_FIELD: &str = "INVALID_FIELD";

/// 1 to 100 requests that are evaluated in one call, independently of each other.
///
/// ```
/// use atlasent::client::Batch;
/// use atlasent::wire::EvaluateRequest;
/// use atlasent::{Agent, AnyAction};
///
/// let may = |tool: &'static str| {
///     let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new(tool)?)?;
///     Ok::<_, atlasent::Error>(request.shadow(true)) // would it be allowed?
/// };
/// let batch = Batch::new([may("tool.search")?, may("tool.delete")?])?
///     .batch_id("7e0c2a34-6a8e-4f0e-9a58-0d4b1c1f6a55")?;
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Batch {
    items: Vec<EvaluateRequest>,
    batch_id: Option<String>,
}

impl Batch {
    /// Creates a batch of these requests.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there are no requests, or more than 100.
    pub fn new(requests: impl IntoIterator<Item = EvaluateRequest>) -> Result<Self, Error> {
        // One request above the limit is enough to detect too many, even in an endless iterator.
        let items: Vec<_> = requests.into_iter().take(MAX_REQUESTS + 1).collect();
        if items.is_empty() || items.len() > MAX_REQUESTS {
            return Err(Error::invalid(format!(
                "a batch has 1 to {MAX_REQUESTS} requests: split it"
            )));
        }
        Ok(Self {
            items,
            batch_id: None,
        })
    }

    /// Sets the id of the batch, a UUID, which the answer repeats. A second call replaces the
    /// first.
    ///
    /// The id does not make the batch repeatable: `atlasent serve` decides a batch that it gets
    /// again anew. To repeat single requests, give each of them a
    /// [`request_id`](crate::wire::RequestOptions::request_id).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `id` is not a UUID.
    pub fn batch_id(mut self, id: impl AsRef<str>) -> Result<Self, Error> {
        let id = id.as_ref();
        let uuid = Uuid::try_parse(id)
            .map_err(|_| Error::invalid(format!("the batch id `{}` is not a UUID", excerpt(id))))?;
        self.batch_id = Some(uuid.hyphenated().to_string());
        Ok(self)
    }
}

/// The answer to a [`Batch`].
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchAnswer {
    /// The id of the batch. The server chooses one if the request had none.
    pub batch_id: String,
    /// One result for each request, in the order of the requests. `Err` if the server could not
    /// decide that request.
    pub items: Vec<Result<Evaluation, Error>>,
    /// Whether the server reports that it could not decide some requests.
    pub partial: bool,
    /// The rate limit after this call. `None` if the server sent none.
    pub rate_limit: Option<RateLimit>,
}

#[derive(Serialize)]
struct WireBatch<'a> {
    items: &'a [EvaluateRequest],
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct WireAnswer {
    batch_id: String,
    items: Vec<ObjectAndOthers<WireItem>>,
    partial: bool,
}

#[derive(Deserialize)]
struct WireItem {
    index: usize,
    error_code: Option<String>,
    error_message: Option<String>,
}

impl Client {
    /// Asks for up to 100 decisions in one call, without verifying permits and without the cache:
    /// `POST /v1/evaluate/batch`.
    ///
    /// Each request has its own result. An unknown decision is a refusal. Servers without batches
    /// answer with [status](Failure::status) 404.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer. An answer with missing, additional
    /// or reordered items is not usable.
    ///
    /// ```no_run
    /// use atlasent::{Client, client::Batch};
    ///
    /// # async fn f(client: Client, batch: Batch) -> Result<(), atlasent::Error> {
    /// for (index, item) in client.evaluate_batch(&batch).await?.items.into_iter().enumerate() {
    ///     match item {
    ///         Ok(evaluation) => println!("{index}: {}", evaluation.decision),
    ///         Err(error) => println!("{index}: {error}"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn evaluate_batch(&self, batch: &Batch) -> Result<BatchAnswer, Error> {
        let items = batch.items.iter();
        let items: Vec<_> = items
            .map(|request| self.with_snapshot(request).into_owned())
            .collect();
        let body = WireBatch {
            items: &items,
            batch_id: batch.batch_id.as_deref(),
        };
        let transport = &self.shared.transport;
        let call = transport.post("/v1/evaluate/batch", &body)?.deciding();
        let mut response = transport.fetch_response(&call).await?;
        let Object(answer) = response.read::<Object<WireAnswer>>()?;
        let fail = |text: &str| Err(response.fail(Failure::new(Code::BadResponse, text)));
        let expected = batch.batch_id.as_deref();
        if expected.is_some_and(|id| !id.eq_ignore_ascii_case(&answer.batch_id)) {
            return fail("the answer is about another batch");
        }
        let indices = answer.items.iter().map(|item| item.known.index);
        if !indices.eq(0..batch.items.len()) {
            return fail("the answer does not have one item for each request, in their order");
        }
        let items = answer.items.into_iter().zip(&batch.items);
        let items = items.map(|(item, request)| {
            let mut evaluation = read(item, request.shadow == Some(true))
                .map_err(|failure| response.fail(failure))?;
            evaluation.sent_request_id = SentRequestId(Some(response.metadata.request_id.clone()));
            Ok(evaluation)
        });
        Ok(BatchAnswer {
            batch_id: answer.batch_id,
            items: items.collect(),
            partial: answer.partial,
            rate_limit: response.metadata.rate_limit,
        })
    }
}

/// Reads the result of one request.
fn read(item: ObjectAndOthers<WireItem>, is_shadow: bool) -> Result<Evaluation, Failure> {
    let ObjectAndOthers {
        known: item,
        other: evaluation,
    } = item;
    // An item with an error and a decision counts as an error.
    if item.error_code.is_some() || item.error_message.is_some() {
        let code = item.error_code.unwrap_or_default();
        let message = item.error_message.unwrap_or_default();
        let text = format!("{} {}", excerpt(&code), excerpt(&message));
        // An item has no status, which tells that a single request is rejected.
        let code = match &*code {
            INVALID_FIELD => Code::BadRequest,
            name => code_from_name(&name.to_ascii_lowercase()),
        };
        return Err(Failure::new(code, text.trim()));
    }
    let decision = evaluation.get("decision");
    if let Some(decision) = decision.filter(|decision| !decision.is_null())
        && Decision::deserialize(decision).is_err()
    {
        let text = "the authority's decision is unknown";
        return Ok(Evaluation::refuse(Decision::Deny, text));
    }
    let evaluation = Value::Object(evaluation);
    let read = match is_shadow {
        true => serde_json::from_value(evaluation).map(|ShadowEvaluation(answer)| answer),
        false => serde_json::from_value(evaluation),
    };
    // The error's text is left out, because it may repeat a secret from the answer.
    read.map_err(|_| Failure::new(Code::BadResponse, "the item's answer cannot be read"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Agent, AnyAction};

    fn request() -> EvaluateRequest {
        let action = AnyAction::new("deploy").unwrap();
        EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
    }

    #[test]
    fn a_batch_has_1_to_100_requests() {
        for (count, fits) in [(0, false), (1, true), (100, true), (101, false)] {
            let batch = Batch::new(std::iter::repeat_n(request(), count));
            assert_eq!(batch.is_ok(), fits, "{count}");
        }
        assert!(Batch::new(std::iter::repeat(request())).is_err());
    }

    #[test]
    fn an_item_that_breaks_the_contract_is_told_from_a_server_that_fails() {
        for (code, expected) in [
            ("INVALID_FIELD", Code::BadRequest),
            ("RATE_LIMITED", Code::RateLimited),
            ("STORE_UNAVAILABLE", Code::ServerError),
        ] {
            let item = json!({"index": 0, "error_code": code, "error_message": "no"});
            let item: ObjectAndOthers<WireItem> = serde_json::from_value(item).unwrap();
            assert_eq!(read(item, true).unwrap_err().code(), expected, "{code}");
        }
    }

    #[test]
    fn a_batch_is_named_by_a_uuid_and_the_second_name_counts() {
        let batch = Batch::new([request()]).unwrap();
        for bad in ["", "batch-1", "7e0c2a34-6a8e-4f0e-9a58-0d4b1c1f6a5"] {
            assert!(
                matches!(batch.clone().batch_id(bad), Err(Error::Invalid(_))),
                "{bad}"
            );
        }
        let named = batch
            .batch_id("7e0c2a34-6a8e-4f0e-9a58-0d4b1c1f6a55")
            .unwrap();
        let named = named
            .batch_id("00000000-0000-4000-8000-000000000000")
            .unwrap();
        assert_eq!(
            named.batch_id.as_deref(),
            Some("00000000-0000-4000-8000-000000000000")
        );
    }
}
