"""Ten central tools for the benchmark: an MCP server, and the cost of offering them.

    python scripts/bench_tools.py

serves them over stdio.
"""

import time
from collections.abc import Sequence
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from pydantic import Field

from aibridge_addon.formats import anthropic_messages
from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.raw_json import body, members
from aibridge_addon.tools.catalogue import Catalogue, ListedTool, Listing

NAME = "bench"
"""The server's name in the configuration."""

COUNT = 10

server = MCPServer(NAME, log_level="WARNING")


def search(
    query: Annotated[str, Field(description="What to look for, in words or as a phrase.")],
    limit: Annotated[int, Field(description="How many results to return at most.")] = 10,
    since: Annotated[str, Field(description="Only what is newer than this date.")] = "",
) -> str:
    """Search the handbook of the organisation for pages that say something about a question.

    Returns titles and the beginnings of pages, the best first. Use it before you answer anything
    about how things are done here, and say which page the answer is from.
    """
    return f"{query}: nothing since {since or 'ever'}, of {limit}"


for number in range(COUNT):
    server.add_tool(search, name=f"search_{number}")


async def central_tools() -> Sequence[CentralTool]:
    """Return the tools in the addon's representation."""
    listed = tuple(
        ListedTool(
            name=tool.name,
            description=tool.description or "",
            input_schema=tool.input_schema,
        )
        for tool in await server.list_tools()
    )
    return Catalogue([Listing(server=NAME, server_url="stdio:", tools=listed)]).tools


def edited(request: bytes, tools: Sequence[CentralTool]) -> bytes:
    """Edit a request as the addon does: decode it, add the tools, encode it."""
    parts = members(request)
    assert parts is not None
    assert anthropic_messages.FORMAT.tools
    anthropic_messages.FORMAT.tools.inject(parts, tools)
    return body(parts)


def edit_seconds(request: bytes, tools: Sequence[CentralTool], *, times: int = 50) -> float:
    """Return the CPU time of the edit of a request."""
    start = time.thread_time()
    for _ in range(times):
        edited(request, tools)
    return (time.thread_time() - start) / times


if __name__ == "__main__":
    server.run("stdio")
