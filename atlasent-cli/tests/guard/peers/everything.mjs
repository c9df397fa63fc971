// A client of the TypeScript SDK that uses every method of the reference server "everything", and
// prints what it gets.
//
// usage: node everything.mjs stdio COMMAND…
//        node everything.mjs http URL

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The SDK is installed elsewhere, so it is found from there.
const require = createRequire(process.env.MCP_MODULES + "/");
const load = async (name) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/" + name)));
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const types = await load("types.js");

const [kind, target, ...rest] = process.argv.slice(2);
const capabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
const client = new Client({ name: "everything-client", version: "1" }, { capabilities });
// Ids and times that the server draws differ between two runs.
const DRAWN = [
  [/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "ID"],
  [/\b[0-9a-f]{32}\b/g, "ID"],
  [/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME"],
  // Over stdio, the server has no id of the session.
  [/session undefined/g, "session ID"],
];
const print = (step, value) => {
  const text = JSON.stringify([step, value]);
  console.log(DRAWN.reduce((text, [drawn, name]) => text.replace(drawn, name), text));
};
const logs = [];
let onUpdated;
const updated = new Promise((resolve) => { onUpdated = resolve; });

client.setRequestHandler(types.CreateMessageRequestSchema, (request) => {
  print("sampled", request.params.messages);
  return { role: "assistant", model: "none", content: { type: "text", text: "an answer" } };
});
client.setRequestHandler(types.ElicitRequestSchema, ({ params }) => {
  print("elicited", [params.mode, params.message, params.url, params.elicitationId]);
  return { action: params.mode === "url" ? "accept" : "decline" };
});
client.setNotificationHandler(types.LoggingMessageNotificationSchema, ({ params }) => { logs.push(params); });
client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, ({ params }) => onUpdated(params));
client.setRequestHandler(types.ListRootsRequestSchema, () => ({ roots: [{ uri: "file:///srv", name: "srv" }] }));

const step = async (name, run) => {
  try {
    print(name, await run());
  } catch (error) {
    print(name, { code: error.code, message: error.message, data: error.data });
  }
};
const call = (name, args, options) => step(name, () =>
  client.callTool({ name, arguments: args }, undefined, options));

const transport = kind === "stdio"
  ? new StdioClientTransport({ command: target, args: rest, env: process.env, stderr: "ignore" })
  : new StreamableHTTPClientTransport(new URL(target));
await client.connect(transport);
print("server", [client.getServerVersion(), client.getServerCapabilities(), client.getInstructions()?.length]);
await step("ping", () => client.ping());
// The server asks for the roots, and registers tools, once it is initialized.
await new Promise((resolve) => setTimeout(resolve, 1500));
await step("tools", () => client.listTools());
await step("prompts", () => client.listPrompts());
await step("resources", () => client.listResources());
await step("templates", () => client.listResourceTemplates());
await call("echo", { message: "ü 漢 \u2028 \"quoted\" \\ \n end" });
await call("get-sum", { a: 0.1, b: 2e3 });
await call("get-tiny-image", {});
await call("get-structured-content", { location: "Chicago" });
await call("get-annotated-message", { messageType: "error", includeImage: true });
await call("get-resource-links", { count: 2 });
await call("get-roots-list", {});
const progress = [];
await call("trigger-long-running-operation", { duration: 0.5, steps: 2 },
  { onprogress: (report) => progress.push(report) });
print("progress", progress[0]);
await call("trigger-sampling-request", { prompt: "a question", maxTokens: 10 });
await call("trigger-elicitation-request", {});
const page = "https://example.com/consent";
await call("trigger-url-elicitation", { url: page, elicitationId: "by-request" });
await call("trigger-url-elicitation", { url: page, elicitationId: "by-error", errorPath: true });
await step("task", async () => {
  const task = { name: "simulate-research-query", arguments: { topic: "python", ambiguous: true } };
  let last, id;
  for await (const message of client.experimental.tasks.callToolStream(task)) {
    if (message.type === "taskCreated") {
      id = message.task.taskId;
      print("task created", message.task.status);
    }
    last = message;
  }
  print("task ended", last.type === "result" ? last.result : last.error.message);
  return { ...(await client.experimental.tasks.getTask(id)), pollInterval: undefined };
});
await step("tasks", async () => (await client.experimental.tasks.listTasks()).tasks.map((task) => task.status));
await step("no task", () => client.experimental.tasks.getTask("00"));
await step("cancelled task", async () => {
  const task = { name: "simulate-research-query", arguments: { topic: "rust" } };
  for await (const message of client.experimental.tasks.callToolStream(task)) {
    if (message.type !== "taskCreated") continue;
    const { status } = await client.experimental.tasks.cancelTask(message.task.taskId);
    return status;
  }
});
await step("prompt", () => client.getPrompt({ name: "args-prompt", arguments: { city: "Oslo" } }));
await step("prompt without its argument", () => client.getPrompt({ name: "args-prompt" }));
await step("resource", () => client.readResource({ uri: "demo://resource/static/document/features.md" }));
await step("no resource", () => client.readResource({ uri: "demo://no/such" }));
await step("complete", () => client.complete({
  ref: { type: "ref/prompt", name: "completable-prompt" }, argument: { name: "department", value: "E" },
}));
await step("level", () => client.setLoggingLevel("debug"));
await step("subscribe", () => client.subscribeResource({ uri: "demo://resource/dynamic/text/1" }));
await call("toggle-subscriber-updates", {});
print("updated", await updated);
await call("toggle-subscriber-updates", {});
await step("higher level", () => client.setLoggingLevel("error"));
await step("unsubscribe", () => client.unsubscribeResource({ uri: "demo://resource/dynamic/text/1" }));
await step("cancelled", () => client.callTool(
  { name: "trigger-long-running-operation", arguments: { duration: 30, steps: 1 } }, undefined, { timeout: 300 }));
// What the server logs at another level than the client's is not sent.
print("logs", logs.filter(({ data }) => /subscribe/i.test(data)).map(({ level, data }) => [level, data.split(" ")[1]]));
await step("ping after", () => client.ping());
await client.close();
process.exit(0);
