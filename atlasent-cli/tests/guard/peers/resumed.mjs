// A client of the TypeScript SDK whose connection ends in the middle of a call, and that reads on with
// `Last-Event-ID` on another one. It prints what it missed.
//
// usage: node resumed.mjs URL

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.MCP_MODULES + "/");
const load = async (name) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/" + name)));
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const types = await load("types.js");

const url = new URL(process.argv[2]);
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const print = (step, value) => console.log(JSON.stringify([step, value]));
const client = () => new Client({ name: "resuming-client", version: "1" });
const call = {
  method: "tools/call",
  params: { name: "trigger-long-running-operation", arguments: { duration: 2, steps: 4 } },
};

const first = client();
const cut = new StreamableHTTPClientTransport(url);
await first.connect(cut);
const sessionId = cut.sessionId;
let token;
await new Promise((resolve) => {
  const options = {
    onprogress: ({ progress }) => { print("before", progress); resolve(); },
    onresumptiontoken: (latest) => { token = latest; },
  };
  // The response never comes on this connection.
  first.request(call, types.CallToolResultSchema, options).catch(() => {});
});
await cut.close();
// The call ends while no connection reads its stream.
await sleep(3000);

const second = client();
const steps = [];
second.setNotificationHandler(types.ProgressNotificationSchema, ({ params }) => { steps.push(params.progress); });
await second.connect(new StreamableHTTPClientTransport(url, { sessionId }));
const result = await second.request(call, types.CallToolResultSchema, { resumptionToken: token });
print("missed", steps);
print("result", result);
process.exit(0);
