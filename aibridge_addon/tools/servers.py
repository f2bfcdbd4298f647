"""The connections to MCP servers: what their tools are now, and calls of them.

It knows neither names nor filters (`names`, `catalogue`) nor who calls. Each server has one task,
which alone opens and closes its connection, since anyio's cancel scopes do not cross tasks. A call
runs in its caller's task: an open connection is asked through memory streams only, so that calls
wait side by side, and cancelling the caller cancels the request at the server.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import mcp_types as types

from aibridge_addon.formats.central_tool import CentralTool, ToolResult, error_result
from aibridge_addon.tools.call_time import CallTimeoutError, call_time
from aibridge_addon.tools.catalogue import Catalogue, ListedTool, Listing
from aibridge_addon.tools.connection.connection import (
    FIRST_RETRY_SECONDS,
    LAST_RETRY_SECONDS,
    Connection,
)
from aibridge_addon.tools.connection.errors import CallError, SessionEndedError, clipped
from aibridge_addon.tools.connection.http import GOODBYE_SECONDS
from aibridge_addon.tools.results import fitting, read_result
from aibridge_addon.tools.server_config import ServerConfig

logger = logging.getLogger(__name__)

type State = Literal["starting", "up", "down", "stopped"]
type OnEvent = Callable[[str, str], None]
"""Told a server's name and what happened: up, down or changed."""

CONNECT_SECONDS = 60.0
"""For a server to be ready; a program may have to be downloaded first."""
STOP_SECONDS = 5.0
"""For connections to end in good order, and once more after they were told to hurry."""
STABLE_SECONDS = 60.0
"""A connection that held so long is tried again as if it were the first time."""


