"""One connection to an MCP server, over Streamable HTTP, SSE or stdio.

Opened, listened to and closed by the one task of `tools.servers` that owns it; calls come from any
task. What goes wrong becomes a `CallError` whose words hold no secret.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pydantic
from mcp.client import Client, IncomingMessage
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError

from aibridge_addon.tools import lenient_messages
from aibridge_addon.tools.catalogue import ListedTool
from aibridge_addon.tools.connection.bounds import MAX_MESSAGE_BYTES
from aibridge_addon.tools.connection.errors import (
    FROM_HTTP,
    CallError,
    SessionEndedError,
    clipped,
    described,
    first_of,
    http_problem,
)
from aibridge_addon.tools.connection.http import (
    BoundedTransport,
    HttpAnswer,
    answer_of_this_call,
)
from aibridge_addon.tools.connection.stdio import program
from aibridge_addon.tools.connection.watched import watched
from aibridge_addon.tools.listings import ListingReader
from aibridge_addon.tools.server_config import ServerConfig

logger = logging.getLogger(__name__)

lenient_messages.install()

HTTP_SECONDS = 15.0
"""For an HTTP server to take a connection or a request. Its answer is bounded by the call."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
"""Between tries, doubling."""
_NOT_MCP = "the server answered with something that is not MCP; the call may have had its effect"
MODERN = "2026-07-28"
"""The first protocol version whose changes are heard by asking for them."""


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
        self._connecting = HttpAnswer()
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
                    watched(
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
                if self._connecting.status in (400, 404) and self._config.transport == "http":
                    self._lose("it ended the session")
                logger.warning(
                    "aibridge: MCP server %s does not list its tools: %s",
                    self._config.name,
                    self._config.hide(self._described(error)),
                )

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        seconds: float,
        on_progress: Callable[[], None],
    ) -> types.CallToolResult:
        """Call a tool, in the caller's task; `seconds` is the most that it may take.

        Raises:
            CallError: there is no result.
            SessionEndedError: the server was restarted; call again on a new connection.
        """
        assert self._client is not None
        answer = HttpAnswer()
        token = answer_of_this_call.set(answer)
        try:
            return await self._client.call_tool(
                tool, arguments, seconds, progress_callback=_told(on_progress)
            )
        except MCPError as error:
            if self._is_of_no_session(error, answer):
                self._lose("it ended the session")
                raise SessionEndedError from None
            raise CallError(self._reason(error, answer)) from None
        except pydantic.ValidationError:
            raise CallError(_NOT_MCP) from None
        except RuntimeError as error:  # the structured content does not fit its schema
            raise CallError(clipped(str(error))) from None
        finally:
            answer_of_this_call.reset(token)

    def _is_of_no_session(self, error: Exception, answer: HttpAnswer) -> bool:
        """Whether a server that was restarted refuses the session that it has forgotten."""
        if self._config.transport != "http" or not isinstance(error, MCPError):
            return False
        legacy = self._client is not None and self._client.protocol_version < MODERN
        told = "session" in f"{error.message} {answer.said}".lower()
        return legacy and (answer.status == 404 or (answer.status == 400 and told))

    def _reason(self, error: MCPError, answer: HttpAnswer) -> str:
        if answer.problem:
            return f"the result was not taken: {answer.problem}"
        if answer.status == 400 and answer.said:  # perhaps of a session that it has forgotten
            self.doubt()
        if answer.status >= 400 and error.code in FROM_HTTP:
            return http_problem(answer.status)
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
                max_sse_event_size=MAX_MESSAGE_BYTES,
            )
        return program(config, on_stderr=self._on_stderr, on_problem=self._lose)

    def _http_client(self, *_: Any, **__: Any) -> httpx2.AsyncClient:
        # An answer is bounded by its call, and a stream of notifications by nothing.
        return httpx2.AsyncClient(
            transport=BoundedTransport(self._on_answer, self._on_failure),
            headers=dict(self._config.headers),
            timeout=httpx2.Timeout(HTTP_SECONDS, read=None),
            trust_env=False,
        )

    def _on_answer(self, request: httpx2.Request, told: HttpAnswer) -> None:
        if request.method != "POST":
            return
        (answer_of_this_call.get() or self._connecting).take(told)
        if told.status >= 400 and self._is_sse:  # the answer would never come
            self._lose(http_problem(told.status))

    def _on_failure(self, request: httpx2.Request, error: httpx2.TransportError) -> None:
        if request.method != "DELETE":
            self._lose(described(error))

    def _on_stderr(self, line: str) -> None:
        line = self._config.hide(line)
        self._said.append(line)
        logger.debug("aibridge: MCP server %s says: %s", self._config.name, line)

    def _described(self, error: BaseException) -> str:
        """Say why the connection could not be opened, or ended."""
        error = first_of(error)
        status = self._connecting.status
        if isinstance(error, MCPError) and status >= 400 and error.code in FROM_HTTP:
            return http_problem(status)
        said = f"; it said: {' | '.join(self._said)}" if self._said else ""
        return described(error) + clipped(said)


def _told(on_progress: Callable[[], None]) -> ProgressFnT:
    async def told(progress: float, total: float | None, message: str | None) -> None:
        on_progress()

    return told
