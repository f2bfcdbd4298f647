"""One MCP server: keeps a connection to it, reconnects, and calls its tools.

One task alone opens and closes the connection, since anyio's cancel scopes do not cross tasks. A
call runs in its caller's task and uses only memory streams of the open connection, so that calls
run in parallel, and cancelling the caller cancels the request at the server.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import mcp_types as types

from aibridge_addon.tools.call_time import CallTimeoutError, call_time
from aibridge_addon.tools.catalogue import ListedTool, Listing
from aibridge_addon.tools.connection.connection import (
    FIRST_RETRY_SECONDS,
    LAST_RETRY_SECONDS,
    Connection,
)
from aibridge_addon.tools.connection.errors import CallError, SessionEndedError
from aibridge_addon.tools.connection.http import GOODBYE_SECONDS
from aibridge_addon.tools.server_config import ServerConfig

logger = logging.getLogger(__name__)

type State = Literal["starting", "up", "down", "stopped"]

STOP_SECONDS = 5.0
"""Time for a connection to close in good order, and again after it was cancelled."""
STABLE_SECONDS = 60.0
"""A connection that lasted so long resets the retry delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """The state of a server, for people."""

    name: str
    transport: str
    url: str
    state: State
    tools: int
    """Number of tools offered."""
    last_error: str
    """Empty if there was no error."""


class Server:
    """Keeps a connection to one server, and reconnects whenever it is lost.

    Args:
        config: of the server.
        call_timeout: seconds that a call may take without progress.
        call_seconds_in_all: seconds that a call may take in total.
        connect_timeout: seconds until a connection must be ready.
        on_event: called with `up`, `down` or `changed`.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        call_timeout: float,
        call_seconds_in_all: float,
        connect_timeout: float,
        on_event: Callable[["Server", str], None],
    ) -> None:
        self.config = config
        self.tried = asyncio.Event()
        """Set once the first attempt has ended, with or without success."""
        self.listing = self._listing_of(())
        self._call_timeout = call_timeout
        self._call_seconds_in_all = max(call_timeout, call_seconds_in_all)
        self._connect_timeout = connect_timeout
        self._on_event = on_event
        self._state: State = "starting"
        self._last_error = ""
        self._connection: Connection | None = None
        """The connection that is open or being opened."""
        self._attempted = asyncio.Event()
        """Set, and replaced, when an attempt ends."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._calls = 0
        """Number of running calls."""
        self._idle = asyncio.Event()
        """Set while no call is running."""
        self._idle.set()

    # In its own task

    def start(self) -> None:
        """Start to connect, on the running loop."""
        self._task = asyncio.create_task(self._run(), name=f"MCP server {self.config.name}")

    async def _run(self) -> None:
        """Keep connected until stopped."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping:
            start = loop.time()
            self._wake.clear()
            await self._connect_once()
            stable = self._state == "up" and loop.time() - start >= STABLE_SECONDS
            failures = 1 if stable else failures + 1
            self._mark_down()
            await self._pause(min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS))
        self._state = "stopped"
        self._end_attempt()

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
        """Store a listing; the first listing of a connection means that the server is up."""
        known, self.listing = self.listing, self._listing_of(tools)
        if known != self.listing:
            self._on_event(self, "changed")
        if self._state == "up":
            return
        self._state = "up"
        offered = len(self.listing.offered())
        logger.info("aibridge: MCP server %s is up; %d tools", self.config.name, offered)
        self._end_attempt()
        self._on_event(self, "up")

    def _listing_of(self, tools: tuple[ListedTool, ...]) -> Listing:
        config = self.config
        return Listing(
            server=config.name,
            server_url=config.shown_url,
            tools=tools,
            allow=config.allow,
            deny=config.deny,
        )

    def _mark_down(self) -> None:
        before, self._state = self._state, "down"
        if before != "up":
            self._end_attempt()
        if before == "down" or self._stopping:
            return
        logger.warning(
            "aibridge: MCP server %s (%s) is down: %s; trying again",
            self.config.name,
            self.config.shown_url,
            self._last_error,
        )
        self._on_event(self, "down")

    def _end_attempt(self) -> None:
        self.tried.set()
        self._attempted.set()
        self._attempted = asyncio.Event()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # From other tasks

    async def retire(self) -> None:
        """Stop once the running calls have ended, each within its own time."""
        if self._open_connection:  # else they only wait for a connection
            await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """Close the connection and end the server's program, within some seconds."""
        if self._task is None:
            return
        escalation = (
            (self._close, STOP_SECONDS),
            (self._cancel, STOP_SECONDS),
            (self._task.cancel, GOODBYE_SECONDS),
        )
        for step, seconds in escalation:
            step()
            if (await asyncio.wait({self._task}, timeout=seconds))[0]:
                return
        logger.warning("aibridge: the connection to MCP server %s did not end", self.config.name)

    def _close(self) -> None:
        """Let the task end in good order."""
        self._stopping = True
        self._wake.set()
        if self._connection is not None:
            self._connection.close()

    def _cancel(self) -> None:
        """Let the task end without waiting for the server."""
        if self._connection is not None:
            self._connection.cancel()

    def status(self) -> ServerStatus:
        """Return the state of the server."""
        return ServerStatus(
            name=self.config.name,
            transport=self.config.transport,
            url=self.config.shown_url,
            state=self._state,
            tools=len(self.listing.offered()),
            last_error=self._last_error,
        )

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Call a tool on a connection that is open, or opens in time.

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
                args = (tool, arguments, self._call_seconds_in_all, renew)
                try:
                    return await (await self._connected()).call(*args)
                except SessionEndedError:  # the call was not run, so that a second one is safe
                    return await (await self._connected()).call(*args)
        except CallTimeoutError as error:
            if self._connection is not None:
                self._connection.check_alive()
            raise CallError(str(error)) from None
        except SessionEndedError:
            raise CallError("the server ends each session at once") from None

    async def _connected(self) -> Connection:
        """Return the open connection; if it is not open, wait for one attempt."""
        if self._open_connection is None and not self._stopping:
            attempted = self._attempted
            if self._connection is None or self._connection.is_closing:
                self._wake.set()
            await attempted.wait()
        if connection := self._open_connection:
            return connection
        reason = "it is stopped" if self._stopping else self._last_error
        raise CallError(f"the tool server is not available: {reason}; go on without it")

    @property
    def _open_connection(self) -> Connection | None:
        connection = self._connection
        return connection if connection is not None and connection.is_open else None
