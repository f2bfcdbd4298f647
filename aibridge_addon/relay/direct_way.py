"""The direct way of a streamed body: from the server's connection to the client's, past the layers.

It has no protocol state. It takes a read only if the layers would relay it and nothing else: whole
chunks, none the last, while all waits for the next chunk. Any other read goes to the layers, which
then find everything as if there were no direct way. Depends on private names; see `direct_names`.
"""

import asyncio
from dataclasses import dataclass
from socket import MSG_PEEK
from typing import cast

from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import ClientTLSLayer, ServerTLSLayer
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.utils import asyncio_utils
from OpenSSL import SSL

from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.connection_handlers import DeliversEvents
from aibridge_addon.relay.http1 import (
    Http1ClientConnection,
    Http1ServerConnection,
    JoiningChunkedReader,
    whole_chunks,
)

_LARGEST_RECORD = 16 * 1024
"""Bytes of a TLS record, of which OpenSSL shows one at a time."""
_RECORD_HEADER = 5


class DirectReader(asyncio.StreamReader):
    """The reader of a server's connection, with a way past it."""

    way: "DirectWay | None" = None
    _buffer: bytearray

    @classmethod
    def of(cls, reader: object) -> "DirectReader | None":
        """Make a reader direct; return it, or None if it is not asyncio's own."""
        if type(reader) is asyncio.StreamReader:
            reader.__class__ = cls
        return reader if type(reader) is cls else None

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """Receive data: it takes the direct way if nothing is before it, and it fits."""
        if self.way is None or self._buffer or not self.way.take(data):
            super().feed_data(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The connections of a streamed body, and the layers between them."""

    handler: DeliversEvents
    server: Server
    server_tls: ServerTLSLayer | None
    server_http: Http1ServerConnection
    client_http: Http1ClientConnection
    client_tls: ClientTLSLayer | None
    client_writer: asyncio.StreamWriter
    layers: tuple[layer.Layer, ...]
    """All layers that see the body; if one is paused, so is the body."""


class DirectWay:
    """Relays the reads of one streamed body.

    Args:
        stream: whose body it is; it must have sent its head.
        tap: of the body.
        ends: what the body passes.
    """

    def __init__(self, stream: HttpStream, tap: BodyTap, ends: Ends) -> None:
        self._stream = stream
        self._tap = tap
        self._ends = ends
        self._handler = ends.handler
        self._events_at_rest = -1
        """Number of events after which the layers were found at rest."""
        self._transport = ends.client_writer.transport
        response = ends.client_http.response
        assert response
        self._is_chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()

    def take(self, data: bytes) -> bool:
        """Relay a read of the server's connection; return False to leave it to the layers."""
        if not self._is_free():
            return False
        if self._ends.server_tls is None:
            return self._relay(data)
        if not _is_single_record(data):
            return False
        self._take_encrypted(data, self._ends.server_tls.tls)
        return True

    def _is_free(self) -> bool:
        """Return True if everything before this read is done, and the client keeps up."""
        if self._events_at_rest != self._handler.event_count:
            if not self._is_at_rest():
                return False
            self._events_at_rest = self._handler.event_count
        transport = self._transport
        return not transport.get_write_buffer_size() and not transport.is_closing()

    def _is_at_rest(self) -> bool:
        """Return True if the layers wait for the next chunk; only an event can change that."""
        lock = self._handler._server_event_lock
        stream, http = self._stream, self._ends.server_http
        reader = http.body_reader
        return (
            not lock.locked()
            and not lock._waiters
            and stream.server_state == stream.state_stream_response_body
            and stream.flow.response is not None
            and stream.flow.response.stream is self._tap
            and http.state == http.read_body
            and not http.buf
            and type(reader) is JoiningChunkedReader
            and reader.is_at_border
            and all(layer._paused is None for layer in self._ends.layers)
        )

    def _relay(self, data: bytes) -> bool:
        """Relay whole chunks; return False for anything else, and for what the tap holds."""
        pieces, size = whole_chunks(data)
        if size != len(data):
            return False
        body = b"".join(pieces)
        passing = self._tap.read_ahead(body)
        if passing is None:
            return False
        self._handler.timeout_watchdog.register_activity()
        if self._is_chunked and len(passing) == 1 and passing[0] is body:
            self._send(data)
        elif passed := b"".join(passing):
            self._send(b"%x\r\n%s\r\n" % (len(passed), passed) if self._is_chunked else passed)
        return True

    def _send(self, data: bytes) -> None:
        if self._ends.client_tls is None:
            self._ends.client_writer.write(data)
            return
        for command in self._ends.client_tls.send_data(data):
            self._ends.client_writer.write(cast("commands.SendData", command).data)

    def _take_encrypted(self, data: bytes, tls: SSL.Connection) -> None:
        """Relay what fits; OpenSSL keeps the rest, for which the layers are woken."""
        tls.bio_write(data)
        try:
            while self._relay(record := tls.recv(_LARGEST_RECORD, MSG_PEEK)):
                tls.recv(len(record))
        except SSL.WantReadError:
            return
        except SSL.Error:
            pass  # the layers meet it again
        self._wake()

    def _wake(self) -> None:
        """Have the layers read what OpenSSL keeps."""
        asyncio_utils.create_task(
            self._hand_over(),
            name="aibridge: hand over",
            keep_ref=True,
            client=self._ends.handler.client.peername,
        )

    async def _hand_over(self) -> None:
        handler: ConnectionHandler = self._handler
        await handler.server_event(events.DataReceived(self._ends.server, b""))
        await handler.drain_writers()


def _is_single_record(data: bytes) -> bool:
    """Return True if a read is probably one TLS record: more are cheaper for the layers to join."""
    return len(data) == _RECORD_HEADER + int.from_bytes(data[3:_RECORD_HEADER])
