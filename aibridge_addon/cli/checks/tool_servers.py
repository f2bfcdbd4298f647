"""Checks the MCP servers of the configuration."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.checks.wording import count
from aibridge_addon.config.settings import Settings
from aibridge_addon.findings import Finding

if TYPE_CHECKING:
    from aibridge_addon.tools.server import ServerStatus

SERVERS_S = 30.0
"""Time limit for a server to start: its program may have to be downloaded first."""


def check_tool_servers(installation: Installation) -> Iterator[Finding]:
    """Connect to the MCP servers, and count their tools."""
    if installation.settings.mcp_servers:
        yield from map(_finding, asyncio.run(_connect(installation.settings)))


async def _connect(settings: Settings) -> "tuple[ServerStatus, ...]":
    from aibridge_addon.tools.servers import ToolServers

    servers = ToolServers(settings.mcp_servers, connect_timeout=SERVERS_S)
    servers.start()
    try:
        await servers.ready(SERVERS_S + 1)
        return servers.status()
    finally:
        await servers.stop()


def _finding(status: "ServerStatus") -> Finding:
    about = f"MCP {status.name}"
    if status.state != "up":
        what = f"{status.url}: {status.last_error or status.state}"
        to_do = "start the server, or correct its entry in the config file"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    what = f"{status.url}: {count(status.tools, 'tool')}"
    if status.tools:
        return Finding(about=about, level="ok", what=what)
    to_do = "check the keys allow and deny of its entry"
    return Finding(about=about, level="note", what=what, to_do=to_do)
