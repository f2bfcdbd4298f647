"""The answer of an exchange in which central tools were offered: the inner loop's, to its end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

from mitmproxy import http

from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.tool_protocol import (
    Splicer,
    ToolFormat,
)
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import read
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.responses import decoded_body
from aibridge_addon.tools.loop import OVER_LIMIT, InnerLoop


class InnerAnswer:
    """The answer of an exchange in which tools were offered."""

    def __init__(self, exchange: Exchange, tool_format: ToolFormat, *, loop: InnerLoop) -> None:
        self.loop = loop
        self.has_run = False
        """Whether what is known of the answer is in the loop."""
        self.splicer: Splicer = tool_format.splicer(loop.names)
        self._tool_format = tool_format
        self._exchange = exchange
        self._chunks: AsyncGenerator[bytes] | None = None
        self._pending: asyncio.Future[bytes | None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def go_on(self, tap: BodyTap) -> None:
        """Give the tap what the client of a streamed answer gets next, or at last its end."""
        if self._chunks is None:
            self._chunks = self.loop.stream(self.splicer, self._exchange.answer_facts())
            self.has_run = True
        chunk = await self._unless_client_leaves(anext(self._chunks, None))
        if chunk is not None:
            tap.held.append(chunk)
            tap.is_waiting = True
        elif self.loop.error is None:
            tap.held.append(self.splicer.finish())

    async def complete(self) -> None:
        """Make the flow's whole answer the client's."""
        response = self._exchange.flow.response
        if response is None:
            return
        body = partial(decoded_body, response, max_bytes=self._exchange.max_bytes)
        try:
            merged = await self._merged(body)
        except UpstreamError as error:
            self._exchange.flow.response = self._error_response(error)
            return
        if merged is not None:
            response.content = merged

    async def complete_held(self, tap: BodyTap) -> None:
        """Make the whole answer that a tap holds the client's."""
        try:
            merged = await self._merged(partial(b"".join, tap.held))
        except UpstreamError as error:  # too late for its status
            merged = self._error_response(error).content
        if merged is not None:
            tap.held = [merged]

    async def _merged(self, body: Callable[[], bytes]) -> bytes | None:
        facts = self._exchange.answer_facts()
        if not facts.complete or facts.error:
            return self._without_echo(body)
        work = self.loop.run_buffered(body(), facts)
        self.has_run = True
        return await self._unless_client_leaves(work)

    def _without_echo(self, body: Callable[[], bytes]) -> bytes | None:
        """Cut our tools from a failed answer that repeats the request; None if it does not."""
        response = self._exchange.flow.response
        if response is None or response.status_code >= 300:
            return None
        try:
            answer = read(body())
        except UndecodableError:
            return None
        merger = self._tool_format.merger(self.loop.names)
        if isinstance(answer, dict) and answer.get("tools"):
            merger.add(answer)
        return merger.finish() if merger.hides else None

    def cancel(self) -> None:
        """Cancel whatever runs: the client has left."""
        if self._pending is not None:
            self._pending.cancel()

    def close(self) -> asyncio.Task[None]:
        """Cancel whatever runs, and let go of the upstream request that a stream holds open.

        Where nobody does, the end of the event loop closes the generators of a loop in any order,
        and each finds the one that it would close closed, which is an error.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="aibridge inner loop closes")
        return self._closing

    async def _close(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait([self._pending])
        if self._chunks is not None:
            await self._chunks.aclose()

    async def _unless_client_leaves(self, work: Awaitable[bytes | None]) -> bytes | None:
        self._pending = asyncio.ensure_future(work)
        try:
            return await self._pending
        except asyncio.CancelledError:
            if not self._exchange.client_left:
                raise
            self._exchange.break_off("The client left while a central tool was at work.")
            return None
        finally:
            self._pending = None

    def _error_response(self, error: UpstreamError) -> http.Response:
        if isinstance(error.response, http.Response):
            return error.response.copy()
        assert self._exchange.wire_format
        status = 400 if error.error_type == OVER_LIMIT else 502  # 400: not to be tried again
        body = self._exchange.wire_format.error(status, str(error), error.error_type)
        return http.Response.make(status, body, {"content-type": "application/json"})
