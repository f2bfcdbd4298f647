"""One connection to an MCP server, over Streamable HTTP, SSE or stdio.

The one task of `tools.server` that owns it opens, listens to and closes it; calls come from any
task. Failures become a `CallError` without secrets.
"""

import asyncio
import logging
import re
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
    HttpResult,
    result_of_this_call,
)
from aibridge_addon.tools.connection.stdio import program
from aibridge_addon.tools.connection.watched import watched
from aibridge_addon.tools.listings import ListingReader
from aibridge_addon.tools.server_config import ServerConfig

logger = logging.getLogger(__name__)

lenient_messages.install()

HTTP_SECONDS = 15.0
"""Time to connect to an HTTP server, or to send a request. The call limits the response."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
"""Limits of the delay between attempts, which doubles."""
_NOT_MCP = "the server answered with something that is not MCP; the call may have had its effect"
_NAMES_SESSION = re.compile(r"(?i)session|(not|never|un)[ -]?initiali[sz]ed")
"""In the error of a server that was restarted: it knows no session, or waits for a first one."""
MODERN = "2026-07-28"
"""The first protocol version in which a client subscribes to changes of the tool list."""


class Connection:
    """One connection from its start to its end; it is never reopened.

    Args:
        config: of the server.
        timeout: seconds until it must be ready.
        call_timeout: seconds that a call or a listing may take without progress.
        on_tools: called with each listing of the tools.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        timeout: float,
        call_timeout: float,
        on_tools: Callable[[tuple[ListedTool, ...]], None],
    ) -> None:
        self.problem = ""
        """The reason why it ended; without secrets, once `run` has returned."""
        self._config = config
        self._timeout = timeout
        self._call_timeout = call_timeout
        self._on_tools = on_tools
        self._client: Client | None = None
        self._scope = anyio.CancelScope()
        self._closing = asyncio.Event()
        self._stale = asyncio.Event()
        """Set if the tools may have changed, or the server may be dead."""
        self._connecting = HttpResult()
        self._listings = ListingReader(config.name)
        self._stderr: deque[str] = deque(maxlen=3)

    @property
    def is_open(self) -> bool:
        """True if tools can be called."""
        return self._client is not None and not self.is_closing

    @property
    def is_closing(self) -> bool:
        """True if it has ended, or is about to."""
        return self._closing.is_set()

    async def run(self) -> None:
        """Open the connection, serve calls until it is lost or closed, and clean up."""
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
        """Close the connection in good order."""
        self._lose("it was closed")
        if self._client is None:
            self._scope.cancel()

    def cancel(self) -> None:
        """Close the connection without waiting for the server."""
        self._scope.cancel()

    def check_alive(self) -> None:
        """List the tools, which fails if the server no longer responds."""
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
                        on_end=self._closing.set,  # `run` sets the reason
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
        """Subscribe to changes of the tools; servers of recent versions report no others."""
        if client.protocol_version < MODERN:
            return
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                async with client.listen(tools_list_changed=True) as subscription:
                    self._stale.set()  # earlier changes are not reported
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
        """List the tools again whenever they may have changed."""
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
        """Call a tool, in the caller's task, within `seconds`.

        Raises:
            CallError: there is no result.
            SessionEndedError: the server was restarted; call again on a new connection.
        """
        assert self._client is not None
        result = HttpResult()
        token = result_of_this_call.set(result)
        try:
            return await self._client.call_tool(
                tool, arguments, seconds, progress_callback=_ignoring_values(on_progress)
            )
        except MCPError as error:
            if self._session_is_unknown(error, result):
                self._lose("it ended the session")
                raise SessionEndedError from None
            raise CallError(self._reason(error, result)) from None
        except pydantic.ValidationError:
            raise CallError(_NOT_MCP) from None
        except RuntimeError as error:  # the structured content does not fit its schema
            raise CallError(clipped(str(error))) from None
        finally:
            result_of_this_call.reset(token)

    def _session_is_unknown(self, error: MCPError, result: HttpResult) -> bool:
        """Return True if a restarted server refuses the session because it does not know it."""
        if self._config.transport != "http":
            return False
        legacy = self._client is not None and self._client.protocol_version < MODERN
        named = _NAMES_SESSION.search(f"{error.message} {result.error_body}") is not None
        return legacy and (result.status == 404 or (result.status == 400 and named))

    def _reason(self, error: MCPError, result: HttpResult) -> str:
        if result.problem:
            return f"the result was rejected: {result.problem}"
        if result.status == 400 and result.error_body:  # perhaps the session is unknown
            self.check_alive()
        if result.status >= 400 and error.code in FROM_HTTP:
            return http_problem(result.status)
        if error.code == types.CONNECTION_CLOSED:
            self.check_alive()
            hint = " (over SSE, a result has at most 1 MiB)" if self._is_sse else ""
            reason = self.problem or clipped(error.message)
            return f"the call was lost{hint}, and may have had its effect: {reason}"
        if error.code == types.URL_ELICITATION_REQUIRED:
            return "the server requires a login in a browser, which its operator has to do"
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
        # The call limits the time of a response; a stream of notifications has no limit.
        return httpx2.AsyncClient(
            transport=BoundedTransport(self._on_result, self._on_failure),
            headers=dict(self._config.headers),
            timeout=httpx2.Timeout(HTTP_SECONDS, read=None),
            trust_env=False,
        )

    def _on_result(self, request: httpx2.Request, result: HttpResult) -> None:
        if request.method != "POST":
            return
        (result_of_this_call.get() or self._connecting).copy_from(result)
        if result.status >= 400 and self._is_sse:  # else the call would wait for ever
            self._lose(http_problem(result.status))

    def _on_failure(self, request: httpx2.Request, error: httpx2.TransportError) -> None:
        if request.method != "DELETE":
            self._lose(described(error))

    def _on_stderr(self, line: str) -> None:
        line = self._config.hide(line)
        self._stderr.append(line)
        logger.debug("aibridge: stderr of MCP server %s: %s", self._config.name, line)

    def _described(self, error: BaseException) -> str:
        """Describe the reason why the connection could not be opened, or ended."""
        error = first_of(error)
        status = self._connecting.status
        if isinstance(error, MCPError) and status >= 400 and error.code in FROM_HTTP:
            return http_problem(status)
        stderr = f"; its stderr: {' | '.join(self._stderr)}" if self._stderr else ""
        return described(error) + clipped(stderr)


def _ignoring_values(on_progress: Callable[[], None]) -> ProgressFnT:
    async def report(progress: float, total: float | None, message: str | None) -> None:
        on_progress()

    return report
