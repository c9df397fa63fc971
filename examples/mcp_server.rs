//! An MCP server whose tools run only with a permit.
//!
//! ```text
//! cargo run --bin mcp_server      # on 127.0.0.1:8808; prints a token and more calls to paste
//!
//! curl -s http://127.0.0.1:8808/mcp -H "Authorization: Bearer $TOKEN" \
//!   -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop_table","arguments":{"table":"orders"}}}'
//! ```
//!
//! The model reads a result, or an error that it can act on:
//! `hold: a person has to agree before a table is dropped. Ask again in 300 s.` A request without a
//! token gets HTTP 401, and no tool runs. The policies are in `services/policies/tables.cedar`.
#![allow(clippy::print_stdout, reason = "it prints how to call it")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ati_client::{Claims, SigningKey, Verifier, issue};
use atlasent::{Action, Decision, Denied, Permit, protect};
use atlasent_authority::LocalAuthority;
use atlasent_tower::AtiLayer;
use axum::Router;
use axum::http::request::Parts;
use rmcp::handler::server::common::{AsRequestContext, FromContextPart};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ContentBlock, IntoContents};
use rmcp::schemars::{self, JsonSchema};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, tool, tool_router};
use serde::Deserialize;
use tokio::net::TcpListener;
use uuid::Uuid;

/// The arguments of the tool `run_query`. They are the action that is decided on, and come back in
/// the permit, so that nothing else can run.
#[derive(Action, Deserialize, JsonSchema)]
#[action("run_query")]
struct RunQuery {
    #[action(resource)]
    table: String,
    /// The maximum number of rows.
    limit: usize,
}

/// The arguments of the tool `drop_table`.
#[derive(Action, Deserialize, JsonSchema)]
#[action("drop_table")]
struct DropTable {
    #[action(resource)]
    table: String,
}

struct Tools {
    authority: LocalAuthority,
    database: Database,
}

// `#[protect]` is above `#[tool]`, which makes a tool of the protected function and never sees the
// permit. (The other order works as well.)
#[tool_router(server_handler)]
impl Tools {
    /// Lists the tables.
    // Protected as well: the policies decide whether it is harmless, and the audit trail shows each
    // call.
    #[protect(action = "list_tables", agent = claims.sub(), authority = self.authority,
        scope = "tool:list_tables", claims = claims)]
    #[tool]
    async fn list_tables(&self, Ati(claims): Ati) -> Result<String, ToolError> {
        Ok(self.database.list())
    }

    /// Reads rows of a table.
    #[protect(action = query, agent = claims.sub(), authority = self.authority,
        scope = "tool:run_query", claims = claims)]
    #[tool]
    async fn run_query(
        &self,
        Parameters(query): Parameters<RunQuery>,
        Ati(claims): Ati,
        permit: Permit<RunQuery>,
    ) -> Result<String, ToolError> {
        self.database.query(permit)
    }

    /// Drops a table.
    #[protect(action = drop, agent = claims.sub(), authority = self.authority,
        scope = "tool:drop_table", claims = claims)]
    #[tool]
    async fn drop_table(
        &self,
        Parameters(drop): Parameters<DropTable>,
        Ati(claims): Ati,
        permit: Permit<DropTable>,
    ) -> Result<String, ToolError> {
        self.database.drop_table(permit)
    }
}

/// The caller's claims, which [`AtiLayer`] verified. rmcp passes on the HTTP request of the call.
struct Ati(Claims);