class ToolServers:
    """All configured servers: start them, look at the catalogue, call tools, stop them.

    `max_result_bytes` bounds what a result gives to the model; the time-outs are in seconds.
    `default_timeout` is of a call without progress, `call_seconds_in_all` of any.
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
        self._servers = {config.name: self._made(config) for config in configs}
        self._retiring: dict[_Server, asyncio.Task[None]] = {}
        """Those that are configured no more, and wait for the end of their calls."""
        self._catalogue = Catalogue()

    def _made(self, config: ServerConfig) -> "_Server":
        return _Server(
            config,
            call_timeout=config.timeout_s or self._default_timeout,
            call_seconds_in_all=self._call_seconds_in_all,
            connect_timeout=self._connect_timeout,
            on_event=self._heard,
        )

    @property
    def catalogue(self) -> Catalogue:
        """All tools now. Those of a server that is down stay: a conversation may rely on them."""
        return self._catalogue

    def start(self) -> None:
        """Begin to connect to all servers, on the running loop, and return at once."""
        _quiet()
        for server in self._servers.values():
            server.start()

    def update(self, configs: Iterable[ServerConfig]) -> None:
        """Have these servers from now on, once started; return at once.

        One whose configuration is the same stays connected. One that is gone, or is another now,
        gets no more calls, and ends when those that run on it have ended.
        """
        before = self._servers
        self._servers = {
            config.name: kept
            if (kept := before.get(config.name)) and kept.config == config
            else self._made(config)
            for config in configs
        }
        for name, server in before.items():
            if self._servers.get(name) is not server:
                self._retire(server)
        for name, server in self._servers.items():
            if before.get(name) is not server:
                server.start()
        self._renew_catalogue()

    def _retire(self, server: "_Server") -> None:
        name = server.config.name
        what = "has changed in" if name in self._servers else "is gone from"
        logger.info("aibridge: MCP server %s %s the configuration", name, what)
        task = asyncio.create_task(server.retire(), name=f"MCP server {name} retires")
        self._retiring[server] = task
        task.add_done_callback(lambda _: self._retiring.pop(server))

    async def ready(self, timeout: float) -> bool:  # noqa: ASYNC109 it does not raise
        """Wait `timeout` seconds at most until each server was tried once; whether all were."""
        tried = (server.tried.wait() for server in self._servers.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*tried)
        return all(server.tried.is_set() for server in self._servers.values())

    async def call(self, tool: CentralTool, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool; whatever goes wrong is told in the result.

        Raises:
            CancelledError: the caller was cancelled; the server is told so.
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
                "aibridge: a bug of ours or of the mcp package in a call of %s: %s",
                tool.name,
                server.config.hide(clipped(repr(error))),
            )
            return error_result(f"{tool.name}: the call failed for a reason of our own.")
        read = read_result(result, server.config.hide, is_structured=tool.has_output_schema)
        return fitting(read, self._max_result_bytes)

    async def stop(self) -> None:
        """End all connections and programs; at most some seconds, and nothing is left."""
        retiring = dict(self._retiring)
        servers = (*self._servers.values(), *retiring)
        await asyncio.gather(*(server.end() for server in servers))
        for task in retiring.values():
            task.cancel()  # what it waits for is done
        await asyncio.gather(*retiring.values(), return_exceptions=True)

    def status(self) -> tuple["ServerStatus", ...]:
        """How each server is, for people."""
        return tuple(server.status() for server in self._servers.values())

    def _heard(self, server: "_Server", event: str) -> None:
        name = server.config.name
        if self._servers.get(name) is not server:  # it retires
            return
        if event == "changed":
            self._renew_catalogue()
        self._on_event(name, event)

    def _renew_catalogue(self) -> None:
        self._catalogue = Catalogue(server.listing for server in self._servers.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """How a server is."""

    name: str
    transport: str
    url: str
    state: State
    tools: int
    """How many are offered."""
    last_error: str
    """Empty if there was none."""


def _checked_arguments(arguments: object) -> dict[str, Any]:
    """Return arguments that can be sent: one that cannot would break the connection for all."""
    if not isinstance(arguments, Mapping):
        raise TypeError
    members = dict(arguments)
    json.dumps(members, allow_nan=False, ensure_ascii=False).encode()
    return members


def _quiet() -> None:
    # Both write URLs, which may hold secrets, and `mcp` a traceback at each attempt. We tell what
    # matters of it, once.
    for name, level in (("mcp", logging.CRITICAL), ("httpx2", logging.WARNING)):
        logging.getLogger(name).setLevel(level)


class _Server:
    """Keeps a connection to one server, and tries again whenever it has none."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        call_timeout: float,
        call_seconds_in_all: float,
        connect_timeout: float,
        on_event: Callable[["_Server", str], None],
    ) -> None:
        self.config = config
        self._call_seconds_in_all = max(call_timeout, call_seconds_in_all)
        self.tried = asyncio.Event()
        """Set once the first attempt has ended, however."""
        self.listing = self._listed(())
        self._call_timeout = call_timeout
        self._connect_timeout = connect_timeout
        self._on_event = on_event
        self._state: State = "starting"
        self._last_error = ""
        self._connection: Connection | None = None
        """The one that is open or being opened."""
        self._attempted = asyncio.Event()
        """Set, and replaced, when an attempt ends."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._calls = 0
        """That run now."""
        self._idle = asyncio.Event()
        """Whether none does."""
        self._idle.set()

    # Its task

    def start(self) -> None:
        """Begin to connect, on the running loop."""
        self._task = asyncio.create_task(self._run(), name=f"MCP server {self.config.name}")

    async def _run(self) -> None:
        """Be connected, until stopped."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping:
            start = loop.time()
            self._wake.clear()
            await self._connect_once()
            stable = self._state == "up" and loop.time() - start >= STABLE_SECONDS
            failures = 1 if stable else failures + 1
            self._went_down()
            await self._pause(min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS))
        self._state = "stopped"
        self._attempt_ended()

    async def _connect_once(self) -> None:
        self._connection = Connection(
            self.config,
            timeout=self._connect_timeout,
            call_timeout=self._call_timeout,
            on_tools=self._on_tools,
        )
        await self._connection.run()
        self._last_error = self._connection.problem or self._last_error
        self._connection = None

    def _on_tools(self, tools: tuple[ListedTool, ...]) -> None:
        """Take a listing; the first one of a connection says that it is up."""
        known, self.listing = self.listing, self._listed(tools)
        if known != self.listing:
            self._on_event(self, "changed")
        if self._state == "up":
            return
        self._state = "up"
        offered = len(self.listing.offered())
        logger.info("aibridge: MCP server %s is up; %d tools", self.config.name, offered)
        self._attempt_ended()
        self._on_event(self, "up")

    def _listed(self, tools: tuple[ListedTool, ...]) -> Listing:
        config = self.config
        return Listing(
            server=config.name,
            server_url=config.shown_url,
            tools=tools,
            allow=config.allow,
            deny=config.deny,
        )

    def _went_down(self) -> None:
        was, self._state = self._state, "down"
        if was != "up":
            self._attempt_ended()
        if was == "down" or self._stopping:
            return
        logger.warning(
            "aibridge: MCP server %s (%s) is down: %s; trying again",
            self.config.name,
            self.config.shown_url,
            self._last_error,
        )
        self._on_event(self, "down")

    def _attempt_ended(self) -> None:
        self.tried.set()
        self._attempted.set()
        self._attempted = asyncio.Event()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # From other tasks

    async def retire(self) -> None:
        """Let the calls that run come to their end, each in its own time, and end."""
        if self._open:  # else they only wait for a connection
            await self._idle.wait()
        await self.end()

    async def end(self) -> None:
        """End its connection and its program; at most some seconds, and nothing is left."""
        if self._task is None:
            return
        ways = (
            (self._close, STOP_SECONDS),
            (self._hurry, STOP_SECONDS),
            (self._task.cancel, GOODBYE_SECONDS),
        )
        for end, seconds in ways:
            end()
            if (await asyncio.wait({self._task}, timeout=seconds))[0]:
                return
        logger.warning("aibridge: the connection to MCP server %s did not end", self.config.name)

    def _close(self) -> None:
        """Have the task end in good order."""
        self._stopping = True
        self._wake.set()
        if self._connection is not None:
            self._connection.close()

    def _hurry(self) -> None:
        """Have the task end whatever it waits for."""
        if self._connection is not None:
            self._connection.cancel()

    def status(self) -> ServerStatus:
        """How it is."""
        return ServerStatus(
            name=self.config.name,
            transport=self.config.transport,
            url=self.config.shown_url,
            state=self._state,
            tools=len(self.listing.offered()),
            last_error=self._last_error,
        )

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Call a tool, on a connection that is open or opens in time.

        Raises:
            CallError: there is no result.
        """
        with self._counted():
            return await self._call(tool, arguments)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def _call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        try:
            async with call_time(self._call_timeout, in_all=self._call_seconds_in_all) as renew:
                given = (tool, arguments, self._call_seconds_in_all, renew)
                try:
                    return await (await self._connected()).call(*given)
                except SessionEndedError:  # it was not run, so that asking again is safe
                    return await (await self._connected()).call(*given)
        except CallTimeoutError as error:
            if self._connection is not None:
                self._connection.doubt()
            raise CallError(str(error)) from None
        except SessionEndedError:
            raise CallError("the server ends each session at once") from None

    async def _connected(self) -> "Connection":
        """Return the open connection; where there is none, wait for one attempt."""
        if self._open is None and not self._stopping:
            attempted = self._attempted
            if self._connection is None or self._connection.is_closing:
                self._wake.set()
            await attempted.wait()
        if connection := self._open:
            return connection
        why = "it is stopped" if self._stopping else self._last_error
        raise CallError(f"the tool server is not available: {why}; go on without it")

    @property
    def _open(self) -> "Connection | None":
        connection = self._connection
        return connection if connection is not None and connection.is_open else None
