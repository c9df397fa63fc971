//! Requests to a client that a server puts into another message.
//!
//! A server asks its client with a request of its own, which needs a permit, or within another
//! message. This module finds the requests within other messages, so that each of them needs a
//! permit too:
//!
//! ```text
//! {"inputRequests": {"a": {"method": "elicitation/create", "params": {…}}}}   a result, or a task
//! {"status": "completed", "result": {"inputRequests": {…}}}                   the result of a task
//! {"code": -32042, "data": {"elicitations": [{"mode": "url", …}]}}            an error
//! {"status": "failed", "error": {"code": -32042, …}}                          the error of a task
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use atlasent::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Gate, Silent};
use crate::caller::Caller;
use crate::operation::{Kind, Operation};
use crate::refusal::Refusal;

/// The JSON-RPC code of an error that asks a person to open URLs.
const URL_ELICITATION_REQUIRED: f64 = -32042.0;

/// The most requests within one message. The authority is asked about each of them.
const MAX_ASKED: usize = 64;

/// The method of the request that [`URL_ELICITATION_REQUIRED`] stands for.
const ELICIT: &str = "elicitation/create";

/// The members of a result, an error, or the params of a notification that hold requests.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asking<'a> {
    #[serde(borrow, rename = "inputRequests")]
    input_requests: Option<&'a RawValue>,
    /// The result, and the error, of a task that ended.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// The code and the data of an error.
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorData<'a> {
    #[serde(borrow)]
    elicitations: Option<Vec<&'a RawValue>>,
}

/// Returns whether a result, an error, or the params of a notification may ask the client for
/// something. Most do not, and are not parsed for it.
pub(crate) fn may_ask(body: &str) -> bool {
    // The name of a member may be written with escapes.
    ["inputRequests", "elicitations", "-32042", "\\u"]
        .iter()
        .any(|part| body.contains(part))
}

/// Returns whether a result, an error, or the params of a notification ask the client for nothing,
/// so that no permit is needed. A member whose name is written with escapes is found, too.
pub(crate) fn asks_nothing(body: &str) -> bool {
    !may_ask(body) || asked(body).is_ok_and(|asked| asked.is_empty())
}

impl Gate {
    /// Obtains a permit for each request to the client in a result, an error, or the params of a
    /// notification.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if one of the requests is not permitted, is not for clients, or cannot be read.
    /// If `caller` is a refusal, and there are requests, that refusal.
    pub(crate) async fn authorize_inputs(
        &self,
        body: &str,
        caller: Result<&Caller, &Refusal>,
    ) -> Result<(), Refusal> {
        if !may_ask(body) {
            return Ok(());
        }
        let asked = asked(body)?;
        if asked.is_empty() {
            return Ok(());
        }
        if asked.len() > MAX_ASKED {
            return Err(unreadable());
        }
        let caller = caller.map_err(Clone::clone)?;
        for operation in asked {
            let clearance = self.authorize(&operation, caller, &Silent).await?;
            // The answer of the person or the model is not known here: the client sends it to the
            // server in its next request.
            clearance.completed("");
        }
        Ok(())
    }
}

/// Returns the requests to the client.
fn asked(body: &str) -> Result<Vec<Operation>, Refusal> {
    let mut found = Vec::new();
    let outer = collect(body, &mut found)?;
    for inner in [outer.result, outer.error].into_iter().flatten() {
        collect(inner.get(), &mut found)?;
    }
    Ok(found)
}

fn collect<'a>(body: &'a str, found: &mut Vec<Operation>) -> Result<Asking<'a>, Refusal> {
    if !body.starts_with('{') {
        return Ok(Asking::default());
    }
    let asking: Asking<'a> = serde_json::from_str(body).map_err(|_| unreadable())?;
    for request in requests(asking.input_requests)?.values() {
        let operation = Operation::parse(&request.method, request.params)?;
        // A request of another kind would let the server act in the name of the agent.
        if operation.kind() != Kind::Client {
            return Err(Refusal::unmapped(&operation));
        }
        found.push(operation);
    }
    let data = asking
        .data
        .map(RawValue::get)
        .filter(|data| data.starts_with('{'));
    let data: ErrorData<'_> = match data {
        Some(data) => serde_json::from_str(data).map_err(|_| unreadable())?,
        None => ErrorData::default(),
    };
    let asks_for_urls = asking.code.is_some_and(|code| {
        serde_json::from_str(code.get()).is_ok_and(|code: f64| code == URL_ELICITATION_REQUIRED)
    });
    match data.elicitations {
        Some(elicitations) => {
            for params in elicitations {
                found.push(Operation::parse(ELICIT, Some(params))?);
            }
        }
        None if asks_for_urls => return Err(unreadable()),
        None => {}
    }
    Ok(asking)
}

