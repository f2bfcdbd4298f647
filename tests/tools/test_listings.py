"""Listings: an invalid tool is left out with a warning, and the others are offered."""

import json
import logging
from typing import Any

import pytest

from aibridge_addon.formats.central_tool import ResultPart
from tools.running import Connect, StartScripted, by_command, by_url, http, offered

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = {"name": "good", "inputSchema": {"type": "object", "properties": {}}}

LEFT_OUT: dict[str, Any] = {
    "no schema": {"name": "odd"},
    "null schema": {"name": "odd", "inputSchema": None},
    "schema of a string": {"name": "odd", "inputSchema": {"type": "string"}},
    "schema that is a list": {"name": "odd", "inputSchema": []},
    "null entry": None,
    "text entry": "odd",
    "no name": {"inputSchema": {"type": "object"}},
    "empty name": {"name": "", "inputSchema": {"type": "object"}},
    "name that is a number": {"name": 5, "inputSchema": {"type": "object"}},
}

MENDED: dict[str, Any] = {
    "no type": {"inputSchema": {}},
    "boolean branch": {"inputSchema": {"anyOf": [True, {"properties": {"a": {}}}]}},
    "null properties": {"inputSchema": {"type": "object", "properties": None, "required": None}},
    "reference at the root": {
        "inputSchema": {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}}
    },
    "reference to nothing": {"inputSchema": {"type": "object", "$ref": "#/nothing"}},
    "odd schema version": {"inputSchema": {"$schema": 5, "type": "object"}},
    "bad output schema": {"outputSchema": {"type": "array"}},
    "output schema of text": {"outputSchema": "text"},
    "output schema that refers to nothing": {"outputSchema": {"$ref": "#/$defs/x"}},
    "odd description": {"description": 5},
    "odd annotations": {"annotations": "x", "icons": 3, "_meta": [], "title": {}},
    "half a surrogate pair": {"description": "half \ud83d", "title": "\udc00"},
}


async def test_each_invalid_tool_is_left_out_with_a_warning(
    connect: Connect, scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    listing = {"tools": [*LEFT_OUT.values(), GOOD]}
    servers, _ = await connect(by_url("s", "http", await scripted(listing=listing)))

    assert servers.status()[0].state == "up"
    assert [tool.original_name for tool in servers.catalogue] == ["good"]
    assert "tool 'odd' of MCP server s is not offered: its input schema is" in caplog.text
    assert "tool 'without a name' of MCP server s is not offered: it has no name" in caplog.text


@pytest.mark.parametrize("odd", MENDED.values(), ids=MENDED)
async def test_invalid_tool_that_can_be_repaired_is_offered(
    connect: Connect, scripted: StartScripted, odd: Any
) -> None:
    listing = {"tools": [GOOD, GOOD | {"name": "odd"} | odd, GOOD]}
    answer = {"content": [{"type": "text", "text": "done"}]}
    servers, _ = await connect(by_url("s", "http", await scripted(answer, listing=listing)))

    assert [tool.original_name for tool in servers.catalogue] == ["good", "odd"]
    found = await servers.call(offered(servers, "bmcp_s_odd"), {})
    assert not found.is_error
    assert found.parts[0] == ResultPart(kind="text", text="done")


async def test_only_the_tool_with_a_too_deeply_nested_schema_is_left_out(
    connect: Connect, scripted: StartScripted
) -> None:
    deep: Any = {"type": "object"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"x": deep}}
    listing = {"tools": [{"name": "deep", "inputSchema": deep}, GOOD]}
    servers, _ = await connect(by_url("s", "http", await scripted(listing=listing)))

    assert [tool.original_name for tool in servers.catalogue] == ["good"]


async def test_cursor_that_repeats_ends_the_listing(
    connect: Connect, scripted: StartScripted
) -> None:
    listing = {"tools": [GOOD], "nextCursor": "again"}
    server = await scripted(listing=listing)
    servers, _ = await connect(by_url("s", "http", server))

    assert len(servers.catalogue) == 1


@pytest.mark.parametrize("cursor", [None, "", 5, {}])
async def test_cursor_of_a_wrong_type_ends_the_listing(
    connect: Connect, scripted: StartScripted, cursor: Any
) -> None:
    listing = {"tools": [GOOD], "nextCursor": cursor}
    servers, _ = await connect(by_url("s", "http", await scripted(listing=listing)))

    assert len(servers.catalogue) == 1


HALF: Any = {
    "content": [{"type": "text", "text": "half \ud83d"}],
    "structuredContent": {"\udc00": 1},
}


@pytest.mark.parametrize(
    "answer",
    [
        HALF,
        http(
            b'data: {"jsonrpc":"2.0","id":1,"result":' + json.dumps(HALF).encode() + b"}\n\n",
            kind="text/event-stream",
        ),
    ],
    ids=["whole", "streamed"],
)
async def test_lone_surrogate_in_a_result_is_replaced(
    connect: Connect, scripted: StartScripted, answer: Any
) -> None:
    url = await scripted(answer, listing={"tools": [GOOD]})
    servers, _ = await connect(by_url("s", "http", url, timeout_s=10))
    found = await servers.call(offered(servers, "bmcp_s_good"), {})

    assert not found.is_error
    assert [part.text for part in found.parts] == ["half \ufffd", '{"\ufffd":1}']


async def test_lone_surrogate_from_a_program_is_replaced(connect: Connect) -> None:
    """Over stdio, a message that cannot be parsed gets no response."""
    code = (
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    results = {\n"
        "        'initialize': {'protocolVersion': '2025-06-18', 'capabilities': {'tools': {}},\n"
        "                       'serverInfo': {'name': 's', 'version': '1'}},\n"
        f"        'tools/list': {{'tools': [{GOOD!r}]}},\n"
        "        'tools/call': {'content': [{'type': 'text', 'text': '\\ud83d'}]},\n"
        "    }\n"
        "    if 'id' not in asked: continue\n"
        "    answer = {'jsonrpc': '2.0', 'id': asked['id']}\n"
        "    if (method := asked['method']) in results: answer['result'] = results[method]\n"
        "    else: answer['error'] = {'code': -32601, 'message': 'Method not found'}\n"
        "    print(json.dumps(answer), flush=True)\n"
    )
    servers, _ = await connect(by_command("s", "-c", code, timeout_s=20))
    found = await servers.call(offered(servers, "bmcp_s_good"), {})

    assert found.parts == (ResultPart(kind="text", text="\ufffd"),)


ODD_PAGES: dict[str, Any] = {
    "odd metadata": {"_meta": [], "ttlMs": "x", "cacheScope": 5, "resultType": None},
    "cursor that is a number": {"nextCursor": 5},
}


@pytest.mark.parametrize("odd", ODD_PAGES.values(), ids=ODD_PAGES)
async def test_invalid_members_of_a_listing_do_not_lose_its_tools(
    connect: Connect, scripted: StartScripted, odd: Any
) -> None:
    servers, _ = await connect(by_url("s", "http", await scripted(listing={"tools": [GOOD]} | odd)))

    assert [tool.original_name for tool in servers.catalogue] == ["good"]
