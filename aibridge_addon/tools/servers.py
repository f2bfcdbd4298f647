"""All configured MCP servers: starts and stops them, keeps the catalogue, and calls their tools.

It knows neither how tools are named (`names`, `catalogue`) nor which request calls them.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aibridge_addon.formats.central_tool import CentralTool, ToolResult, error_result
from aibridge_addon.library_logs import silence_libraries
from aibridge_addon.tools.catalogue import Catalogue
from aibridge_addon.tools.connection.errors import CallError, clipped
from aibridge_addon.tools.results import fitting, read_result
from aibridge_addon.tools.server import Server, ServerStatus
from aibridge_addon.tools.server_config import ServerConfig

logger = logging.getLogger(__name__)

type OnEvent = Callable[[str, str], None]
"""Called with a server's name and `up`, `down` or `changed`."""

CONNECT_SECONDS = 60.0
"""Time for a server to become ready; its program may have to be downloaded first."""


class ToolServers:
    """The configured servers.

    Args:
        configs: of the servers.
        max_result_bytes: the largest result that is passed to the model.
        default_timeout: seconds that a call may take without progress.
        call_seconds_in_all: seconds that a call may take in total.
        on_event: called when a server connects, disconnects, or changes its tools.
        connect_timeout: seconds until a connection must be ready.
    """

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        *,
        max_result_bytes: int = 256 * 1024,
        default_timeout: float = 60.0,
        call_seconds_in_all: float = 600.0,
        on_event: OnEvent = lambda server, event: None,
        connect_timeout: float = CONNECT_SECONDS,
    ) -> None:
        self._max_result_bytes = max_result_bytes
        self._default_timeout = default_timeout
        self._call_seconds_in_all = call_seconds_in_all
        self._connect_timeout = connect_timeout
        self._on_event = on_event
        self._servers = {config.name: self._server(config) for config in configs}
        self._retiring: dict[Server, asyncio.Task[None]] = {}
        """Servers that are no longer configured, and wait for the end of their calls."""
        self._catalogue = Catalogue()

    def _server(self, config: ServerConfig) -> Server:
        return Server(
            config,
            call_timeout=config.timeout_s or self._default_timeout,
            call_seconds_in_all=self._call_seconds_in_all,
            connect_timeout=self._connect_timeout,
            on_event=self._on_server_event,
        )

    @property
    def catalogue(self) -> Catalogue:
        """All current tools. Tools of a disconnected server stay: conversations may use them."""
        return self._catalogue

    def start(self) -> None:
        """Start to connect to all servers, on the running loop, and return at once."""
        silence_libraries()
        for server in self._servers.values():
            server.start()

    def update(self, configs: Iterable[ServerConfig]) -> None:
        """Replace the configuration of a started object, and return at once.

        A server with the same configuration stays connected. A server that is removed or changed
        gets no further calls, and stops when its running calls have ended.
        """
        before = self._servers
        self._servers = {
            config.name: unchanged
            if (unchanged := before.get(config.name)) and unchanged.config == config
            else self._server(config)
            for config in configs
        }
        for name, server in before.items():
            if self._servers.get(name) is not server:
                self._retire(server)
        for name, server in self._servers.items():
            if before.get(name) is not server:
                server.start()
        self._renew_catalogue()

    def _retire(self, server: Server) -> None:
        name = server.config.name
        change = "has changed in" if name in self._servers else "is gone from"
        logger.info("aibridge: MCP server %s %s the configuration", name, change)
        task = asyncio.create_task(server.retire(), name=f"MCP server {name} retires")
        self._retiring[server] = task
        task.add_done_callback(lambda _: self._retiring.pop(server))

    async def ready(self, timeout: float) -> bool:  # noqa: ASYNC109 it does not raise
        """Wait until each server was tried once; return False if that takes over `timeout` seconds.

        A server that was tried may be down.
        """
        tried = (server.tried.wait() for server in self._servers.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*tried)
        return all(server.tried.is_set() for server in self._servers.values())

    async def call(self, tool: CentralTool, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool; return an error as a result.

        Raises:
            CancelledError: the caller was cancelled; so is the request at the server.
        """
        server = self._servers.get(tool.server)
        if server is None:
            return error_result(f"There is no tool server {tool.server!r} any more.")
        try:
            members = _checked_arguments(arguments)
        except (TypeError, ValueError, RecursionError):
            return error_result(f"The arguments of {tool.name} must be a JSON object.")
        try:
            result = await server.call(tool.original_name, members)
        except CallError as error:
            return error_result(server.config.hide(f"{tool.name}: {error}"))
        except Exception as error:  # noqa: BLE001 the edge: a bug must not end the conversation
            logger.error(
                "aibridge: the call of %s failed because of a bug in aibridge_addon or mcp: %s",
                tool.name,
                server.config.hide(clipped(repr(error))),
            )
            return error_result(f"{tool.name}: the call failed because of a bug in the proxy.")
        read = read_result(result, server.config.hide, is_structured=tool.has_output_schema)
        return fitting(read, self._max_result_bytes)

    async def stop(self) -> None:
        """Close all connections and end all programs, within some seconds."""
        retiring = dict(self._retiring)
        servers = (*self._servers.values(), *retiring)
        await asyncio.gather(*(server.stop() for server in servers))
        for task in retiring.values():
            task.cancel()  # its server has stopped
        await asyncio.gather(*retiring.values(), return_exceptions=True)

    def status(self) -> tuple[ServerStatus, ...]:
        """Return the state of each server."""
        return tuple(server.status() for server in self._servers.values())

    def _on_server_event(self, server: Server, event: str) -> None:
        name = server.config.name
        if self._servers.get(name) is not server:  # it retires
            return
        if event == "changed":
            self._renew_catalogue()
        self._on_event(name, event)

    def _renew_catalogue(self) -> None:
        self._catalogue = Catalogue(server.listing for server in self._servers.values())


def _checked_arguments(arguments: object) -> dict[str, Any]:
    """Return arguments that can be encoded; others would break the connection for all calls."""
    if not isinstance(arguments, Mapping):
        raise TypeError
    members = dict(arguments)
    json.dumps(members, allow_nan=False, ensure_ascii=False).encode()
    return members
