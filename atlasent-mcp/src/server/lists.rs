//! Lists of a guarded server, and the announcement that they changed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::ServerResult;
use rmcp::service::Peer;
use rmcp::{RoleServer, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::GuardedServer;
use crate::caller::Caller;
use crate::gate::{Gate, List};
use crate::operation::Operation;
use crate::refusal::Refusal;

/// How often the task of a session looks whether the session has ended.
const LOOKS: Duration = Duration::from_secs(30);

/// Returns a result without the items that the caller could not use.
pub(super) async fn filter(
    gate: &Gate,
    operation: &Operation,
    result: ServerResult,
    caller: &Caller,
) -> Result<ServerResult, Refusal> {
    let list = Filter {
        gate,
        operation,
        caller,
    };
    Ok(match result {
        ServerResult::ListToolsResult(mut result) => {
            result.tools = list.visible("tools", result.tools).await?;
            ServerResult::ListToolsResult(result)
        }
        ServerResult::ListPromptsResult(mut result) => {
            result.prompts = list.visible("prompts", result.prompts).await?;
            ServerResult::ListPromptsResult(result)
        }
        ServerResult::ListResourcesResult(mut result) => {
            result.resources = list.visible("resources", result.resources).await?;
            ServerResult::ListResourcesResult(result)
        }
        ServerResult::ListSkillsResult(mut result) => {
            result.skills = list.visible("skills", result.skills).await?;
            ServerResult::ListSkillsResult(result)
        }
        result @ ServerResult::ListResourceTemplatesResult(_) => result,
        // A list in a shape that is not known cannot be filtered.
        _ if List::of_method(operation.method()).is_some() => {
            return Err(Refusal::unavailable(
                "UNREADABLE_LIST",
                "the list cannot be shown",
            ));
        }
        result => result,
    })
}

struct Filter<'a> {
    gate: &'a Gate,
    operation: &'a Operation,
    caller: &'a Caller,
}

impl Filter<'_> {
    async fn visible<T: Serialize + DeserializeOwned>(
        &self,
        member: &str,
        items: Vec<T>,
    ) -> Result<Vec<T>, Refusal> {
        let unreadable = |_| Refusal::unavailable("UNREADABLE_LIST", "the list cannot be shown");
        let all = json!({ member: serde_json::to_value(items).map_err(unreadable)? });
        let mut shown = self
            .gate
            .filter_list(self.operation, all, self.caller)
            .await?;
        let items = shown.get_mut(member).map(serde_json::Value::take);
        serde_json::from_value(items.unwrap_or_default()).map_err(unreadable)
    }
}

impl<S: Service<RoleServer>> GuardedServer<S> {
    /// Starts to notify the client of this session when the lists may have changed. A second call
    /// in the session changes nothing.
    ///
    /// Sessions of the protocol 2026-07-28 and later get such notifications only on the stream of
    /// `subscriptions/listen`, which belongs to the server.
    pub(super) fn announce_changes(&self, peer: &Peer<RoleServer>) {
        if peer.peer_info().is_none() || self.announces.swap(true, Ordering::Relaxed) {
            return;
        }
        let capabilities = self.server.get_info().capabilities;
        let mut changes = self.gate.watch_lists();
        let peer = peer.clone();
        tokio::spawn(async move {
            while !peer.is_transport_closed() {
                match tokio::time::timeout(LOOKS, changes.changed()).await {
                    Err(_) => continue,
                    Ok(Err(_)) => return,
                    Ok(Ok(())) => {}
                }
                if capabilities.tools.is_some() && peer.notify_tool_list_changed().await.is_err() {
                    return;
                }
                if capabilities.prompts.is_some()
                    && peer.notify_prompt_list_changed().await.is_err()
                {
                    return;
                }
                if capabilities.resources.is_some()
                    && peer.notify_resource_list_changed().await.is_err()
                {
                    return;
                }
            }
        });
    }
}
