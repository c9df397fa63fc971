//! What a client sees: refusals, shortened lists, and the requests that a server puts into results.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::http::{FIRST_WITHOUT_SESSIONS, META_VERSION};
use super::message::{
    Kind as MessageKind, Message, RequestId, check_unique, error_response, result_response,
};
use super::pins::PinCheck;
use super::session::lists::Members;
use super::tools::ListedTools;
use super::{Guard, operation};
use crate::gate::List;
use crate::operation::{Kind, Operation};
use crate::{Caller, Refusal};

impl Guard {
    /// Returns the response to a request that was refused: an error that the model reads for a call
    /// of a tool, and else a JSON-RPC error. A call that was sent as a task gets a JSON-RPC error,
    /// because its client expects a task and cannot read the result of a call.
    pub(super) fn refused(&self, message: &Message, id: &RequestId, refusal: &Refusal) -> String {
        let tool = operation(message)
            .ok()
            .filter(|operation| operation.kind() == Kind::Tool && !operation.is_task());
        if let Some(tool) = tool.as_ref().and_then(Operation::target) {
            let mut result = refusal.tool_result(self.gate.has_output_schema(tool));
            // The first version without sessions has kinds of results, and asks for the kind.
            if needs_result_type(message)
                && let Some(result) = result.as_object_mut()
            {
                result.insert("resultType".to_owned(), "complete".into());
            }
            if let Ok(result) = serde_json::value::to_raw_value(&result) {
                return result_response(id, &result);
            }
        }
        refused_request(id, refusal)
    }

    /// Returns the response for the client. A list shows only what the caller could use. Each
    /// request to the client within a response needs a permit.
    pub(super) async fn shown(
        &self,
        method: &str,
        message: &Message,
        id: &RequestId,
        caller: &Caller,
        listed: &ListedTools,
    ) -> Arc<str> {
        let shown = match self.check_inputs(message, caller).await {
            Ok(()) => match (message.kind(), List::of_method(method)) {
                (MessageKind::Result { .. }, Some(list)) => {
                    self.list(list, message, caller, listed).await
                }
                _ => Ok(None),
            },
            Err(refusal) => Err(refusal),
        };
        match shown {
            Ok(None) => message.to_shared_text(),
            Ok(Some(result)) => match RawValue::from_string(result) {
                Ok(result) => result_response(id, &result).into(),
                Err(_) => error_response(
                    Some(id),
                    crate::refusal::REFUSED,
                    "the list is unusable",
                    None,
                )
                .into(),
            },
            Err(refusal) => refused_request(id, &refusal).into(),
        }
    }

    /// Obtains a permit for each request to the client in a response or a notification.
    pub(super) async fn check_inputs(
        &self,
        message: &Message,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let body = message.body().unwrap_or_default();
        self.gate.authorize_inputs(body, Ok(caller)).await
    }

    /// Returns the result of a list with what the caller may see, or `None` if that is all of it.
    async fn list(
        &self,
        list: &List,
        message: &Message,
        caller: &Caller,
        listed: &ListedTools,
    ) -> Result<Option<String>, Refusal> {
        let unusable = || {
            Refusal::invalid(
                "MALFORMED_LIST",
                "the server sent a list that cannot be read",
            )
        };
        let body = message.body().unwrap_or("null");
        check_unique(body).map_err(|_| unusable())?;
        let members = Members::parse(body).ok_or_else(unusable)?;
        let Some(written) = members.items(list.member) else {
            // Not a list that a client could read.
            return Err(unusable());
        };
        let items: Result<Vec<Value>, _> = written
            .iter()
            .map(|item| serde_json::from_str(item.get()))
            .collect();
        let mut kept = items.map_err(|_| unusable())?;
        if list.member == "tools" {
            // Without the definitions, the gate does not know which arguments it has to hide.
            if !self.gate.knows_tools() {
                return Err(Refusal::unavailable(
                    "TOOLS_UNKNOWN",
                    "the guard cannot use the tools of the server: its log says why",
                ));
            }
            kept = self.unchanged_tools(kept, listed).ok_or_else(unusable)?;
        }
        let result = serde_json::json!({ list.member: kept });
        let mut result = self.gate.filter_items(list, result, caller).await?;
        let Some(Value::Array(kept)) = result.get_mut(list.member).map(Value::take) else {
            return Err(unusable());
        };
        Ok(rewritten(&members, list, &written, &kept))
    }

    /// Leaves out the tools whose definition changed. `None` if a tool has no name, or the pins
    /// cannot be used.
    fn unchanged_tools(&self, tools: Vec<Value>, listed: &ListedTools) -> Option<Vec<Value>> {
        let named = tools.into_iter().map(|tool| {
            let name = tool.get("name")?.as_str()?.to_owned();
            Some((name, tool))
        });
        let named: Option<Vec<(String, Value)>> = named.collect();
        let named = named?;
        let checks = self.compare(&named).inspect_err(|error| {
            tracing::error!(%error, "the pins of the tools cannot be used");
        });
        let checks = checks.ok()?;
        listed.add(&named, &checks);
        let tools = named.into_iter().zip(checks);
        let same = tools.filter(|(_, check)| *check == PinCheck::Same);
        Some(same.map(|((_, tool), _)| tool).collect())
    }
}

/// Returns the error for a request that was refused.
pub(super) fn refused_request(id: &RequestId, refusal: &Refusal) -> String {
    let error = refusal.rpc_error();
    let code = error.get("code").and_then(Value::as_i64);
    let code = code.unwrap_or(crate::refusal::REFUSED);
    error_response(Some(id), code, &refusal.advice(), error.get("data"))
}

/// Whether the version of a request asks for the kind of its result.
fn needs_result_type(message: &Message) -> bool {
    let params: Option<Value> = message
        .body()
        .and_then(|params| serde_json::from_str(params).ok());
    let version = params
        .as_ref()
        .and_then(|params| params.get("_meta")?.get(META_VERSION)?.as_str());
    version.is_some_and(|version| version >= FIRST_WITHOUT_SESSIONS)
}

/// Writes a list with the items that are kept. An item that is unchanged stays as it was written.
/// `None` if all are.
fn rewritten(
    members: &Members<'_>,
    list: &List,
    written: &[&RawValue],
    kept: &[Value],
) -> Option<String> {
    let mut rest = written.iter();
    let mut is_unchanged = written.len() == kept.len();
    let items = kept.iter().map(|item| {
        // The kept items are in the order of the written ones.
        let same = rest.by_ref().find(|raw| {
            serde_json::from_str::<Value>(raw.get()).is_ok_and(|written| is_same(&written, item))
        });
        match same {
            Some(raw) if serde_json::from_str::<Value>(raw.get()).is_ok_and(|raw| raw == *item) => {
                raw.get().to_owned()
            }
            _ => {
                is_unchanged = false;
                item.to_string()
            }
        }
    });
    let items: Vec<String> = items.collect();
    if is_unchanged {
        return None;
    }
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    Some(members.with_items(list.member, &items))
}

/// Whether two items have the same name or URI.
fn is_same(one: &Value, other: &Value) -> bool {
    let name = |item: &Value| item.get("uri").or_else(|| item.get("name")).cloned();
    name(one) == name(other)
}
