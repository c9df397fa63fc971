//! A server that records what reaches it, and a client that sends any text.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atlasent::authority::DynAuthority;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_mcp::server::{Callers, GuardedServer};
use atlasent_mcp::{Caller, Gate, Mapping};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams,
    CompleteRequestParams, CompleteResult, ContentBlock, CreateTaskResult, CustomNotification,
    CustomRequest, CustomResult, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    GetTaskParams, GetTaskResult, ListPromptsResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    ServerCapabilities, ServerConfig, Task, TaskStatus, Tool,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, Service, ServiceExt};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};

pub(crate) const AGENT: &str = "deploy-bot";

/// Longer than anything takes that happens at all.
const SOON: Duration = Duration::from_secs(30);

/// What reached a server, in its order.
#[derive(Clone, Default)]
pub(crate) struct Reached(Arc<Mutex<Vec<(String, Value)>>>);

impl Reached {
    pub(crate) fn add(&self, what: &str, value: Value) {
        self.0.lock().unwrap().push((what.to_owned(), value));
    }

    pub(crate) fn all(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A server with a tool of each kind, a prompt, a resource, and methods of its own.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) reached: Reached,
}

pub(crate) fn tools() -> Vec<Tool> {
    let any = json!({"type": "object"});
    let pay = json!({
        "type": "object",
        "properties": {
            "to": {"type": "string"},
            "cents": {"type": "integer", "minimum": 1},
            "urgent": {"type": "boolean", "x-atlasent-requires": "tool:shop:pay:urgent"},
            "abroad": {"type": "boolean", "x-atlasent-requires-action": "pay.abroad"},
        },
        "required": ["to", "cents"],
        "additionalProperties": false,
    });
    let tools = [
        ("deploy", &any),
        ("echo", &any),
        ("task", &any),
        ("fails", &any),
        ("pay", &pay),
    ];
    let tools = tools.map(|(name, schema)| json!({"name": name, "inputSchema": schema}));
    serde_json::from_value(json!(tools)).unwrap()
}

impl ServerHandler for Recorder {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        self.reached.add(&request.name, arguments.clone());
        let text = vec![ContentBlock::text(arguments.to_string())];
        Ok(match &*request.name {
            "task" => {
                let now = "2026-01-01T00:00:00Z";
                let task = Task::new("task-1", TaskStatus::Working, now, now);
                CallToolResponse::Task(CreateTaskResult::new(task))
            }
            "fails" => CallToolResult::error(text).into(),
            _ => CallToolResult::success(text).into(),
        })
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = json!({"prompts": [{"name": "review"}, {"name": "secret"}]});
        Ok(serde_json::from_value(prompts).unwrap())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.reached.add(&request.name, json!(request.arguments));
        let result = json!({"messages": []});
        Ok(serde_json::from_value::<GetPromptResult>(result)
            .unwrap()
            .into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = ["file:///a", "file:///b"];
        let resources = resources.map(|uri| json!({"uri": uri, "name": uri}));
        Ok(serde_json::from_value(json!({"resources": resources})).unwrap())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.reached.add("read", json!(request.uri));
        Ok(
            serde_json::from_value::<ReadResourceResult>(json!({"contents": []}))
                .unwrap()
                .into(),
        )
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.reached.add("complete", Value::Null);
        Ok(CompleteResult::default())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.reached.add("get_task", json!(request.task_id));
        Err(ErrorData::internal_error("no task is kept", None))
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.reached.add("cancel_task", json!(request.task_id));
        Ok(())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        self.reached.add(&request.method, json!(request.params));
        Ok(CustomResult::new(json!({"done": true})))
    }

    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        _: NotificationContext<RoleServer>,
    ) {
        self.reached
            .add(&notification.method, json!(notification.params));
    }
}

pub(crate) fn local(policies: &str) -> Arc<LocalAuthority> {
    Arc::new(LocalAuthority::in_memory(Policies::parse(policies).unwrap()).unwrap())
}

