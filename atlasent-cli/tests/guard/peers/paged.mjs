// A server of the TypeScript SDK whose lists have pages, and a client that reads all pages and prints them.
//
// usage: node paged.mjs client COMMAND…
//        node paged.mjs server

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.MCP_MODULES + "/");
const load = async (name) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/" + name)));
const types = await load("types.js");

const PAGE = 2;

async function serve() {
  const { Server } = await load("server/index.js");
  const { StdioServerTransport } = await load("server/stdio.js");
  const capabilities = { tools: {}, prompts: {}, resources: {} };
  const server = new Server({ name: "paged", version: "1" }, { capabilities });
  const numbers = [0, 1, 2, 3, 4];
  const tools = numbers.map((n) => ({ name: `t${n}`, inputSchema: { type: "object" } }));
  const prompts = numbers.map((n) => ({ name: `p${n}` }));
  const resources = numbers.map((n) => ({ name: `r${n}`, uri: `paged://r${n}` }));
  const page = (member, all, cursor) => {
    const start = Number(cursor ?? 0);
    const end = start + PAGE;
    return { [member]: all.slice(start, end), ...(end < all.length ? { nextCursor: String(end) } : {}) };
  };
  server.setRequestHandler(types.ListToolsRequestSchema, ({ params }) => page("tools", tools, params?.cursor));
  server.setRequestHandler(types.ListPromptsRequestSchema, ({ params }) => page("prompts", prompts, params?.cursor));
  server.setRequestHandler(types.ListResourcesRequestSchema, ({ params }) =>
    page("resources", resources, params?.cursor));
  server.setRequestHandler(types.CallToolRequestSchema, ({ params }) =>
    ({ content: [{ type: "text", text: `ran ${params.name}` }] }));
  await server.connect(new StdioServerTransport());
}

async function read(command, args) {
  const { Client } = await load("client/index.js");
  const { StdioClientTransport } = await load("client/stdio.js");
  const client = new Client({ name: "paged-client", version: "1" });
  await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" }));
  const print = (step, value) => console.log(JSON.stringify([step, value]));
  const pages = async (member, list) => {
    let cursor;
    do {
      const page = await list(cursor === undefined ? undefined : { cursor });
      print(member, [page[member].map((item) => item.name), page.nextCursor]);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
  };
  await pages("tools", (params) => client.listTools(params));
  await pages("prompts", (params) => client.listPrompts(params));
  await pages("resources", (params) => client.listResources(params));
  for (const name of ["t2", "t4"]) {
    const { isError, content } = await client.callTool({ name, arguments: {} });
    print(name, [isError ?? false, content[0].text]);
  }
  await client.close();
  process.exit(0);
}

const [role, command, ...args] = process.argv.slice(2);
await (role === "server" ? serve() : read(command, args));
