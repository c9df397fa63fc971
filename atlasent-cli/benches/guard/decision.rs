//! What a guard asks its authority, in this process: one decision, and a list in one batch.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atlasent::AuthorityExt;
use atlasent_authority::{LocalAuthority, Policies, RedbStore};
use atlasent_mcp::gate::{Gate, Silent};
use atlasent_mcp::{Caller, Mapping, Operation, Tool};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{NAME, TOOLS, server};

/// Opens a gate in front of the tools, whose authority has a store of its own.
async fn gate(folder: &Path, store: &str) -> Gate {
    let policies = Policies::from_dir(folder.join("policies")).unwrap();
    let store = RedbStore::open(folder.join(store)).unwrap();
    let authority = LocalAuthority::builder(policies).store(store).build().await;
    let authority = Arc::new(authority.unwrap());
    let gate = Gate::builder(authority, Mapping::standard(NAME).unwrap())
        .list_cache(Duration::ZERO)
        .build();
    let tools = server::tools();
    let tools = tools.as_array().unwrap().iter();
    let tools: Result<Vec<Tool>, _> = tools.map(Tool::from_json).collect();
    assert!(gate.set_tools(tools.unwrap()).unwrap().is_empty());
    gate
}

/// Measures decisions with their receipts.
pub(super) fn measure(folder: &Path, calls: usize) -> Vec<Duration> {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let gate = gate(folder, "decision.redb").await;
        let authority = Arc::clone(gate.authority());
        let mut durations = Vec::new();
        for id in 0..calls + calls / 4 {
            let arguments = json!({"path": format!("/srv/{id}")}).to_string();
            let context = atlasent::Context::parse(&arguments).unwrap();
            let action = atlasent::AnyAction::new(format!("mcp.{NAME}.tool_0")).unwrap();
            let begun = Instant::now();
            let ask =
                authority.with_permit("mcp-client", action.with_context(context), async |_| {
                    Ok::<_, atlasent::Error>(())
                });
            ask.await.unwrap();
            durations.push(begun.elapsed());
        }
        durations.split_off(calls / 4)
    })
}

/// Measures the filtering of a list of all tools.
pub(super) fn measure_list(folder: &Path, lists: usize) -> Vec<Duration> {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let gate = gate(folder, "list.redb").await;
        let caller = Caller::configured("mcp-client").unwrap();
        let list = Operation::parse("tools/list", None).unwrap();
        // A list needs no permit.
        drop(gate.authorize(&list, &caller, &Silent).await.unwrap());
        let mut durations = Vec::new();
        for _ in 0..lists + lists / 4 {
            let result = json!({ "tools": server::tools() });
            let begun = Instant::now();
            let shown = gate.filter_list(&list, result, &caller).await.unwrap();
            durations.push(begun.elapsed());
            let shown = shown["tools"].as_array().map_or(0, Vec::len);
            assert_eq!(shown, TOOLS / 2);
        }
        durations.split_off(lists / 4)
    })
}
