"""Upstream requests of our own, sent through mitmproxy itself.

Upstream proxies, TLS options and client certificates apply to them as to any other, and each is a
flow of its own, seen in mitmweb. mitmproxy's `ReplayHandler` runs it; the hooks of the addon, which
see that flow too, tell the `UpstreamCall` how it goes.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress

from mitmproxy import ctx, http
from mitmproxy.addons.clientplayback import ReplayHandler

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats import WireFormat
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import JSON, read
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.connection_handlers import deliver_every_event
from aibridge_addon.relay.mitm_layers import install
from aibridge_addon.relay.response_reader import (
    OnUsage,
    ResponseReader,
    announces_event_stream,
    may_stream,
)
from aibridge_addon.relay.responses import content_encoding, decoded_body, read_buffered


class UpstreamCall:
    """One upstream request of the inner loop, and its answer (`tools.loop.Answer`).

    Used as a context; leaving it early cancels the request. `wants_stream`: whether its answer is
    read by `events`, not by `body`.
    """

    def __init__(
        self,
        flow: http.HTTPFlow,
        wire_format: WireFormat,
        bridge: Bridge,
        *,
        wants_stream: bool,
        max_bytes: int,
        on_usage: OnUsage,
    ) -> None:
        self.flow = flow
        self._wire_format = wire_format
        self._bridge = bridge
        self._wants_stream = wants_stream
        self._max_bytes = max_bytes
        self._on_usage = on_usage
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
        deliver_every_event(self._handler)
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
        if response.status_code < 300 and may_stream(response, asked=self._wants_stream):
            response.stream = self._take_chunk
            self._streams = True
            self._has_head.set()

    def on_end(self) -> None:
        """The answer has come to its end."""
        response = self.flow.response
        assert response is not None
        if response.status_code >= 300:
            facts = read_buffered(response, self._wire_format, max_bytes=self._max_bytes)
            self._fail_with(facts.error, response)
        self._has_head.set()
        self._chunks.put_nowait(None)

    def on_error(self, message: str) -> None:
        """Nobody answered, or the answer broke off."""
        if self._error is None:
            self._error = UpstreamError(
                f"aibridge: the provider broke off: {message}",
                error_type="upstream_error",
                connection_failed=self.flow.response is None,
            )
        self._has_head.set()
        self._chunks.put_nowait(None)

    # The answer

    async def head(self) -> None:
        """Wait for the head."""
        await self._has_head.wait()
        if not self._streams:
            raise self._error or _mismatch("did not stream its answer")

    async def events(self) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        """Give the events as they come, all that are there at once."""
        reader = self._made_reader()
        async with aclosing(self._read_by(reader)) as batches:
            async for events in batches:
                yield events
        if reader.is_buffered:
            raise _mismatch("did not stream its answer", reader.facts().error)

    def _made_reader(self) -> ResponseReader:
        assert self.flow.response
        with _unreadable_is_an_upstream_error():
            self._reader = ResponseReader(
                self._wire_format,
                announces_stream=announces_event_stream(self.flow.response),
                content_encoding=content_encoding(self.flow.response),
                max_bytes=self._max_bytes,
                on_usage=self._on_usage,
            )
        return self._reader

    async def _read_by(self, reader: ResponseReader) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        ended = False
        while not ended:
            data, ended = await self._next_chunks()
            with _unreadable_is_an_upstream_error():
                events = reader.events(data)
                if ended:
                    events += [(event, reader.feed(event)) for event in reader.take_rest()]
            if events:
                yield events
        if self._error is not None:
            raise self._error
        reader.body_complete = True

    async def _next_chunks(self) -> tuple[bytes, bool]:
        """Return all that is there, once something is, and whether the answer ends with it."""
        chunks = [await self._chunks.get()]
        while not self._chunks.empty():
            chunks.append(self._chunks.get_nowait())
        return b"".join(filter(None, chunks)), None in chunks

    async def body(self) -> bytes:
        """Return the whole body."""
        await self._has_head.wait()
        if self._streams:
            return await self._body_of_stream()
        if self._error is not None:
            raise self._error
        assert self.flow.response
        with _unreadable_is_an_upstream_error():
            body = decoded_body(self.flow.response, max_bytes=self._max_bytes)
        self._facts = self._wire_format.read_answer(body)
        return body

    async def _body_of_stream(self) -> bytes:
        """Return the body of an answer that was announced as a stream, if it is whole after all."""
        reader = self._made_reader()
        async with aclosing(self._read_by(reader)) as batches:
            async for _ in batches:  # read all the same, for its usage
                pass
        if not reader.is_buffered:
            raise _mismatch("streamed an answer that was to come whole", reader.facts().error)
        return reader.body

    def facts(self) -> ResponseFacts:
        """Return what was read."""
        return self._reader.facts() if self._reader else self._facts

    def _take_chunk(self, data: bytes) -> bytes:
        if data:
            self._chunks.put_nowait(data)
        return data

    def _fail_with(self, error: ProviderError | None, response: http.Response) -> None:
        message = error.message if error and error.message else f"HTTP {response.status_code}"
        body = None
        with suppress(UndecodableError):
            body = read(decoded_body(response, max_bytes=self._max_bytes))
        self._error = UpstreamError(
            message,
            error_type=error.type if error else None,
            http_status=response.status_code,
            headers=response.headers,
            body=body,
            response=response,
        )


def _mismatch(what: str, error: ProviderError | None = None) -> UpstreamError:
    """Return the error of an answer in the wrong shape, or the error that the answer is."""
    message = (error and error.message) or f"aibridge: the provider {what}."
    return UpstreamError(message, error_type=(error and error.type) or "upstream_error")


@contextmanager
def _unreadable_is_an_upstream_error() -> Iterator[None]:
    try:
        yield
    except (UndecodableError, EventTooLargeError) as error:
        message = f"aibridge: the provider's answer cannot be read: {error}"
        raise UpstreamError(message, error_type="upstream_error") from error
