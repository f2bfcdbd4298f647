"""Hostile MCP servers: each response is limited, whatever its type and coding."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any

import brotli
import pytest
import pytest_asyncio
import zstandard

from aibridge_addon.tools.connection import bounds
from aibridge_addon.tools.connection.bounds import MessageTooLargeError, complete, lines
from aibridge_addon.tools.servers import ToolServers
from tools.running import BOUND, INITIALIZED, LISTING, Scripted, by_command, by_url, http, tool_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e]

MIB = 1024 * 1024


def bomb() -> bytes:
    return b'{"jsonrpc": "2.0", "x": "' + b"\0" * (96 * MIB)


@cache
def gzip_bomb() -> bytes:
    return gzip.compress(bomb(), 1)


def head(kind: str, coding: str = "", status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", "connection: close"]
    lines += [f"content-encoding: {coding}"] if coding else []
    return "\r\n".join([*lines, "", ""]).encode()


type Sent = Callable[[], Iterator[bytes]]

ENDLESS: dict[str, Sent] = {
    "json": lambda: iter([head("application/json"), *[b'"'], *[b"x" * MIB] * 999]),
    "gzip": lambda: iter([head("application/json", "gzip"), gzip_bomb()]),
    "br": lambda: iter([head("application/json", "br"), brotli.compress(bomb(), quality=1)]),
    "zstd": lambda: iter([head("application/json", "zstd"), zstandard.compress(bomb())]),
    "event": lambda: iter([head("text/event-stream"), b"data: ", *[b"x" * MIB] * 999]),
    "data lines": lambda: iter([head("text/event-stream"), *[b"data: xxxx\n" * 65536] * 999]),
    "comment": lambda: iter([head("text/event-stream"), b": ", *[b"x" * MIB] * 999]),
    "gzip event": lambda: iter([head("text/event-stream", "gzip"), gzip_bomb()]),
    "error": lambda: iter([head("application/json", status="500 No"), *[b"x" * MIB] * 999]),
    "gzip error": lambda: iter([head("application/json", "gzip", status="400 No"), gzip_bomb()]),
    "text error": lambda: iter([head("text/plain", status="400 No"), *[b"x" * MIB] * 999]),
    "html": lambda: iter([head("text/html"), *[b"x" * MIB] * 999]),
}
endless = pytest.mark.parametrize("sent", ENDLESS.values(), ids=ENDLESS)


class Hostile(Scripted):
    """A server with an endless response to one method, and valid responses to all others."""

    def __init__(self, method: str, sent: Sent) -> None:
        super().__init__({"content": [{"type": "text", "text": "fine"}]}, listing=LISTING)
        self._method = method
        self._sent = sent
        self.bytes_taken = 0

    async def respond(
        self, writer: asyncio.StreamWriter, method: str, body: dict[str, Any]
    ) -> bool:
        """Pour out the response to the method; respond to others as they should be."""
        if body.get("method") != self._method:
            return await super().respond(writer, method, body)
        for chunk in self._sent():
            writer.write(chunk)
            await writer.drain()
            self.bytes_taken += len(chunk)
        return False


@pytest_asyncio.fixture(loop_scope="module")
async def hostile() -> AsyncIterator[Callable[..., Any]]:
    """Start a server with an endless response to a method."""
    started: list[Hostile] = []

    async def start(method: str, sent: Sent) -> tuple[Hostile, str]:
        started.append(Hostile(method, sent))
        return started[-1], await started[-1].start()

    yield start
    for server in started:
        await server.stop()


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """Return the peak of allocated bytes since the start of the test."""
    tracemalloc.start(1)
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


async def called(servers: ToolServers, name: str) -> Any:
    async with asyncio.timeout(BOUND):
        return await servers.call(tool_of("s", name), {})


@endless
async def test_endless_result_of_a_call_is_an_error(connect: Any, hostile: Any, sent: Sent) -> None:
    server, url = await hostile("tools/call", sent)
    servers, _ = await connect(by_url("s", "http", url, timeout_s=BOUND))
    found = await called(servers, "tool")
    assert found.is_error
    assert "no answer" not in found.as_text
    assert server.bytes_taken < 64 * MIB


@pytest.mark.parametrize("sent", [ENDLESS["json"], ENDLESS["gzip"], ENDLESS["event"]])
async def test_endless_listing_disconnects_only_its_server(
    connect: Any, hostile: Any, sent: Sent
) -> None:
    server, url = await hostile("tools/list", sent)
    servers, _ = await connect(by_url("s", "http", url))
    assert servers.catalogue.tools == ()
    assert server.bytes_taken < 64 * MIB


async def test_decompression_bomb_is_not_decoded_completely(
    connect: Any, hostile: Any, peak: Callable[[], int]
) -> None:
    _, url = await hostile("tools/call", ENDLESS["gzip"])
    servers, _ = await connect(by_url("s", "http", url, timeout_s=BOUND))
    before = peak()
    found = await called(servers, "tool")
    assert "the result was rejected: the body decodes to more bytes than the limit" in found.as_text
    assert peak() - before < 4 * bounds.MAX_MESSAGE_BYTES


PROGRAM = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    method = asked.get("method")
    if method == METHOD:
        while True:
            sys.stdout.write("x" * 1000000)
    answer = {"initialize": INITIALIZED, "tools/list": LISTING}.get(method)
    if answer:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer}), flush=True)
    elif "id" in asked:
        error = {"code": -32601, "message": "Method not found"}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
"""


