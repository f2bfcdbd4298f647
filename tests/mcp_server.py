"""A real MCP server, made with the `mcp` package, with tools for tests.

    python tests/mcp_server.py stdio
    python tests/mcp_server.py http --port 0 --token secret

Over HTTP and SSE it first writes a line of JSON to stdout: {"port": 12345, "url": "http://…"}.
"""

import argparse
import asyncio
import contextlib
import hmac
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import runner
from mcp.server.lowlevel import server as lowlevel
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG image in base64."""
PATHS = {"http": "/mcp", "sse": "/sse"}


@dataclass(slots=True)
class World:
    """The state that the tools share."""

    token: str
    count: int = 0
    grown: int = 0
    present: int = 0
    all_met: asyncio.Event = field(default_factory=asyncio.Event)


def make_server(world: World, *, page: int = 0, legacy: bool = False) -> MCPServer:
    """Return the server with its tools; `page` is the number of tools on a page of its listing."""
    middleware = [paginate(page)] if page else []
    if legacy:
        middleware.append(know_no_discovery)
    server = MCPServer("test-server", log_level="CRITICAL", middleware=middleware)
    for tool in (add, echo, slow, fail, image, audio, resource, link, structured, big, die):
        server.add_tool(tool, structured_output=tool in (add, structured))
    server.add_tool(echo, name="odd/name.of a tool", structured_output=False)

    @server.tool()
    async def counter() -> int:
        """Count the calls of this tool."""
        world.count += 1
        return world.count

    @server.tool(structured_output=False)
    async def meet(count: int) -> str:
        """Return once a number of calls of this tool run in parallel."""
        world.present += 1
        if world.present >= count:
            world.all_met.set()
        await world.all_met.wait()
        return "met"

    @server.tool(structured_output=False)
    async def grow(context: Context) -> str:
        """Add a tool, and notify subscribers."""
        world.grown += 1
        server.add_tool(echo, name=f"grown_{world.grown}", structured_output=False)
        await context.notify_tools_changed()
        with contextlib.suppress(MCPError):  # newer clients hear it only where they asked
            await context.session.send_tool_list_changed()
        return f"grown_{world.grown}"

    @server.tool(structured_output=False)
    async def steps(context: Context, count: int, seconds: float) -> str:
        """Take a number of steps of some seconds each, and report each as progress."""
        for number in range(count):
            await anyio.sleep(seconds)
            await context.report_progress(number + 1, count)
        return "there"

    @server.tool(structured_output=False)
    async def revoke() -> str:
        """Require another bearer token from now on."""
        world.token = os.urandom(16).hex()
        return "revoked"

    return server


# Tools without a state


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def echo(text: str) -> str:
    """Return the text."""
    return text


async def slow(report: str, until: str = "") -> str:
    """Report each event to the file `report`; return once the file `until` exists, or never."""
    note(report, "started")
    try:
        while not (until and Path(until).exists()):
            await anyio.sleep(0.01)
    except anyio.get_cancelled_exc_class():
        note(report, "cancelled")
        raise
    note(report, "finished")
    return "done"


async def fail(message: str = "it did not work") -> str:
    """Fail with a tool error."""
    raise ToolError(message)


async def image() -> list[types.ContentBlock]:
    """Return a text and an image."""
    return [
        types.TextContent(type="text", text="a pixel"),
        types.ImageContent(type="image", data=PIXEL, mime_type="image/png"),
    ]


async def audio() -> list[types.ContentBlock]:
    """Return audio."""
    return [types.AudioContent(type="audio", data="AAAA", mime_type="audio/wav")]


async def resource() -> list[types.ContentBlock]:
    """Return a resource with text and a resource with bytes."""
    return [
        types.EmbeddedResource(
            type="resource",
            resource=types.TextResourceContents(
                uri="test://text", mime_type="text/plain", text="inside"
            ),
        ),
        types.EmbeddedResource(
            type="resource",
            resource=types.BlobResourceContents(
                uri="test://bytes", mime_type="application/pdf", blob="AAAA"
            ),
        ),
    ]


async def link() -> list[types.ContentBlock]:
    """Return a link to a resource."""
    return [types.ResourceLink(type="resource_link", uri="test://far", name="far away")]


async def structured() -> dict[str, Any]:
    """Return structured content that the text repeats."""
    return {"city": "Kraków", "degrees": [1, 2.5]}


async def big(size: int = 10_000_000) -> str:
    """Return a text of a number of bytes."""
    return "x" * size


async def die() -> str:
    """End the server's process at once."""
    os._exit(3)


