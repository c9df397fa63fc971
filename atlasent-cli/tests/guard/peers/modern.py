"""A client of the Python SDK against a server of the Python SDK. Prints what it gets.

usage: modern.py client COMMAND…     modern.py server
       modern.py client URL          modern.py server PORT
"""

import asyncio
import json
import sys


async def client(command, arguments):
    from mcp import Client, StdioServerParameters, stdio_client

    server = command
    if not command.startswith("http"):
        server = stdio_client(StdioServerParameters(command=command, args=arguments))
    async with Client(server) as session:
        print(json.dumps(["version", session.protocol_version]))
        tools = await session.list_tools()
        print(json.dumps(["tools", sorted(tool.name for tool in tools.tools)]))
        for name in ("add", "forbidden"):
            result = await session.call_tool(name, {"a": 1, "b": 2})
            print(json.dumps([name, bool(result.is_error), result.content[0].text[:40]]))


def server(port):
    from mcp.server import MCPServer

    tools = MCPServer("numbers")

    @tools.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @tools.tool()
    def forbidden(a: int, b: int) -> int:
        """Multiplies two numbers."""
        return a * b

    if port is None:
        tools.run()
    else:
        tools.run(transport="streamable-http", port=int(port))


if sys.argv[1] == "server":
    server((sys.argv[2:] or [None])[0])
else:
    asyncio.run(client(sys.argv[2], sys.argv[3:]))
