"""Reads the tools that an MCP server lists, one by one; leaves out invalid ones with a warning.

The `mcp` package validates a listing as a whole, so that an invalid entry would disable its server.
It gets plain entries instead, with the listed ones in their `_meta`.
"""

import logging
from typing import Any

import mcp_types as types
import pydantic
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types.methods import validate_server_result

from aibridge_addon.raw_json import JSON, encode, mapping, text
from aibridge_addon.tools import call_results
from aibridge_addon.tools.catalogue import ListedTool
from aibridge_addon.tools.legal import legal_schema
from aibridge_addon.tools.schema_roots import IllegalSchemaError

logger = logging.getLogger(__name__)

MAX_PAGES = 100
"""Pages of a listing; a listing without an end must not block the connection."""
MAX_BYTES = 32 * 1024 * 1024
"""Total size of the pages of a listing; further pages are left out."""
_LISTED = "aibridge"
"""The member of an entry's `_meta` that holds the entry as it was listed."""


class ListingReader:
    """Reads the listings of one server; warns once about each tool that is left out."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._warned: set[tuple[str, str]] = set()

    def sift(self, message: Any) -> None:
        """Change a result in a message from the server into one that the `mcp` package accepts."""
        response = getattr(message, "message", None)
        if not isinstance(response, types.JSONRPCResponse):
            return
        result = response.result
        if call_results.is_call_result(result):
            call_results.sift(result)
        elif isinstance(result.get("tools"), list):
            response.result = self._sifted_page(result)

    def _sifted_page(self, listing: dict[str, JSON]) -> dict[str, JSON]:
        """Return a page of a listing as the `mcp` package accepts it."""
        tools = [accepted for entry in listing["tools"] if (accepted := self._sifted(entry))]
        page = {name: value for name, value in _PAGE.items() if name in listing}
        page["tools"] = tools
        if isinstance(cursor := listing.get("nextCursor"), str):
            page["nextCursor"] = cursor
        return page

    def _sifted(self, entry: JSON) -> dict[str, JSON] | None:
        """Return an entry in the form that `mcp` accepts; None if it cannot be offered."""
        listed = mapping(entry)
        name = listed.get("name")
        try:
            if not isinstance(name, str) or not name:
                raise IllegalSchemaError("it has no name")
            legal_schema(listed.get("inputSchema"))
        except IllegalSchemaError as error:
            self._warn(str(name or "without a name"), str(error))
            return None
        return {
            "name": name,
            "inputSchema": _acceptable(listed["inputSchema"]),
            "_meta": {_LISTED: listed},
        }

    def _warn(self, tool: str, reason: str) -> None:
        if (tool, reason) not in self._warned:
            self._warned.add((tool, reason))
            logger.warning(
                "aibridge: tool %s of MCP server %s is not offered: %s",
                ascii(tool),
                self._server,
                reason,
            )

    async def read(self, client: Client) -> tuple[ListedTool, ...]:
        """List the tools, page by page, until there are no more or a cursor repeats."""
        tools: list[types.Tool] = []
        cursors: set[str | None] = set()
        cursor: str | None = None
        size = 0
        while cursor not in cursors and len(cursors) < MAX_PAGES and size <= MAX_BYTES:
            cursors.add(cursor)
            try:
                page = await client.list_tools(cursor=cursor)
            except MCPError as error:
                is_none = error.code == types.METHOD_NOT_FOUND
                if is_none and client.server_capabilities.tools is None:
                    return ()
                raise
            tools += page.tools
            size += len(encode([tool.meta for tool in page.tools]))
            cursor = page.next_cursor or None
        return tuple(_listed_tool((tool.meta or {}).get(_LISTED)) for tool in tools)


def _listed_tool(listed: JSON) -> ListedTool:
    return ListedTool(
        name=listed["name"],
        description=text(listed.get("description")) or text(listed.get("title")) or "",
        input_schema=listed["inputSchema"],
        has_output_schema=listed.get("outputSchema") is not None,
    )


def _acceptable(schema: dict[str, JSON]) -> dict[str, JSON]:
    """Return a schema that `mcp` accepts; it reads from it which arguments become headers."""
    plain: dict[str, JSON] = {"type": "object"}
    given = {name: value for name, value in schema.items() if name != "$schema"} | plain
    entry = {"name": "tool", "inputSchema": given}
    try:
        validate_server_result(
            "tools/list", types.LATEST_PROTOCOL_VERSION, _PAGE | {"tools": [entry]}
        )
    except pydantic.ValidationError:
        return plain
    return given


_PAGE: dict[str, JSON] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""Members of a page, besides its tools, that some version of the protocol requires."""
