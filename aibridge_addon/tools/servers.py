"""The connections to MCP servers: what their tools are now, and calls of them.

It knows neither names nor filters (`names`, `catalogue`) nor who calls. Each server has one task,
which alone opens and closes its connection, since anyio's cancel scopes do not cross tasks. A call
runs in its caller's task: an open connection is asked through memory streams only, so that calls
wait side by side, and cancelling the caller cancels the request at the server.
"""

import asyncio
import contextlib
import functools
import json
import logging
import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal, TextIO

import anyio
import httpx2
import mcp_types as types
import pydantic
from mcp.client import Client, IncomingMessage
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError

from aibridge_addon.tools.catalogue import Catalogue, ListedTool, Listing
from aibridge_addon.tools.config import ServerConfig
from aibridge_addon.tools.model import CentralTool, ResultPart, ToolResult, error_result

logger = logging.getLogger(__name__)

type State = Literal["starting", "up", "down", "stopped"]
type OnEvent = Callable[[str, str], None]
"""Told a server's name and what happened: up, down or changed."""

CONNECT_SECONDS = 60.0
"""For a server to be ready; a program may have to be downloaded first."""
HTTP_SECONDS = 15.0
"""For an HTTP server to take a connection or a request. Its answer is bounded by the call."""
GOODBYE_SECONDS = 2.0
"""For an HTTP server to hear that a session ends."""
STOP_SECONDS = 5.0
"""For connections to end in good order, and once more after they were told to hurry."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
STABLE_SECONDS = 60.0
"""A connection that held so long is tried again as if it were the first time."""
MAX_EVENT_BYTES = 64 * 1024 * 1024
MAX_PAGES = 100
"""Of a listing: one whose pages never end must not hang us."""
MAX_MESSAGE = 500
"""Characters of a server's error that are passed on."""
MAX_LINE = 2000
"""Bytes of a line that a server writes to stderr."""
MODERN = "2026-07-28"
"""The first protocol version whose changes are heard by asking for them."""