pub(crate) fn gate(authority: Arc<dyn DynAuthority>, mapping: Mapping) -> Gate {
    let gate = Gate::builder(authority, mapping);
    gate.list_cache(Duration::ZERO)
        .progress_interval(Duration::from_millis(20))
        .build()
}

/// The gate of a server called `shop` whose tool `deploy` is the action `deploy.production`.
pub(crate) fn shop(authority: Arc<dyn DynAuthority>) -> Gate {
    gate(authority, deploys())
}

pub(crate) fn deploys() -> Mapping {
    let rule = atlasent_mcp::Rule::new().action("deploy.production");
    Mapping::standard("shop").unwrap().tool("deploy", rule)
}

/// Connects to a guarded server of this kind, as an agent over stdio.
pub(crate) async fn connect(gate: Gate) -> (Connection, Reached) {
    let recorder = Recorder::default();
    let reached = recorder.reached.clone();
    let agent = Callers::configured(Caller::configured(AGENT).unwrap());
    let server = GuardedServer::new(recorder, tools(), gate, agent).unwrap();
    (Connection::open(server).await, reached)
}

/// A connection that sends any text.
pub(crate) struct Connection {
    write: WriteHalf<DuplexStream>,
    read: Lines<BufReader<ReadHalf<DuplexStream>>>,
    last_id: u64,
    /// The notifications so far, and requests from the server.
    pub(crate) others: Vec<Value>,
}

impl Connection {
    pub(crate) async fn open(server: impl Service<RoleServer>) -> Self {
        let (client, transport) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            if let Ok(running) = server.serve(tokio::io::split(transport)).await {
                let _ = running.waiting().await;
            }
        });
        Self::over(client).await
    }

    /// Starts a session of an earlier protocol, as most clients do.
    pub(crate) async fn over(client: DuplexStream) -> Self {
        let (read, write) = tokio::io::split(client);
        let read = BufReader::new(read).lines();
        let mut connection = Self {
            write,
            read,
            last_id: 0,
            others: Vec::new(),
        };
        let tasks = json!({"io.modelcontextprotocol/tasks": {}});
        let hello = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {"extensions": tasks, "sampling": {}, "elicitation": {}, "roots": {}},
            "clientInfo": {"name": "test", "version": "1"},
        });
        connection.request("initialize", hello).await.unwrap();
        let hello = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        connection.send(&hello.to_string()).await;
        connection
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
        self.write.write_all(b"\n").await.unwrap();
    }

    /// Sends a request, and returns its id.
    pub(crate) async fn start(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&request.to_string()).await;
        id
    }

    /// Returns the next message.
    pub(crate) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(SOON, self.read.next_line()).await;
        let line = line
            .expect("no message arrives")
            .unwrap()
            .expect("the server hung up");
        serde_json::from_str(&line).unwrap()
    }

    /// Returns the response to a request: its `result`, or its `error`.
    pub(crate) async fn response(&mut self, id: u64) -> Result<Value, Value> {
        loop {
            let message = self.next().await;
            if message["id"] != json!(id) || message.get("method").is_some() {
                self.others.push(message);
                continue;
            }
            return match message.get("error") {
                Some(error) => Err(error.clone()),
                None => Ok(message["result"].clone()),
            };
        }
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.start(method, params).await;
        self.response(id).await
    }

    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Result<Value, Value> {
        let params = json!({"name": tool, "arguments": arguments});
        self.request("tools/call", params).await
    }

    /// Waits until the server has handled what was sent before.
    pub(crate) async fn settle(&mut self) {
        self.request("ping", json!({})).await.unwrap();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// Returns the names in a list.
pub(crate) fn names(list: &Value, member: &str, name: &str) -> Vec<String> {
    let items = list[member].as_array().unwrap().iter();
    items
        .map(|item| item[name].as_str().unwrap().to_owned())
        .collect()
}
