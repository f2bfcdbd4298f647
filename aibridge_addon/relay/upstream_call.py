"""One upstream request of the inner loop, and its response.

It implements `tools.upstream.UpstreamResponse` on a flow of mitmproxy's.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress

from mitmproxy import http

from aibridge_addon.facts import ProviderError, ResponseFacts
from aibridge_addon.formats import Format
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError
from aibridge_addon.formats.upstream_error import UpstreamError
from aibridge_addon.raw_json import JSON, read
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.replayed_request import ReplayedRequest
from aibridge_addon.relay.response_reader import OnUsage, ReaderOptions, ResponseReader
from aibridge_addon.relay.responses import decoded_body, read_body, read_buffered
from aibridge_addon.relay.stream_detection import may_stream
from aibridge_addon.upstream_times import UpstreamTimes


class UpstreamCall(ReplayedRequest):
    """A request of the inner loop that reads its response.

    Args:
        flow: the request; the response is written to it.
        wire_format: of the response.
        bridge: for the layers of the flow.
        wants_stream: True if the response is read with `events`, False if with `body`.
        max_bytes: the largest decoded body that is read.
        on_usage: called when a stream has reported some of its tokens, before its end.
        keeps_content: True if `content` is needed.
        times: of the request.
    """

    def __init__(
        self,
        flow: http.HTTPFlow,
        wire_format: Format,
        bridge: Bridge,
        *,
        wants_stream: bool,
        max_bytes: int,
        on_usage: OnUsage,
        keeps_content: bool,
        times: UpstreamTimes,
    ) -> None:
        super().__init__(flow, bridge)
        self._wire_format = wire_format
        self._wants_stream = wants_stream
        self._max_bytes = max_bytes
        self._on_usage = on_usage
        self._keeps_content = keeps_content
        self._times = times
        self._reader: ResponseReader | None = None
        self._streams = False
        self._facts = ResponseFacts()
        self._has_head = asyncio.Event()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._error: UpstreamError | None = None

    # Called by the hooks

    def on_head(self) -> None:
        """Handle the head of the response: a stream is read while it arrives."""
        response = self.flow.response
        assert response is not None
        if response.status_code < 300 and may_stream(
            response, self._wire_format, requested=self._wants_stream
        ):
            response.stream = self._on_chunk
            self._streams = True
            self._has_head.set()

    def on_end(self) -> None:
        """Handle the end of the response."""
        self._times.note_end()
        response = self.flow.response
        assert response is not None
        if response.status_code >= 300:
            facts = read_buffered(response, self._wire_format, max_bytes=self._max_bytes)
            self._error = self._provider_error(facts.error, response)
        self._has_head.set()
        self._chunks.put_nowait(None)

    def on_error(self, message: str) -> None:
        """Handle a failed connection or a truncated response."""
        self._times.note_end()
        if self._error is None:
            self._error = UpstreamError(
                f"aibridge: the connection to the provider failed: {message}",
                error_type="upstream_error",
                connection_failed=self.flow.response is None,
            )
        self._has_head.set()
        self._chunks.put_nowait(None)

    def _on_chunk(self, data: bytes) -> bytes:
        if data:
            self._times.note_first_byte()
            self._chunks.put_nowait(data)
        return data

    # The response

    async def head(self) -> None:
        """Wait for the head of a stream.

        Raises:
            UpstreamError: the request failed, or the response is not a stream.
        """
        await self._has_head.wait()
        if not self._streams:
            raise self._error or _mismatch("did not stream its response")

    async def events(self) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        """Yield the events as they arrive, in batches.

        Raises:
            UpstreamError: the response is truncated, unreadable, or not a stream.
        """
        reader = self._open_reader()
        async with aclosing(self._read_with(reader)) as batches:
            async for events in batches:
                yield events
        if reader.is_buffered:
            raise _mismatch("did not stream its response", reader.facts().error)

    def _open_reader(self) -> ResponseReader:
        assert self.flow.response
        options = ReaderOptions.of_response(
            self.flow.response,
            self._wire_format,
            max_bytes=self._max_bytes,
            on_usage=self._on_usage,
            answers_stream=self._wants_stream,
            keeps_content=self._keeps_content,
        )
        with _unreadable_is_an_upstream_error():
            self._reader = ResponseReader(options)
        return self._reader

    async def _read_with(self, reader: ResponseReader) -> AsyncGenerator[list[tuple[Event, JSON]]]:
        ended = False
        while not ended:
            data, ended = await self._next_chunks()
            with _unreadable_is_an_upstream_error():
                events = reader.events(data)
                if ended:
                    events += [(event, reader.feed(event)) for event in reader.unterminated()]
            if events:
                yield events
        if self._error is not None:
            raise self._error
        reader.is_complete = True

    async def _next_chunks(self) -> tuple[bytes, bool]:
        """Wait for a chunk; return all that have arrived, and True if the response has ended."""
        chunks = [await self._chunks.get()]
        while not self._chunks.empty():
            chunks.append(self._chunks.get_nowait())
        return b"".join(filter(None, chunks)), None in chunks

    async def body(self) -> bytes:
        """Return the complete body, decoded.

        Raises:
            UpstreamError: the request failed, or the response is truncated, unreadable or a stream.
        """
        await self._has_head.wait()
        if self._streams:
            return await self._body_of_stream()
        if self._error is not None:
            raise self._error
        assert self.flow.response
        with _unreadable_is_an_upstream_error():
            body = decoded_body(self.flow.response, max_bytes=self._max_bytes)
        self._facts = read_body(self.flow.response, self._wire_format, body)
        return body

    async def _body_of_stream(self) -> bytes:
        """Return the body of a response that was announced as a stream and is not one."""
        reader = self._open_reader()
        async with aclosing(self._read_with(reader)) as batches:
            async for _ in batches:  # a real stream is read too, for its usage
                pass
        if not reader.is_buffered:
            raise _mismatch("streamed a response that must not be streamed", reader.facts().error)
        return reader.body

    def content(self) -> bytes:
        """Return the decoded body so far, of an error too; empty if it cannot be decoded."""
        if not self._keeps_content or self.flow.response is None:
            return b""
        if self._reader is not None:
            return self._reader.content()
        with suppress(UndecodableError):
            return decoded_body(self.flow.response, max_bytes=self._max_bytes)
        return b""

    def facts(self) -> ResponseFacts:
        """Return the facts read so far."""
        return self._reader.facts() if self._reader else self._facts

    def _provider_error(
        self, error: ProviderError | None, response: http.Response
    ) -> UpstreamError:
        message = error.message if error and error.message else f"HTTP {response.status_code}"
        body = None
        with suppress(UndecodableError):
            body = read(decoded_body(response, max_bytes=self._max_bytes))
        return UpstreamError(
            message,
            error_type=error.type if error else None,
            http_status=response.status_code,
            headers=response.headers,
            body=body,
            response=response,
        )


def _mismatch(problem: str, error: ProviderError | None = None) -> UpstreamError:
    """Return the error for a response of the wrong shape; the provider's own if it holds one."""
    message = (error and error.message) or f"aibridge: the provider {problem}."
    return UpstreamError(message, error_type=(error and error.type) or "upstream_error")


@contextmanager
def _unreadable_is_an_upstream_error() -> Iterator[None]:
    try:
        yield
    except (UndecodableError, EventTooLargeError) as error:
        message = f"aibridge: the provider's response cannot be read: {error}"
        raise UpstreamError(message, error_type="upstream_error") from error
