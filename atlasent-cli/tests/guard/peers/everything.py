"""A client of the Python SDK that uses the methods of the reference server "everything", and prints what it gets.

usage: everything.py COMMAND…
       everything.py URL
"""

import asyncio
import json
import re
import sys
import warnings

import mcp_types as types
from mcp import Client, StdioServerParameters, stdio_client

# Some methods are deprecated, and servers have them.
warnings.simplefilter("ignore")

DRAWN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
URI = "demo://resource/dynamic/text/1"


def show(step, value):
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    print(DRAWN.sub("ID", json.dumps([step, value])), flush=True)


async def sampled(context, params):
    show("sampled", params.messages[0])
    content = types.TextContent(type="text", text="an answer")
    return types.CreateMessageResult(role="assistant", model="none", content=content)


async def elicited(context, params):
    show("elicited", params.message)
    return types.ElicitResult(action="decline")


async def rooted(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///srv", name="srv")])


async def main(command, arguments):
    updated, uris, logs = asyncio.Event(), [], []

    async def logged(params):
        logs.append(params.data)

    async def heard(message):
        if isinstance(message, types.ResourceUpdatedNotification):
            uris.append(str(message.params.uri))
            updated.set()

    async def step(name, running):
        try:
            show(name, await running)
        except Exception as error:
            show(name, str(error))

    server = command
    if not command.startswith("http"):
        server = stdio_client(StdioServerParameters(command=command, args=arguments))
    client = Client(
        server, mode="legacy", cache=None, sampling_callback=sampled, elicitation_callback=elicited,
        list_roots_callback=rooted, logging_callback=logged, message_handler=heard,
    )
    async with client as session:
        show("version", session.protocol_version)
        show("capabilities", session.server_capabilities)
        await step("ping", session.send_ping())
        # The server asks for the roots, and registers tools, once it is initialized.
        await asyncio.sleep(1.5)
        await step("tools", session.list_tools())
        await step("prompts", session.list_prompts())
        await step("resources", session.list_resources())
        await step("templates", session.list_resource_templates())
        await step("echo", session.call_tool("echo", {"message": "ü 漢 \u2028 \"quoted\" \\ \n end"}))
        await step("sum", session.call_tool("get-sum", {"a": 0.1, "b": 2e3}))
        await step("image", session.call_tool("get-tiny-image", {}))
        await step("structured", session.call_tool("get-structured-content", {"location": "Chicago"}))
        await step("roots", session.call_tool("get-roots-list", {}))
        await step("sampling", session.call_tool("trigger-sampling-request", {"prompt": "a question", "maxTokens": 10}))
        await step("elicitation", session.call_tool("trigger-elicitation-request", {}))
        reports = []

        async def progressed(progress, total, message):
            reports.append([progress, total])

        slow = {"duration": 0.5, "steps": 2}
        await step("slow", session.call_tool("trigger-long-running-operation", slow, progress_callback=progressed))
        show("progress", reports[:1])
        await step("prompt", session.get_prompt("args-prompt", {"city": "Oslo"}))
        await step("resource", session.read_resource("demo://resource/static/document/features.md"))
        await step("no resource", session.read_resource("demo://no/such"))
        prompt = types.PromptReference(type="ref/prompt", name="completable-prompt")
        await step("complete", session.complete(prompt, {"name": "department", "value": "E"}))
        await step("level", session.set_logging_level("debug"))
        await step("subscribe", session.subscribe_resource(URI))
        await step("updates", session.call_tool("toggle-subscriber-updates", {}))
        await asyncio.wait_for(updated.wait(), 20)
        show("updated", uris[0])
        await step("no updates", session.call_tool("toggle-subscriber-updates", {}))
        await step("higher level", session.set_logging_level("error"))
        await step("unsubscribe", session.unsubscribe_resource(URI))
        show("logs", [log for log in logs if "ubscribe" in str(log)])
        await step("ping after", session.send_ping())


asyncio.run(main(sys.argv[1], sys.argv[2:]))