def program(method: str) -> Any:
    code = f"METHOD, INITIALIZED, LISTING = {method!r}, {INITIALIZED!r}, {LISTING!r}\n{PROGRAM}"
    return by_command("s", "-c", code, timeout_s=BOUND)


async def test_program_with_an_endless_result_is_ended(connect: Any) -> None:
    servers, _ = await connect(program("tools/call"))
    found = await called(servers, "tool")
    assert "it sent a message of more than 16 MiB" in found.as_text


async def test_program_with_an_endless_listing_is_ended(connect: Any) -> None:
    servers, _ = await connect(program("tools/list"))
    assert servers.status()[0].last_error == "it sent a message of more than 16 MiB"


async def test_total_size_of_a_listing_is_limited(
    connect: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge_addon.tools.listings.MAX_BYTES", 10)
    pages = 0

    class Pages(dict[str, Any]):
        def items(self) -> Any:
            nonlocal pages
            pages += 1
            return (LISTING | {"nextCursor": f"page {pages}"}).items()

    servers, _ = await connect(by_url("s", "http", await scripted(listing=Pages(x=1))))
    assert len(servers.catalogue.tools) == 1
    assert pages <= 2


# The bounds themselves


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_lines_do_not_depend_on_the_chunks(size: int) -> None:
    data = b"one\n\ntwo\nthree\n\nrest"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [line async for line in lines(stream(*pieces))] == [b"one", b"", b"two", b"three", b""]


async def test_line_is_limited_and_stream_of_lines_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "MAX_MESSAGE_BYTES", 10)
    many = [b"123456789\n"] * 100
    assert len([line async for line in lines(stream(*many))]) == 100
    with pytest.raises(MessageTooLargeError):
        assert [line async for line in lines(stream(b"12345", b"67890", b"1"))]


async def test_body_of_the_largest_size_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_MESSAGE_BYTES", 10)
    assert await complete(stream(b"12345", b"67890"), "") == b"1234567890"
    assert await complete(stream(gzip.compress(b"1234567890")), "gzip") == b"1234567890"
    for body, coding in (
        (b"12345678901", ""),
        (gzip.compress(b"1" * 11), "gzip"),
        (b"not gzip", "gzip"),
    ):
        with pytest.raises(MessageTooLargeError):
            await complete(stream(body), coding)


# Sessions


FORGOTTEN = [
    (400, b"Bad Request: No valid session ID provided", True),
    (404, b"Session not found", True),
    (400, b"Bad Request: Server not initialized", True),
    (404, b"404 page not found", True),
    (400, b"Bad Request", False),
]


@pytest.mark.parametrize(("status", "said", "is_repeated"), FORGOTTEN)
async def test_session_lost_with_a_plain_text_error_is_restarted(
    connect: Any, hostile: Any, status: int, said: bytes, is_repeated: bool
) -> None:
    refusals = iter([http(said, status=f"{status} No", kind="text/plain")])

    def refused_once() -> Iterator[bytes]:
        yield next(refusals)
        server._method = ""

    server, url = await hostile("tools/call", refused_once)
    servers, heard = await connect(by_url("s", "http", url, timeout_s=BOUND))
    found = await called(servers, "tool")
    assert (found.as_text == "fine") == is_repeated
    if not is_repeated:
        assert found.as_text == "bmcp_s_tool: the server answered with HTTP 400"
    assert (await called(servers, "tool")).as_text == "fine"
    assert json.loads(json.dumps(heard.events)).count(["s", "up"]) == 1 + is_repeated
