// A client of the TypeScript SDK that calls tools of one server, one after the other, and prints what
// it gets.
//
// usage: node files.mjs CALLS COMMAND…      CALLS is a JSON array of [tool, arguments]

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.MCP_MODULES + "/");
const load = async (name) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/" + name)));
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");

const [calls, command, ...args] = process.argv.slice(2);
const client = new Client({ name: "files-client", version: "1" });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" }));
const print = (value) => console.log(JSON.stringify(value));
print((await client.listTools()).tools.map((tool) => tool.name));
for (const [name, args] of JSON.parse(calls)) {
  const onprogress = (report) => print({ progress: report.message });
  const options = { onprogress, timeout: 60000, resetTimeoutOnProgress: true };
  print(await client.callTool({ name, arguments: args }, undefined, options));
}
await client.close();
process.exit(0);
