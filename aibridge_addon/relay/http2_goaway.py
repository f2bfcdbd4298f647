"""Completes the open streams of an HTTP/2 connection whose peer announces its end by GOAWAY.

This module depends on mitmproxy's `proxy.layers.http` (12.2 and 12.3), which breaks off each stream
of such a connection, and on h2, which accepts no frame after a GOAWAY. Providers and the balancers
in front of them send it to connections of some age, and clients when they close a connection.
Requests that a provider says it has not processed fail with messages of their own, since they may
be sent again (RFC 9113, 8.7).
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeIs
from weakref import WeakSet

import h2.events
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    GetHttpConnection,
    Http2Client,
    ReceiveHttp,
    RequestHeaders,
    ResponseProtocolError,
    _http2,
)
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._http2 import StreamState
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection

type Commands = Generator[commands.Command, Any]

_leaving: WeakSet[Connection] = WeakSet()
"""Connections to providers that take no further stream."""
_LEFT = "the provider closed the HTTP/2 connection before it processed the request"
_REFUSED = "the provider refused the HTTP/2 stream before it processed the request"


@dataclass(kw_only=True)
class PeerLeaves(h2.events.Event):
    """The peer completes the streams up to one, and takes no further stream."""

    last_stream_id: int


class LastingH2Connection(BufferedH2Connection):
    """The state of a connection, in which frames of open streams may follow a GOAWAY."""

    def _receive_goaway_frame(
        self, frame: GoAwayFrame
    ) -> tuple[list[Frame], list[h2.events.Event]]:
        if frame.error_code != ErrorCodes.NO_ERROR or not self._has_streams():
            return super()._receive_goaway_frame(frame)
        if not self.config.client_side:  # a client that leaves sends no further request
            return [], []
        return [], [PeerLeaves(last_stream_id=frame.last_stream_id)]

    def _has_streams(self) -> bool:
        return bool(self.open_inbound_streams or self.open_outbound_streams)


class LeavableHttp2Client(Http2Client):
    """The connection to a provider, which may leave it; other requests take another connection."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._is_left = False
        self._refused: list[int] = []

    def _handle_event(self, event: events.Event) -> Commands:
        if self._is_left and isinstance(event, HttpEvent) and self._is_new(event):
            if isinstance(event, RequestHeaders):
                yield _unprocessed(event.stream_id)
            return
        yield from super()._handle_event(event)
        while self._refused:
            yield _unprocessed(self._refused.pop(0))
        if self._is_left and self.conn.connected and not self.h2_conn.open_outbound_streams:
            self.streams.clear()  # all have ended, and nobody waits for an event of theirs
            yield from self.close_connection("the provider left")

    def _is_new(self, event: HttpEvent) -> bool:
        return event.stream_id not in self.our_stream_id

    def handle_h2_event(self, event: h2.events.Event) -> Generator[commands.Command, Any, bool]:
        """Return True if further processing should be stopped."""
        if isinstance(event, PeerLeaves):
            yield from self._be_left(event)
        elif self._is_refusal(event):
            del self.streams[event.stream_id]
            yield _unprocessed(event.stream_id, _REFUSED)
        else:
            return (yield from super().handle_h2_event(event))
        return False

    def _is_refusal(self, event: h2.events.Event) -> TypeIs[h2.events.StreamReset]:
        return (
            isinstance(event, h2.events.StreamReset)
            and event.error_code == ErrorCodes.REFUSED_STREAM
            and self.streams.get(event.stream_id) is StreamState.EXPECTING_HEADERS
        )

    def _be_left(self, event: PeerLeaves) -> Commands:
        self._is_left = True
        _leaving.add(self.conn)
        self._refused += self.stream_queue
        self.stream_queue.clear()
        for stream_id in [each for each in self.streams if each > event.last_stream_id]:
            del self.streams[stream_id]
            self.h2_conn.reset_stream(stream_id, ErrorCodes.CANCEL)
            yield _unprocessed(stream_id)


def _unprocessed(stream_id: int, message: str = _LEFT) -> ReceiveHttp:
    return ReceiveHttp(ResponseProtocolError(stream_id, message, ErrorCode.GENERIC_SERVER_ERROR))


def is_unprocessed(problem: str) -> bool:
    """Return True if an error means that the provider has not processed the request."""
    return problem in (_LEFT, _REFUSED)


def use_in_mitmproxy() -> None:
    """Make mitmproxy complete the streams of connections that are left."""
    if http_layers.Http2Client is LeavableHttp2Client:
        return
    http_layers.Http2Client = LeavableHttp2Client  # type: ignore[misc]
    _http2.BufferedH2Connection = LastingH2Connection  # type: ignore[misc]
    matches = GetHttpConnection.connection_spec_matches

    def may_take(self: GetHttpConnection, connection: Connection) -> bool:
        return connection not in _leaving and matches(self, connection)

    GetHttpConnection.connection_spec_matches = may_take  # type: ignore[method-assign]