class ToolServers:
    """All configured servers: start them, look at the catalogue, call tools, stop them.

    `max_result_bytes` bounds what a result gives to the model; `default_timeout` is in seconds.
    """

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        *,
        max_result_bytes: int = 256 * 1024,
        default_timeout: float = 60.0,
        on_event: OnEvent = lambda server, event: None,
        connect_timeout: float = CONNECT_SECONDS,
    ) -> None:
        self._max_result_bytes = max_result_bytes
        self._on_event = on_event
        self._servers = {
            config.name: _Server(
                config,
                call_timeout=config.timeout_s or default_timeout,
                connect_timeout=connect_timeout,
                on_event=self._heard,
            )
            for config in configs
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._catalogue = Catalogue()

    @property
    def catalogue(self) -> Catalogue:
        """All tools now. Those of a server that is down stay: a conversation may rely on them."""
        return self._catalogue

    def start(self) -> None:
        """Begin to connect to all servers, on the running loop, and return at once."""
        _quiet()
        self._tasks = {
            asyncio.create_task(server.run(), name=f"MCP server {name}")
            for name, server in self._servers.items()
        }

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
        except _CallError as error:
            return error_result(server.config.hide(f"{tool.name}: {error}"))
        except Exception as error:  # noqa: BLE001 the edge: a bug must not end the conversation
            logger.error(
                "aibridge: a bug of ours or of the mcp package in a call of %s: %s",
                tool.name,
                server.config.hide(_clipped(repr(error))),
            )
            return error_result(f"{tool.name}: the call failed for a reason of our own.")
        return _fitting(read_result(result, server.config.hide), self._max_result_bytes)

    async def stop(self) -> None:
        """End all connections and programs; at most some seconds, and nothing is left."""
        for server in self._servers.values():
            server.stop()
        await self._ended(STOP_SECONDS)
        for server in self._servers.values():
            server.hurry()
        await self._ended(STOP_SECONDS)
        for task in self._tasks:
            task.cancel()
        await self._ended(GOODBYE_SECONDS)
        if self._tasks:
            logger.warning("aibridge: %d MCP connections did not end", len(self._tasks))

    async def _ended(self, seconds: float) -> None:
        if self._tasks:
            _, self._tasks = await asyncio.wait(self._tasks, timeout=seconds)

    def status(self) -> tuple["ServerStatus", ...]:
        """How each server is, for people."""
        return tuple(server.status() for server in self._servers.values())

    def _heard(self, server: str, event: str) -> None:
        if event == "changed":
            self._catalogue = Catalogue(server.listing for server in self._servers.values())
        self._on_event(server, event)


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


# One server


class _CallError(Exception):
    """Why a call has no result; the message is for the model."""


class _Server:
    """Keeps a connection to one server, and tries again whenever it has none."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        call_timeout: float,
        connect_timeout: float,
        on_event: OnEvent,
    ) -> None:
        self.config = config
        self.tried = asyncio.Event()
        """Set once the first attempt has ended, however."""
        self.listing = self._listed(())
        self._call_timeout = call_timeout
        self._connect_timeout = connect_timeout
        self._on_event = on_event
        self._state: State = "starting"
        self._last_error = ""
        self._connection: _Connection | None = None
        """The one that is open or being opened."""
        self._attempted = asyncio.Event()
        """Set, and replaced, when an attempt ends."""
        self._wake = asyncio.Event()
        self._stopping = False

    # Its task

    async def run(self) -> None:
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
        self._connection = _Connection(
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
            self._on_event(self.config.name, "changed")
        if self._state == "up":
            return
        self._state = "up"
        offered = len(self.listing.offered())
        logger.info("aibridge: MCP server %s is up; %d tools", self.config.name, offered)
        self._attempt_ended()
        self._on_event(self.config.name, "up")

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
        self._on_event(self.config.name, "down")

    def _attempt_ended(self) -> None:
        self.tried.set()
        self._attempted.set()
        self._attempted = asyncio.Event()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # From other tasks

    def stop(self) -> None:
        """Have the task end in good order."""
        self._stopping = True
        self._wake.set()
        if self._connection is not None:
            self._connection.close()

    def hurry(self) -> None:
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
            _CallError: there is no result.
        """
        try:
            async with asyncio.timeout(self._call_timeout):
                try:
                    return await (await self._connected()).call(tool, arguments)
                except _SessionEndedError:  # it was not run, so that asking again is safe
                    return await (await self._connected()).call(tool, arguments)
        except TimeoutError:
            if self._connection is not None:
                self._connection.doubt()
            raise _CallError(
                f"no answer within {self._call_timeout:g} seconds; the call was cancelled"
            ) from None
        except _SessionEndedError:
            raise _CallError("the server ends each session at once") from None

    async def _connected(self) -> "_Connection":
        """Return the open connection; where there is none, wait for one attempt."""
        if self._open is None and not self._stopping:
            attempted = self._attempted
            if self._connection is None or self._connection.is_closing:
                self._wake.set()
            await attempted.wait()
        if connection := self._open:
            return connection
        why = "it is stopped" if self._stopping else self._last_error
        raise _CallError(f"the tool server is not available: {why}; go on without it")

    @property
    def _open(self) -> "_Connection | None":
        connection = self._connection
        return connection if connection is not None and connection.is_open else None


class _SessionEndedError(Exception):
    """The server has forgotten the session, and has not run the call."""


# One connection


@dataclass(slots=True)
class _Answer:
    """What HTTP said to one request; it reaches the transport in the request's context."""

    status: int = 0


_answer: ContextVar[_Answer | None] = ContextVar("aibridge_mcp_answer", default=None)


class _Connection:
    """One connection from its start to its end; it is never used again."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        timeout: float,
        call_timeout: float,
        on_tools: Callable[[tuple[ListedTool, ...]], None],
    ) -> None:
        self.problem = ""
        """Why it ended; without secrets, once `run` has returned."""
        self._config = config
        self._timeout = timeout
        self._call_timeout = call_timeout
        self._on_tools = on_tools
        self._client: Client | None = None
        self._scope = anyio.CancelScope()
        self._closing = asyncio.Event()
        self._stale = asyncio.Event()
        """Set when the listing may have changed, or the server may be dead."""
        self._connecting = _Answer()
        self._said: deque[str] = deque(maxlen=3)

    @property
    def is_open(self) -> bool:
        """Whether tools can be called."""
        return self._client is not None and not self.is_closing

    @property
    def is_closing(self) -> bool:
        """Whether it has ended or is about to."""
        return self._closing.is_set()

    async def run(self) -> None:
        """Open it, serve until it is lost or closed, and leave nothing behind."""
        watchdog = asyncio.get_running_loop().call_later(self._timeout, self._too_slow)
        try:
            with self._scope:
                await self._hold(watchdog)
        except Exception as error:  # noqa: BLE001 the edge: whatever a transport raises ends it
            self._lose(self._described(error))
        finally:
            watchdog.cancel()
            self._lose("it closed the connection")
            self._client = None
        self.problem = self._config.hide(self.problem)

    def close(self) -> None:
        """Have it end in good order."""
        self._lose("it was closed")
        if self._client is None:
            self._scope.cancel()

    def cancel(self) -> None:
        """Have it end now."""
        self._scope.cancel()

    def doubt(self) -> None:
        """Find out whether the server still answers."""
        self._stale.set()

    def _lose(self, problem: str) -> None:
        self.problem = self.problem or problem
        self._closing.set()

    def _too_slow(self) -> None:
        self._lose(f"it was not ready within {self._timeout:g} seconds")
        self._scope.cancel()

    async def _hold(self, watchdog: asyncio.TimerHandle) -> None:
        async with AsyncExitStack() as stack:
            transport = await self._transport(stack)
            client = await stack.enter_async_context(
                Client(
                    _watched(transport, on_end=self._closing.set),  # `run` finds out why
                    cache=None,
                    read_timeout_seconds=self._timeout,
                    client_info=types.Implementation(name="aibridge", version="1"),
                    message_handler=self._on_message,
                )
            )
            tools = await _list_tools(client)
            watchdog.cancel()
            if self.is_closing:
                return
            self._client = client
            self._on_tools(tools)
            await self._serve(client)

    async def _serve(self, client: Client) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_listening, client)
            group.start_soon(self._keep_listed, client)
            await self._closing.wait()
            group.cancel_scope.cancel()

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._stale.set()

    async def _keep_listening(self, client: Client) -> None:
        """Hear of changes from servers that tell of them only when asked."""
        if client.protocol_version < MODERN:
            return
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                async with client.listen(tools_list_changed=True) as subscription:
                    self._stale.set()  # what changed before is not told
                    async for _ in subscription:
                        self._stale.set()
                        pause = FIRST_RETRY_SECONDS
            except ListenNotSupportedError:
                return
            except MCPError as error:
                if error.code in (types.METHOD_NOT_FOUND, types.INVALID_PARAMS):
                    return
            except (SubscriptionLost, TimeoutError):
                pass
            await anyio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY_SECONDS)

    async def _keep_listed(self, client: Client) -> None:
        """List the tools again whenever that may tell something new."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                with anyio.fail_after(self._call_timeout):
                    self._on_tools(await _list_tools(client))
            except TimeoutError:
                self._lose("it does not answer any more")
            except (MCPError, pydantic.ValidationError) as error:
                if self._is_of_no_session(error, self._connecting):
                    self._lose("it ended the session")
                logger.warning(
                    "aibridge: MCP server %s does not list its tools: %s",
                    self._config.name,
                    self._config.hide(self._described(error)),
                )

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Call a tool, in the caller's task.

        Raises:
            _CallError: there is no result.
            _SessionEndedError: the server was restarted; call again on a new connection.
        """
        assert self._client is not None
        answer = _Answer()
        token = _answer.set(answer)
        try:
            return await self._client.call_tool(tool, arguments, self._call_timeout)
        except MCPError as error:
            if self._is_of_no_session(error, answer):
                self._lose("it ended the session")
                raise _SessionEndedError from None
            raise _CallError(self._reason(error, answer)) from None
        except pydantic.ValidationError:
            raise _CallError("the server answered with something that is not MCP") from None
        except RuntimeError as error:  # the structured content does not fit its schema
            raise _CallError(_clipped(str(error))) from None
        finally:
            _answer.reset(token)

    def _is_of_no_session(self, error: Exception, answer: _Answer) -> bool:
        """Whether a server that was restarted refuses the session that it has forgotten."""
        if self._config.transport != "http" or not isinstance(error, MCPError):
            return False
        legacy = self._client is not None and self._client.protocol_version < MODERN
        told = "session" in error.message.lower()
        return legacy and (answer.status == 404 or (answer.status == 400 and told))

    def _reason(self, error: MCPError, answer: _Answer) -> str:
        if answer.status >= 400 and error.code in _FROM_HTTP:
            return _http_problem(answer.status)
        if error.code == types.CONNECTION_CLOSED:
            self.doubt()
            hint = " (over SSE, a result has at most 1 MiB)" if self._is_sse else ""
            why = self.problem or _clipped(error.message)
            return f"the call was lost{hint}, and may have had its effect: {why}"
        if error.code == types.URL_ELICITATION_REQUIRED:
            return "the server wants somebody to log in in a browser, which its operator has to do"
        return _clipped(error.message) or f"the server failed (MCP error {error.code})"

    @property
    def _is_sse(self) -> bool:
        return self._config.transport == "sse"

    # Transports

    async def _transport(self, stack: AsyncExitStack) -> AbstractAsyncContextManager[Any]:
        config = self._config
        if config.transport == "sse":
            return sse_client(config.url, httpx_client_factory=self._http_client)
        if config.transport == "http":
            return streamable_http_client(
                config.url,
                http_client=await stack.enter_async_context(self._http_client()),
                max_sse_event_size=MAX_EVENT_BYTES,
            )
        return stdio_client(
            StdioServerParameters(
                command=config.command, args=list(config.args), env=dict(config.env), cwd=config.cwd
            ),
            errlog=await stack.enter_async_context(_lines_of(self._on_stderr)),
        )

    def _http_client(self, *_: Any, **__: Any) -> httpx2.AsyncClient:
        # An answer is bounded by its call, and a stream of notifications by nothing.
        return httpx2.AsyncClient(
            transport=_DirectTransport(self._on_answer, self._on_failure),
            headers=dict(self._config.headers),
            timeout=httpx2.Timeout(HTTP_SECONDS, read=None),
            trust_env=False,
        )

    def _on_answer(self, request: httpx2.Request, status: int) -> None:
        if request.method != "POST":
            return
        (_answer.get() or self._connecting).status = status
        if status >= 400 and self._is_sse:  # the answer would never come
            self._lose(_http_problem(status))

    def _on_failure(self, request: httpx2.Request, error: httpx2.TransportError) -> None:
        if request.method != "DELETE":
            self._lose(_described(error))

    def _on_stderr(self, line: str) -> None:
        line = self._config.hide(line)
        self._said.append(line)
        logger.debug("aibridge: MCP server %s says: %s", self._config.name, line)

    def _described(self, error: BaseException) -> str:
        """Say why the connection could not be opened, or ended."""
        error = _first_of(error)
        status = self._connecting.status
        if isinstance(error, MCPError) and status >= 400 and error.code in _FROM_HTTP:
            return _http_problem(status)
        said = f"; it said: {' | '.join(self._said)}" if self._said else ""
        return _described(error) + _clipped(said)


class _DirectTransport(httpx2.AsyncHTTPTransport):
    """HTTP without proxies of the environment, which may be ourselves; tells what comes of it."""

    def __init__(
        self,
        on_answer: Callable[[httpx2.Request, int], None],
        on_failure: Callable[[httpx2.Request, httpx2.TransportError], None],
    ) -> None:
        super().__init__(
            verify=_tls(), limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        )
        self._on_answer = on_answer
        self._on_failure = on_failure

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            request.extensions["timeout"] = httpx2.Timeout(GOODBYE_SECONDS).as_dict()
        try:
            response = await super().handle_async_request(request)
        except httpx2.TransportError as error:
            self._on_failure(request, error)
            raise
        self._on_answer(request, response.status_code)
        return response


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


class _Watched:
    """A transport's read stream that tells of its end, which a session tells nobody."""

    def __init__(self, stream: Any, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._on_end()
            raise

    async def __aenter__(self) -> "_Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        closed: bool | None = await self._stream.__aexit__(*exc_info)
        return closed


@asynccontextmanager
async def _watched(
    transport: AbstractAsyncContextManager[Any], *, on_end: Callable[[], None]
) -> AsyncIterator[tuple[Any, Any]]:
    async with transport as (read, write):
        yield _Watched(read, on_end), write


class _Lines(asyncio.Protocol):
    """Takes a pipe's lines apart; what is too long of one is cut."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE]
        for line in lines:
            self._take(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._take(self._rest)
        self.ended.set()

    def _take(self, line: bytes) -> None:
        text = line[:MAX_LINE].decode(errors="replace").strip()
        if text:
            self._on_line(text)


@asynccontextmanager
async def _lines_of(on_line: Callable[[str], None]) -> AsyncIterator[TextIO]:
    """Give a file to be a program's stderr, whose lines are told."""
    read_end, write_end = os.pipe()
    loop = asyncio.get_running_loop()
    with os.fdopen(write_end, "w") as program_side:
        pipe, lines = await loop.connect_read_pipe(
            lambda: _Lines(on_line), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            yield program_side
        finally:
            program_side.close()
            # What it said last is worth a moment, unless something that it started lives on.
            with anyio.move_on_after(GOODBYE_SECONDS, shield=True):
                await lines.ended.wait()
            pipe.close()


async def _list_tools(client: Client) -> tuple[ListedTool, ...]:
    tools: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        try:
            page = await client.list_tools(cursor=cursor)
        except MCPError as error:
            if error.code == types.METHOD_NOT_FOUND and client.server_capabilities.tools is None:
                return ()
            raise
        tools += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return tuple(
        ListedTool(
            name=tool.name,
            description=tool.description or tool.title or "",
            input_schema=tool.input_schema,
        )
        for tool in tools
    )


# Errors, in words that hold no secret


_FROM_HTTP = frozenset({types.INTERNAL_ERROR, types.INVALID_REQUEST, types.METHOD_NOT_FOUND})
"""The codes that stand for an HTTP status in `mcp`'s HTTP transport."""


def _http_problem(status: int) -> str:
    if status in (401, 403):
        return f"the server wants a login (HTTP {status}), which its operator has to configure"
    return f"the server answered with HTTP {status}"


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _described(error: BaseException) -> str:
    """Describe an error by its kind: what `httpx2` and `pydantic` say may quote a secret."""
    match error:
        case httpx2.HTTPStatusError():
            return _http_problem(error.response.status_code)
        case httpx2.TimeoutException() | TimeoutError():
            return "it did not answer in time"
        case httpx2.ConnectError():
            return f"it cannot be reached: {_clipped(str(error))}"
        case httpx2.SSEError():
            return "it sent an event of more than 1 MiB, or something that is no event stream"
        case httpx2.TransportError():
            return f"it broke off the connection ({type(error).__name__})"
        case MCPError():
            return _clipped(error.message) or f"MCP error {error.code}"
        case OSError():
            return f"it cannot be started: {error.strerror or type(error).__name__}"
        case ValueError():
            return "it answers with something that is not MCP"
        case _:
            return type(error).__name__


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


# Results


def read_result(
    result: types.CallToolResult, hide: Callable[[str], str] = lambda text: text
) -> ToolResult:
    """Map what a tool gave, in order; what cannot be given is described.

    An error is passed through `hide`: it may quote how the server was asked.
    """
    parts = [_part(block) for block in result.content]
    if result.is_error:
        parts = [replace(part, text=hide(part.text)) for part in parts]
    structured = result.structured_content
    if structured is not None and not _is_said(structured, [p for p in parts if p.kind == "text"]):
        parts.append(ResultPart(kind="other", text=_json(structured)))
    if not parts:
        text = "The tool failed and gave no reason." if result.is_error else "(no output)"
        parts.append(ResultPart(kind="text", text=text))
    return ToolResult(parts=tuple(parts), is_error=result.is_error)


def _part(block: types.ContentBlock) -> ResultPart:
    match block:
        case types.TextContent():
            return ResultPart(kind="text", text=block.text)
        case types.ImageContent():
            return ResultPart(kind="image", data=block.data, media_type=block.mime_type)
        case types.AudioContent():
            size = len(block.data)
            return ResultPart(
                kind="other", text=f"[{block.mime_type} audio, {size} characters of base64]"
            )
        case types.EmbeddedResource():
            return _resource_part(block.resource)
        case _:
            return ResultPart(kind="other", text=_json(_dumped(block)))


def _resource_part(
    resource: types.TextResourceContents | types.BlobResourceContents,
) -> ResultPart:
    kind = resource.mime_type or "resource"
    if isinstance(resource, types.TextResourceContents):
        return ResultPart(kind="text", text=f"[{kind} {resource.uri}]\n{resource.text}")
    size = len(resource.blob)
    return ResultPart(kind="other", text=f"[{kind} {resource.uri}, {size} characters of base64]")


def _is_said(structured: Any, texts: Sequence[ResultPart]) -> bool:
    """Whether the text says what the structured content says; most servers send both."""
    said = [_loaded(part.text) for part in texts]
    meant = [structured]
    if isinstance(structured, dict) and structured.keys() == {"result"}:  # wrapped by the SDKs
        meant.append(structured["result"])
    plain = [part.text for part in texts]
    return any(
        value in said or said == value or (isinstance(value, str) and value in plain)
        for value in meant
    )


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _dumped(model: pydantic.BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fitting(result: ToolResult, limit: int) -> ToolResult:
    """Cut a result to a number of bytes, and say so."""
    total = sum(map(_size, result.parts))
    if total <= limit:
        return result
    kept = list(_within(result.parts, limit))
    left_out = len(result.parts) - len(kept)
    note = f"[cut: the result has {total} bytes, and {limit} are given"
    note += f"; {left_out} of its {len(result.parts)} parts are left out]" if left_out else "]"
    kept.append(ResultPart(kind="text", text=note))
    return ToolResult(parts=tuple(kept), is_error=result.is_error)


def _within(parts: Iterable[ResultPart], left: int) -> Iterator[ResultPart]:
    for part in parts:
        size = _size(part)
        if size <= left:
            left -= size
            yield part
        elif left and part.kind != "image":
            text = part.text.encode(errors="replace")[:left].decode(errors="ignore")
            left = 0
            yield ResultPart(kind=part.kind, text=text)


def _size(part: ResultPart) -> int:
    return len(part.text.encode(errors="replace")) + len(part.data)
