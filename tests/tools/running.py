"""Real MCP servers over each transport, scripted ones that misbehave, and their events."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import forked
from forked import MCP_SERVER, start_mcp_server

from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.tools.server_config import ServerConfig, Transport
from aibridge_addon.tools.servers import ToolServers

BOUND = 60.0
"""Seconds after which a wait fails."""


class Program:
    """A running `mcp_server.py` with a URL."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self._arguments = arguments
        self.port = port
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it; a restart uses the same port."""
        self._process = start_mcp_server(*self._arguments, "--port", str(self.port))

    def wait(self) -> None:
        """Wait until it listens."""
        assert self._process.stdout
        address = json.loads(self._process.stdout.readline())
        self.port, self.url = address["port"], address["url"]

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


class Heard:
    """The events passed to `on_event`."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self._new = asyncio.Event()

    def __call__(self, server: str, event: str) -> None:
        self.events.append((server, event))
        self._new.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that changes only with an event."""
        async with asyncio.timeout(BOUND):
            while not condition():
                self._new.clear()
                await self._new.wait()


class Report:
    """A named pipe that the tool `slow` writes to."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._lines = asyncio.StreamReader()
        # Open for both, so that it stays open between writers.
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)

    async def open(self) -> None:
        """Start to read."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._lines), self._file
        )

    async def next(self) -> str:
        """Return the next line."""
        async with asyncio.timeout(BOUND):
            return (await self._lines.readline()).decode().strip()

    def close(self) -> None:
        """Stop reading."""
        self._transport.close()


class Scripted:
    """A server of the protocol before 2026 whose single tool returns any result, or any bytes."""

    def __init__(self, answer: Any, *, listing: Any) -> None:
        self._answer = answer
        self._listing = listing
        self.called = asyncio.Event()

    async def start(self) -> str:
        """Start to listen; return the URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/mcp"

    async def stop(self) -> None:
        """Stop listening."""
        self._server.close()
        self._server.close_clients()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read_request(reader):
                if not await self.respond(writer, *request):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def respond(
        self, writer: asyncio.StreamWriter, method: str, body: dict[str, Any]
    ) -> bool:
        """Respond to a request; return False if the connection ends with it."""
        answer = self._answer_to(method, body)
        writer.write(answer)
        await writer.drain()
        return bool(answer) or not self.called.is_set()

    def _answer_to(self, method: str, body: dict[str, Any]) -> bytes:
        match body.get("method"):
            case "initialize":
                return result(body, INITIALIZED)
            case "tools/list":
                return result(body, self._listing)
            case "tools/call":
                self.called.set()
                raw = isinstance(self._answer, bytes)
                return self._answer if raw else result(body, self._answer)
            case None:
                return http(b"", status="405 Method Not Allowed")
            case other if other.startswith("notifications/"):
                return http(b"", status="202 Accepted")
        return http(b"", status="404 Not Found")


INITIALIZED = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "scripted", "version": "1"},
}
LISTING = {"tools": [{"name": "tool", "inputSchema": {"type": "object"}}]}


def http(body: bytes, *, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Return an HTTP response."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def result(request: dict[str, Any], value: Any) -> bytes:
    """Return a JSON-RPC response."""
    answer = {"jsonrpc": "2.0", "id": request.get("id"), "result": value}
    return http(json.dumps(answer).encode())


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    except asyncio.IncompleteReadError:
        return None
    length = head.partition("content-length: ")[2].partition("\r\n")[0]
    body = await reader.readexactly(int(length or 0))
    return head.split()[0], json.loads(body or b"{}")


def by_url(name: str, transport: Transport, url: str, **more: Any) -> ServerConfig:
    """Return the configuration of a server with a URL."""
    return ServerConfig(name=name, transport=transport, url=url, shown_url=f"the {name}", **more)


def by_command(
    name: str, *arguments: str, command: str = sys.executable, fork: bool = True, **more: Any
) -> ServerConfig:
    """Return the configuration of a server that is a program, by default `mcp_server.py`.

    `fork=False` starts that with an interpreter of its own, for tests of the process itself.
    """
    if not arguments or arguments[0].startswith("--"):
        words = forked.command(MCP_SERVER) if fork else [sys.executable, str(MCP_SERVER)]
        command, arguments = words[0], (*words[1:], "stdio", *arguments)
    return ServerConfig(
        name=name,
        transport="stdio",
        command=command,
        args=arguments,
        shown_url=f"stdio:{name}",
        **more,
    )


def offered(servers: ToolServers, name: str) -> CentralTool:
    """Return an offered tool by its injected name."""
    tool = servers.catalogue.get(name)
    assert tool
    return tool


def tool_of(server: str, name: str) -> CentralTool:
    """Return a tool as in a catalogue; its server may be down."""
    return CentralTool(
        name=f"bmcp_{server}_{name}",
        server=server,
        server_url="",
        original_name=name,
        description="",
        input_schema={},
    )


type Connect = Callable[..., Awaitable[tuple[ToolServers, Heard]]]
"""The type of the fixture `connect`."""
type StartProgram = Callable[..., Program]
type StartScripted = Callable[..., Awaitable[str]]
