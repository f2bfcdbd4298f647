"""Upstream requests of our own, sent through mitmproxy itself.

Upstream proxies, TLS options and client certificates apply to them as to any other, and each is a
flow of its own, seen in mitmweb. mitmproxy's `ReplayHandler` runs it; the hooks of the addon, which
see that flow too, tell the `UpstreamCall` how it goes.
"""

import asyncio
from collections.abc import AsyncGenerator

from mitmproxy import ctx, http
from mitmproxy.addons.clientplayback import ReplayHandler

from aibridge_addon.apis import ResponseReader, WireFormat
from aibridge_addon.codings import ContentDecoder, UndecodableError, decode_body
from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.proxy.stream import Bridge, install
from aibridge_addon.sse import Event, SSEParser
from aibridge_addon.tools.loop import UpstreamError
from aibridge_addon.wire import JSON


class UpstreamCall:
    """One upstream request of the inner loop, and its answer (`tools.loop.Answer`).

    Used as a context; leaving it early cancels the request.
    """

    def __init__(
        self, flow: http.HTTPFlow, wire_format: WireFormat, bridge: Bridge, *, max_bytes: int
    ) -> None:
        self.flow = flow
        self._wire_format = wire_format
        self._bridge = bridge
        self._max_bytes = max_bytes
        self._reader: ResponseReader | None = None
        self._streams = False
        self._facts = ResponseFacts()
        self._has_head = asyncio.Event()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._error: UpstreamError | None = None
        self._handler: ReplayHandler | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "UpstreamCall":
        """Send the request."""
        self._handler = ReplayHandler(self.flow, ctx.options)
        install(self._handler.layer, self._bridge)
        self._task = asyncio.create_task(self._handler.replay(), name="aibridge inner request")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Let go of the request, whether or not it has come to its end."""
        assert self._handler
        assert self._task
        if not self._handler.done.is_set():
            for transport in self._handler.transports.values():
                if transport.handler:
                    transport.handler.cancel("the inner loop has ended")
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # How the flow goes, as the hooks tell

    def on_head(self) -> None:
        """Take the head of the answer; a stream is read as it comes."""
        response = self.flow.response
        assert response is not None
        if response.status_code < 300 and "text/event-stream" in _content_type(response):
            response.stream = self._take_chunk
            self._streams = True
            self._has_head.set()

    def on_end(self) -> None:
        """The answer has come to its end."""
        response = self.flow.response
        assert response is not None
        if response.status_code >= 300:
            facts = self._read_whole(response)
            self._fail_with(facts.error, response)
        self._has_head.set()
        self._chunks.put_nowait(None)

    def on_error(self, message: str) -> None:
        """Nobody answered, or the answer broke off."""
        if self._error is None:
            self._error = UpstreamError(
                f"aibridge: the provider broke off: {message}", error_type="upstream_error"
            )
        self._has_head.set()
        self._chunks.put_nowait(None)

    # The answer

    async def head(self) -> None:
        """Wait for the head."""
        await self._has_head.wait()
        if self._streams:
            return
        raise self._error or UpstreamError(
            "aibridge: the provider did not stream its answer.", error_type="upstream_error"
        )

    async def events(self) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        """Give the events as they come, all that are there at once."""
        assert self.flow.response
        self._reader = self._wire_format.response_reader()
        parser = SSEParser()
        decoder = ContentDecoder(
            self.flow.response.headers.get("content-encoding", ""), max_bytes=self._max_bytes
        )
        ended = False
        while not ended:
            chunk = await self._chunks.get()
            data = b"" if chunk is None else chunk
            ended = chunk is None
            while not ended and not self._chunks.empty():
                following = self._chunks.get_nowait()
                data, ended = data + (following or b""), following is None
            events = [
                (event, self._reader.feed(event)) for event in parser.feed(decoder.feed(data))
            ]
            if events:
                yield events
        if self._error is not None:
            raise self._error

    async def body(self) -> bytes:
        """Return the whole body."""
        await self._has_head.wait()
        if self._error is not None:
            raise self._error
        assert self.flow.response
        self._facts = self._read_whole(self.flow.response)
        return self._whole_body(self.flow.response)

    def facts(self) -> ResponseFacts:
        """Return what was read."""
        return self._reader.facts() if self._reader else self._facts

    def _take_chunk(self, data: bytes) -> bytes:
        if data:
            self._chunks.put_nowait(data)
        return data

    def _whole_body(self, response: http.Response) -> bytes:
        coding = response.headers.get("content-encoding", "")
        return decode_body(response.raw_content or b"", coding, max_bytes=self._max_bytes)

    def _read_whole(self, response: http.Response) -> ResponseFacts:
        try:
            return self._wire_format.read_answer(self._whole_body(response))
        except UndecodableError:
            return ResponseFacts(unreadable=1)

    def _fail_with(self, error: ProviderError | None, response: http.Response) -> None:
        message = error.message if error and error.message else f"HTTP {response.status_code}"
        kind = error.type if error and error.type else f"http_{response.status_code}"
        self._error = UpstreamError(message, error_type=kind, response=response)


def _content_type(response: http.Response) -> str:
    content_type: str = response.headers.get("content-type", "")
    return content_type.lower()
