"""One connection to an MCP server, over Streamable HTTP, SSE or stdio.

Opened, listened to and closed by the one task of `tools.servers` that owns it; calls come from any
task. What goes wrong becomes a `CallError` whose words hold no secret.
"""

import asyncio
import functools
import logging
import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

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

from aibridge_addon.config.mcp_file import ServerConfig
from aibridge_addon.tools import lenient_messages
from aibridge_addon.tools.catalogue import ListedTool
from aibridge_addon.tools.listings import ListingReader

logger = logging.getLogger(__name__)

lenient_messages.install()

HTTP_SECONDS = 15.0
"""For an HTTP server to take a connection or a request. Its answer is bounded by the call."""
GOODBYE_SECONDS = 2.0
"""For an HTTP server to hear that a session ends."""
MAX_EVENT_BYTES = 64 * 1024 * 1024
MAX_MESSAGE = 500
"""Characters of a server's error that are passed on."""
MAX_LINE = 2000
"""Bytes of a line that a server writes to stderr."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
"""Between tries, doubling."""
MODERN = "2026-07-28"
"""The first protocol version whose changes are heard by asking for them."""


class CallError(Exception):
    """Why a call has no result; the message is for the model."""


class SessionEndedError(Exception):
    """The server has forgotten the session, and has not run the call."""


@dataclass(slots=True)
class _Answer:
    """What HTTP said to one request; it reaches the transport in the request's context."""

    status: int = 0


_answer: ContextVar[_Answer | None] = ContextVar("aibridge_mcp_answer", default=None)


class Connection:
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
        self._listings = ListingReader(config.name)
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
                    _watched(
                        transport,
                        on_message=self._listings.sift,
                        on_end=self._closing.set,  # `run` finds out why
                    ),
                    cache=None,
                    read_timeout_seconds=self._timeout,
                    client_info=types.Implementation(name="aibridge", version="1"),
                    message_handler=self._on_message,
                )
            )
            tools = await self._listings.read(client)
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
                    self._on_tools(await self._listings.read(client))
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
            CallError: there is no result.
            SessionEndedError: the server was restarted; call again on a new connection.
        """
        assert self._client is not None
        answer = _Answer()
        token = _answer.set(answer)
        try:
            return await self._client.call_tool(tool, arguments, self._call_timeout)
        except MCPError as error:
            if self._is_of_no_session(error, answer):
                self._lose("it ended the session")
                raise SessionEndedError from None
            raise CallError(self._reason(error, answer)) from None
        except pydantic.ValidationError:
            raise CallError("the server answered with something that is not MCP") from None
        except RuntimeError as error:  # the structured content does not fit its schema
            raise CallError(clipped(str(error))) from None
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
            why = self.problem or clipped(error.message)
            return f"the call was lost{hint}, and may have had its effect: {why}"
        if error.code == types.URL_ELICITATION_REQUIRED:
            return "the server wants somebody to log in in a browser, which its operator has to do"
        return clipped(error.message) or f"the server failed (MCP error {error.code})"

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
        return _described(error) + clipped(said)


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
    """A transport's read stream that tells of its messages, and of its end."""

    def __init__(
        self, stream: Any, on_message: Callable[[Any], None], on_end: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._on_message = on_message
        self._on_end = on_end

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        message = await self._stream.receive()
        self._on_message(message)
        return message

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            message = await self._stream.__anext__()
        except StopAsyncIteration:
            self._on_end()
            raise
        self._on_message(message)
        return message

    async def __aenter__(self) -> "_Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        closed: bool | None = await self._stream.__aexit__(*exc_info)
        return closed


@asynccontextmanager
async def _watched(
    transport: AbstractAsyncContextManager[Any],
    *,
    on_message: Callable[[Any], None],
    on_end: Callable[[], None],
) -> AsyncIterator[tuple[Any, Any]]:
    async with transport as (read, write):
        yield _Watched(read, on_message, on_end), write


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
            return f"it cannot be reached: {clipped(str(error))}"
        case httpx2.SSEError():
            return "it sent an event of more than 1 MiB, or something that is no event stream"
        case httpx2.TransportError():
            return f"it broke off the connection ({type(error).__name__})"
        case MCPError():
            return clipped(error.message) or f"MCP error {error.code}"
        case OSError():
            return f"it cannot be started: {error.strerror or type(error).__name__}"
        case ValueError():
            return "it answers with something that is not MCP"
        case _:
            return type(error).__name__


def clipped(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
