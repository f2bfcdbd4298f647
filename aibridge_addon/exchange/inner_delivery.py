"""Inner delivery: delivers the responses of an inner loop to the client as one response."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

from mitmproxy import http

from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.delivery import Delivery
from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.tool_protocol import Splicer, ToolFormat
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import read
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.masked_responses import masked_copy
from aibridge_addon.relay.responses import decoded_body
from aibridge_addon.tools.loop import OVER_LIMIT, InnerLoop


class InnerDelivery(Delivery):
    """Runs an inner loop between the provider's first response and the client's end."""

    needs_complete_body = True

    def __init__(
        self, exchange: BridgedExchange, tool_format: ToolFormat, *, loop: InnerLoop
    ) -> None:
        super().__init__(exchange.delivery.withhold)
        self._loop = loop
        self._has_run = False
        """True once the facts of the response are in the loop."""
        self._splicer: Splicer = tool_format.splicer(loop.names)
        self.splice = self._splicer.feed
        self.pass_text = self._splicer.pass_text
        self._tool_format = tool_format
        self._exchange = exchange
        exchange.on_abort = self._cancel
        self._chunks: AsyncGenerator[bytes] | None = None
        self._pending: asyncio.Future[bytes | None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def error(self) -> ProviderError | None:
        """The error of the inner loop."""
        return self._loop.error

    def facts(self, read: Callable[[], ResponseFacts]) -> ResponseFacts:
        """Return the facts of the loop's last response; `read` returns those of its first."""
        return self._loop.facts if self._has_run else read()

    async def resume(self, tap: BodyTap) -> None:
        """Give the tap the next chunk for the client, or the end."""
        if tap.is_spliced:
            await self._stream(tap)
        elif tap.holds_buffered:
            await self._complete_held(tap)

    async def complete(self) -> None:
        """Turn the flow's buffered response into the client's."""
        response = self._exchange.flow.response
        if response is None:
            return
        body = partial(decoded_body, response, max_bytes=self._exchange.request.max_bytes)
        try:
            merged = await self._merged(body)
        except UpstreamError as error:
            self._exchange.flow.response = self._error_response(error)
            return
        if merged is not None:
            response.content = merged

    async def close(self) -> None:
        """Cancel whatever runs, and release the upstream request that a stream holds open.

        Otherwise the end of the event loop closes the generators of a loop in any order, and each
        finds the generator that it would close closed, which is an error.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="aibridge inner loop closes")
        await self._closing

    async def _stream(self, tap: BodyTap) -> None:
        if self._chunks is None:
            self._chunks = self._loop.stream(self._splicer, self._exchange.response_facts())
            self._has_run = True
        chunk = await self._until_client_aborts(anext(self._chunks, None))
        if chunk is not None:
            tap.held.append(chunk)
            tap.is_waiting = True
        elif self._loop.error is None:
            tap.held.append(self._splicer.finish())

    async def _complete_held(self, tap: BodyTap) -> None:
        """Turn the complete body that a tap holds into the client's."""
        try:
            merged = await self._merged(partial(b"".join, tap.held))
        except UpstreamError as error:  # too late for its status
            merged = self._error_response(error).content
        if merged is not None:
            tap.held = [merged]

    async def _merged(self, body: Callable[[], bytes]) -> bytes | None:
        facts = self._exchange.response_facts()
        if not facts.complete or facts.error:
            return self._without_echo(body)
        self._has_run = True
        if self._loop.end_without_calls(facts):
            return None
        work = self._loop.run_buffered(body(), facts)
        return await self._until_client_aborts(work)

    def _without_echo(self, body: Callable[[], bytes]) -> bytes | None:
        """Cut our tools from a failed response that repeats the request; None if it does not."""
        response = self._exchange.flow.response
        if response is None or response.status_code >= 300:
            return None
        try:
            contents = read(body())
        except UndecodableError:
            return None
        merger = self._tool_format.merger(self._loop.names)
        if isinstance(contents, dict) and contents.get("tools"):
            merger.add(contents)
        return merger.finish() if merger.hides else None

    def _cancel(self) -> None:
        if self._pending is not None:
            self._pending.cancel()

    async def _close(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait([self._pending])
        if self._chunks is not None:
            await self._chunks.aclose()

    async def _until_client_aborts(self, work: Awaitable[bytes | None]) -> bytes | None:
        self._pending = asyncio.ensure_future(work)
        try:
            return await self._pending
        except asyncio.CancelledError:
            if not self._exchange.client_aborted:
                raise
            self._exchange.break_off("The client disconnected while a central tool was running.")
            return None
        finally:
            self._pending = None

    def _error_response(self, error: UpstreamError) -> http.Response:
        if isinstance(error.response, http.Response):
            return masked_copy(error.response)
        status = 400 if error.error_type == OVER_LIMIT else 502  # 400: not to be tried again
        body = self._exchange.wire_format.error(status, str(error), error.error_type)
        return http.Response.make(status, body, {"content-type": "application/json"})
