//! Tests that a tool which is protected by itself and its gate ask once, and that the tool asks on
//! its own where their questions differ.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent::{Action, Permit, protect};
use atlasent_mcp::server::{Callers, GuardedServer};
use atlasent_mcp::{Caller, Mapping, Rule};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ContentBlock, IntoContents};
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use serde_json::json;

use crate::support::{AGENT, Connection, Reached, gate};

#[derive(Action, Deserialize, JsonSchema)]
#[action("table.drop")]
struct DropTable {
    #[action(resource)]
    table: String,
    rows: u32,
}

#[derive(Clone)]
struct Tables {
    authority: Arc<MockAuthority>,
    reached: Reached,
}

struct Refused(String);

impl From<atlasent::Error> for Refused {
    fn from(error: atlasent::Error) -> Self {
        Self(error.to_string())
    }
}

impl IntoContents for Refused {
    fn into_contents(self) -> Vec<ContentBlock> {
        vec![ContentBlock::text(self.0)]
    }
}

#[tool_router(server_handler)]
impl Tables {
    /// Drops a table.
    #[protect(action = drop, agent = AGENT, authority = self.authority)]
    #[tool]
    async fn drop_table(
        &self,
        Parameters(drop): Parameters<DropTable>,
        permit: Permit<DropTable>,
    ) -> Result<String, Refused> {
        let DropTable { table, rows } = permit.into_action();
        self.reached
            .add("drop_table", json!({"table": table, "rows": rows}));
        Ok("gone".to_owned())
    }

    /// Drops two tables.
    #[tool]
    async fn drop_two(&self, Parameters(drop): Parameters<DropTable>) -> Result<String, Refused> {
        let DropTable { table, rows } = drop;
        for _ in 0..2 {
            let table = table.clone();
            self.drop_table(Parameters(DropTable { table, rows }))
                .await?;
        }
        Ok("both gone".to_owned())
    }
}

async fn open(authority: &Arc<MockAuthority>, rules: &[(&str, Rule)]) -> (Connection, Reached) {
    let reached = Reached::default();
    let tables = Tables {
        authority: Arc::clone(authority),
        reached: reached.clone(),
    };
    let mut mapping = Mapping::standard("db").unwrap();
    for (tool, rule) in rules {
        mapping = mapping.tool(*tool, rule.clone());
    }
    let agent = Callers::configured(Caller::configured(AGENT).unwrap());
    let gate = gate(authority.clone(), mapping);
    let tools = Tables::tool_router().list_all();
    let server = GuardedServer::new(tables, tools, gate, agent).unwrap();
    (Connection::open(server).await, reached)
}

fn rule() -> Rule {
    Rule::new().action("table.drop").resource("table")
}

#[tokio::test]
async fn both_gates_together_ask_once() {
    let authority = Arc::new(MockAuthority::new().allow("table.drop"));
    let (mut client, reached) = open(&authority, &[("drop_table", rule())]).await;
    let result = client
        .call("drop_table", json!({"table": "a", "rows": 7}))
        .await
        .unwrap();
    assert_eq!(result["content"][0]["text"], "gone", "{result}");
    assert_eq!(
        reached.all(),
        [("drop_table".to_owned(), json!({"table": "a", "rows": 7}))]
    );
    assert_eq!(
        authority.calls().len(),
        2,
        "one evaluation and one verification"
    );
    assert_eq!(authority.receipts().len(), 1);
}

#[tokio::test]
async fn the_permit_of_the_gate_is_taken_once() {
    let authority = Arc::new(MockAuthority::new().allow("table.drop"));
    let (mut client, reached) = open(&authority, &[("drop_two", rule())]).await;
    client
        .call("drop_two", json!({"table": "a", "rows": 7}))
        .await
        .unwrap();
    assert_eq!(reached.count(), 2);
    assert_eq!(
        authority.calls().len(),
        4,
        "the second table asks on its own"
    );
}

#[tokio::test]
async fn a_tool_asks_on_its_own_where_the_questions_differ() {
    // The gate allows the standard action; the tool's own is not allowed.
    let authority = Arc::new(MockAuthority::new().allow("mcp.db.drop_table"));
    let (mut client, reached) = open(&authority, &[]).await;
    let result = client
        .call("drop_table", json!({"table": "a", "rows": 7}))
        .await
        .unwrap();
    assert_eq!(result["isError"], true);
    assert_eq!((reached.count(), authority.calls().len()), (0, 3));

    // The resource of the gate is another.
    let authority = Arc::new(MockAuthority::new().allow("table.drop"));
    let no_resource = Rule::new().action("table.drop");
    let (mut client, reached) = open(&authority, &[("drop_table", no_resource)]).await;
    client
        .call("drop_table", json!({"table": "a", "rows": 7}))
        .await
        .unwrap();
    assert_eq!((reached.count(), authority.calls().len()), (1, 4));
}
