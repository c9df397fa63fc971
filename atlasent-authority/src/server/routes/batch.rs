//! Many questions in one request, each decided and audited by itself (contract, part D).

use std::sync::Arc;

use atlasent::Decision;
use atlasent::wire::Evaluation;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::decide::{decide, respond};
use crate::keys::ApiScope;
use crate::server::api_error::Problem;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::decide::Evaluate;
use crate::store::Store;

/// How many questions a batch has at the most (contract, part D).
const MAX_ITEMS: usize = 100;

#[derive(Deserialize)]
struct WireBatch<'a> {
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
    batch_id: Option<String>,
    api_key: Option<String>,
}

/// `POST /v1/evaluate/batch`
pub(crate) async fn evaluate<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let answered = async {
        client.may(ApiScope::Evaluate)?;
        let bytes = body::read(request).await?;
        let wire: WireBatch<'_> = body::parse(&bytes)?;
        body::check_key(wire.api_key.as_deref(), &client.key)?;
        let items = wire.items.unwrap_or_default();
        if !(1..=MAX_ITEMS).contains(&items.len()) {
            let text = format!("`items` has to hold 1 to {MAX_ITEMS} requests");
            return Err(Problem::invalid(text));
        }
        let batch_id = batch_id(wire.batch_id)?;
        // They wait for the store together, so that they share its transactions.
        let answers = items
            .iter()
            .map(|item| answer(&app, &client, item.get().as_bytes()));
        let answers = join_all(answers).await;
        let partial = answers.iter().any(Result::is_err);
        let items = (0..).zip(answers);
        Ok::<_, Problem>(BatchAnswer {
            batch_id,
            items: items
                .map(|(index, answer)| Item::new(index, answer))
                .collect(),
            partial,
        })
    };
    respond(answered.await, &client)
}

/// The id that the caller gave the batch, else a new one.
fn batch_id(sent: Option<String>) -> Result<String, Problem> {
    let Some(sent) = sent else {
        return Ok(Uuid::new_v4().to_string());
    };
    match Uuid::try_parse(&sent) {
        Ok(_) => Ok(sent),
        Err(_) => Err(Problem::invalid("`batch_id` has to be a UUID")),
    }
}

async fn answer<S: Store>(
    app: &App<S>,
    client: &ApiCaller,
    item: &[u8],
) -> Result<Evaluation, Problem> {
    let question = Evaluate::read(item, &client.key)?;
    decide(app, client, &question).await
}

#[derive(Serialize)]
struct BatchAnswer {
    batch_id: String,
    items: Vec<Item>,
    partial: bool,
}

#[derive(Serialize)]
struct Item {
    index: usize,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Decided(Box<Evaluation>),
    /// A question that was not decided, which is a denial to a reader that knows decisions only.
    Failed {
        decision: Decision,
        permitted: bool,
        error_code: &'static str,
        error_message: String,
    },
}

impl Item {
    fn new(index: usize, answer: Result<Evaluation, Problem>) -> Self {
        let answer = match answer {
            Ok(evaluation) => Answer::Decided(Box::new(evaluation)),
            Err(problem) => Answer::Failed {
                decision: Decision::Deny,
                permitted: false,
                error_code: problem.code,
                error_message: problem.message().to_owned(),
            },
        };
        Self { index, answer }
    }
}