impl<C: AsRequestContext> FromContextPart<C> for Ati {
    fn from_context_part(context: &mut C) -> Result<Self, ErrorData> {
        let request = context.as_request_context().extensions.get::<Parts>();
        let request = request.ok_or_else(|| ErrorData::internal_error("not over HTTP", None))?;
        match atlasent_tower::claims(request) {
            Ok(claims) => Ok(Self(claims.clone())),
            Err(refusal) => Err(ErrorData::internal_error(refusal.detail(), None)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ToolError {
    #[error(transparent)]
    Refused(#[from] atlasent::Error),
    #[error("there is no table `{0}`")]
    NoTable(String),
}

/// Becomes a result with `isError`, which the model reads. Models do not see protocol errors.
impl IntoContents for ToolError {
    fn into_contents(self) -> Vec<ContentBlock> {
        let text = match &self {
            Self::Refused(error) => error.denied().map(advice).unwrap_or_else(|| {
                // The cause is in the log only.
                "error: the action could not be decided on. Ask again later.".into()
            }),
            Self::NoTable(_) => self.to_string(),
        };
        vec![ContentBlock::text(text)]
    }
}

/// Returns the decision, the reason, and what to do next.
fn advice(denied: &Denied) -> String {
    let (decision, reason) = (denied.decision(), denied.reason());
    let next = match (decision, denied.retry_after()) {
        (Decision::Hold, Some(wait)) => format!("Ask again in {} s", wait.as_secs()),
        (Decision::Hold, None) => "Ask again later".into(),
        (Decision::Escalate, _) => "A person with more authority has to ask".into(),
        (Decision::Deny | Decision::Allow, _) => "Do not ask again".into(),
    };
    format!("{decision}: {reason}. {next}.")
}

/// The tables, by name. Reading and dropping a table takes a permit, so that a tool without
/// `#[protect]` does not compile.
struct Database(Mutex<BTreeMap<String, Vec<&'static str>>>);

impl Database {
    fn new() -> Self {
        let tables = [
            ("orders", vec!["1: a kettle", "2: three teapots"]),
            ("salaries", vec!["ann: 90000"]),
            ("tmp_import", vec![]),
        ];
        let tables = tables.map(|(name, rows)| (name.to_owned(), rows));
        Self(Mutex::new(tables.into()))
    }

    fn list(&self) -> String {
        let names: Vec<_> = self.tables().keys().cloned().collect();
        names.join("\n")
    }

    fn query(&self, permit: Permit<RunQuery>) -> Result<String, ToolError> {
        let RunQuery { table, limit } = permit.into_action();
        match self.tables().get(&table) {
            Some(rows) => Ok(rows.get(..limit).unwrap_or(rows).join("\n")),
            None => Err(ToolError::NoTable(table)),
        }
    }

    fn drop_table(&self, permit: Permit<DropTable>) -> Result<String, ToolError> {
        let DropTable { table } = permit.into_action();
        match self.tables().remove(&table) {
            Some(_) => Ok(format!("`{table}` is gone")),
            None => Err(ToolError::NoTable(table)),
        }
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<String, Vec<&'static str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:8808".into());
    let listener = TcpListener::bind(address).await?;
    let key = signing_key()?;
    let tools = Arc::new(Tools {
        authority: clinic::authority()?,
        database: Database::new(),
    });
    let mcp = StreamableHttpService::new(
        move || Ok(Arc::clone(&tools)),
        Arc::<LocalSessionManager>::default(),
        // Without sessions, each request is authenticated by its own token.
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true),
    );
    let verifier = Verifier::builder(key.verifying_key()).build()?;
    let app = Router::new()
        .route_service("/mcp", mcp)
        // After the routes: an axum layer covers the routes that were added before it.
        .layer(AtiLayer::new(verifier));

    print_calls(listener.local_addr()?, &key)?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// Returns the key of the environment (`ATI_JWT_SECRET`), or a new one for this run.
fn signing_key() -> Result<SigningKey, ati_client::Error> {
    match SigningKey::from_env() {
        Err(ati_client::Error::NoKey { .. }) => {
            let halves = [Uuid::new_v4(), Uuid::new_v4()];
            SigningKey::from_hex(&halves.map(|half| half.simple().to_string()).concat())
        }
        key => key,
    }
}

fn print_calls(address: SocketAddr, key: &SigningKey) -> Result<(), ati_client::Error> {
    let tools = ["tool:list_tables", "tool:run_query", "tool:drop_table"];
    let token = issue(&Claims::builder("analyst-bot").scopes(tools).build()?, key)?;
    println!(
        r#"listening on http://{address}/mcp

TOKEN={token}
call() {{
  curl -s http://{address}/mcp -H "Authorization: Bearer $TOKEN" \
    -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'"$1"'}}'; echo
}}

call '{{"name":"list_tables"}}'
call '{{"name":"run_query","arguments":{{"table":"orders","limit":1}}}}'
call '{{"name":"run_query","arguments":{{"table":"salaries","limit":1}}}}'
call '{{"name":"drop_table","arguments":{{"table":"orders"}}}}'
call '{{"name":"drop_table","arguments":{{"table":"tmp_import"}}}}'
TOKEN=forged call '{{"name":"list_tables"}}'"#
    );
    Ok(())
}