/// Reads the requests of a result. A repeated member is refused, because two readers could take it
/// for two different requests.
fn requests(json: Option<&RawValue>) -> Result<BTreeMap<String, Request<'_>>, Refusal> {
    let Some(json) = json.map(RawValue::get) else {
        return Ok(BTreeMap::new());
    };
    Context::parse(json).map_err(|_| unreadable())?;
    serde_json::from_str(json).map_err(|_| unreadable())
}

fn unreadable() -> Refusal {
    Refusal::invalid(
        "MALFORMED_RESULT",
        "the server asks for input in a form that cannot be read",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(body: &str) -> Result<Vec<String>, Refusal> {
        assert!(may_ask(body), "{body}");
        let found = asked(body)?;
        Ok(found.iter().map(|one| one.method().to_owned()).collect())
    }

    #[test]
    fn each_form_of_a_request_to_the_client_is_found() {
        for (body, expected) in [
            (
                r#"{"inputRequests":{"a":{"method":"roots/list"},"b":{"method":"sampling/createMessage","params":{"messages":[]}}}}"#,
                &["roots/list", "sampling/createMessage"][..],
            ),
            (
                r#"{"input\u0052equests":{"a":{"method":"roots/list"}}}"#,
                &["roots/list"],
            ),
            (
                r#"{"tools":[],"inputRequests":{"a":{"method":"roots/list"}}}"#,
                &["roots/list"],
            ),
            (
                r#"{"taskId":"1","status":"completed","result":{"inputRequests":{"a":{"method":"roots/list"}}}}"#,
                &["roots/list"],
            ),
            (
                r#"{"code":-32042,"message":"","data":{"elicitations":[{"mode":"url","url":"https://a"},{"mode":"url","url":"https://b"}]}}"#,
                &[ELICIT, ELICIT],
            ),
            (
                r#"{"taskId":"1","status":"failed","error":{"code":-32042,"data":{"elicitations":[{}]}}}"#,
                &[ELICIT],
            ),
            (
                r#"{"code":"-32042","data":{"elicitations":[{}]}}"#,
                &[ELICIT],
            ),
            // Content that only looks like it.
            (
                r#"{"content":[{"text":"inputRequests"}],"structuredContent":{"inputRequests":{"a":{"method":"roots/list"}}}}"#,
                &[],
            ),
            (r#"{"inputRequests":null}"#, &[]),
            (r#""inputRequests""#, &[]),
        ] {
            assert_eq!(methods(body).unwrap(), expected, "{body}");
            assert_eq!(asks_nothing(body), expected.is_empty(), "{body}");
        }
        assert!(!may_ask(r#"{"content":[]}"#));
        assert!(asks_nothing(r#"{"level":"info","data":"caf\u00e9"}"#));
    }

    #[test]
    fn a_message_that_is_not_a_valid_request_to_a_client_is_refused() {
        for body in [
            r#"{"inputRequests":[{"method":"roots/list"}]}"#,
            r#"{"inputRequests":{"a":{"method":7}}}"#,
            r#"{"inputRequests":{"a":{}}}"#,
            r#"{"inputRequests":{"a":{"method":"roots/list"}},"input\u0052equests":{}}"#,
            r#"{"inputRequests":{"a":{"method":"roots/list"},"a":{"method":"elicitation/create"}}}"#,
            r#"{"inputRequests":{"a":{"method":"roots/list","method":"elicitation/create"}}}"#,
            r#"{"code":-32042,"data":{"elicitations":[]},"data":{"elicitations":[{}]}}"#,
            r#"{"inputRequests":{"a":{"method":"elicitation/create","params":[]}}}"#,
            // Requests that are not for clients would use up a permit of the agent.
            r#"{"inputRequests":{"a":{"method":"tools/call","params":{"name":"pay"}}}}"#,
            r#"{"inputRequests":{"a":{"method":"tasks/get","params":{"taskId":"1"}}}}"#,
            r#"{"inputRequests":{"a":{"method":"acme/deploy"}}}"#,
            r#"{"inputRequests":{"a":{"method":"ping"}}}"#,
            r#"{"code":-32042,"message":"open it yourself"}"#,
            r#"{"code":-32042.0,"data":null,"x":"-32042"}"#,
            r#"{"code":-32042,"data":{"elicitations":{"url":"https://a"}}}"#,
            r#"{"code":-32042,"data":{"elicitations":["https://a"]}}"#,
        ] {
            assert!(methods(body).is_err(), "{body}");
            assert!(!asks_nothing(body), "{body}");
        }
    }
}