def note(report: str, what: str) -> None:
    """Append a line to a file, which may be a named pipe."""
    with Path(report).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


# How it serves


def paginate(size: int) -> Any:
    """Return listings in pages."""

    async def page(context: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        if context.method != "tools/list":
            return await call_next(context)
        start = int((context.params or {}).get("cursor") or 0)
        result = await call_next(context)
        listed = result.tools if isinstance(result, types.ListToolsResult) else result["tools"]
        more = start + size < len(listed)
        change = {
            "tools": listed[start : start + size],
            "next_cursor": str(start + size) if more else None,
        }
        if isinstance(result, types.ListToolsResult):
            return result.model_copy(update=change)
        return result | {"tools": change["tools"], "nextCursor": change["next_cursor"]}

    return page


async def know_no_discovery(context: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
    """Serve the protocol before 2026: with sessions, and notifications without a subscription."""
    if context.method == "server/discover":
        raise MCPError(types.METHOD_NOT_FOUND, "Method not found")
    return await call_next(context)


def guarded(app: Any, world: World) -> Any:
    """Respond with 401 to requests without the token."""

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        wanted = f"Bearer {world.token}".encode()
        known = hmac.compare_digest(headers.get(b"authorization", b""), wanted)
        if scope["type"] != "http" or not world.token or known:
            await app(scope, receive, send)
        else:
            challenge = [(b"www-authenticate", b'Bearer error="invalid_token"')]
            await send({"type": "http.response.start", "status": 401, "headers": challenge})
            await send({"type": "http.response.body", "body": b"who are you?"})

    return guard


async def serve(server: MCPServer, world: World, arguments: argparse.Namespace) -> None:
    """Serve over HTTP or SSE until the process ends."""
    if arguments.transport == "sse":
        app = server.sse_app()
    else:
        app = server.streamable_http_app(json_response=arguments.json)
    config = uvicorn.Config(
        guarded(app, world), log_level="error", lifespan="on", timeout_graceful_shutdown=0
    )
    with socket.create_server(("127.0.0.1", arguments.port)) as listener:
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}{PATHS[arguments.transport]}"
        print(json.dumps({"port": port, "url": url}), flush=True)
        await uvicorn.Server(config).serve(sockets=[listener])


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("transport", choices=["stdio", *PATHS])
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--token", default="", help="demand this bearer token")
    parser.add_argument("--page", type=int, default=0, help="tools on a page of the listing")
    parser.add_argument("--legacy", action="store_true", help="speak no version of 2026")
    parser.add_argument("--json", action="store_true", help="answer with JSON, not streams")
    parser.add_argument("--say", default="", help="a line to write to stderr first")
    parser.add_argument("--say-on-stdout", default="", help="a line that is not MCP")
    return parser.parse_args()


def main() -> None:
    """Run the server."""
    arguments = read_arguments()
    if arguments.say:
        print(arguments.say, file=sys.stderr, flush=True)
    if arguments.say_on_stdout:
        print(arguments.say_on_stdout, flush=True)
    if arguments.legacy:
        # There is no option for it over streams.
        lowlevel.serve_dual_era_loop = runner.serve_loop  # type: ignore[attr-defined]
    world = World(token=arguments.token)
    server = make_server(world, page=arguments.page, legacy=arguments.legacy)
    if arguments.transport == "stdio":
        anyio.run(server.run_stdio_async)
    else:
        anyio.run(serve, server, world, arguments)


if __name__ == "__main__":
    main()
