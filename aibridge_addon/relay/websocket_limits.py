"""WebSockets: limits the size of a message, and reads large frames in linear time.

This module depends on mitmproxy's internals (`proxy.layers.websocket`, 12.2 and 12.3), which append
each piece of a frame to a `bytes` object, copying all earlier pieces, and have no size limit.
"""

from collections.abc import Generator, Iterable
from typing import Any

from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketLayer
from wsproto.events import CloseConnection, Event, Message
from wsproto.frame_protocol import CloseReason

FRAME_COST = 64
"""Bytes that a frame counts in addition to its content, since each is a separate object."""


class _Frames(list[bytes]):
    """The frames of an unfinished message; pieces are appended in place."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        super().__init__(bytearray(frame) for frame in frames)  # type: ignore[misc]

    def append(self, frame: bytes) -> None:
        super().append(bytearray(frame))  # type: ignore[arg-type]


class LimitedConnection(WebsocketConnection):
    """One side of a WebSocket, which closes with status 1009 if a message is too large."""

    most: int | None = None
    """Bytes of a message; None: no limit."""
    _size = 0
    _frames: _Frames

    @property
    def frame_buf(self) -> list[bytes]:
        """The frames of the unfinished message."""
        return self._frames

    @frame_buf.setter
    def frame_buf(self, frames: list[bytes]) -> None:
        self._frames = _Frames(frames)

    def events(self) -> Generator[Event]:
        """Yield the events; replace a message that is too large by a close."""
        for event in super().events():
            if isinstance(event, Message) and self._is_too_large(event):
                yield CloseConnection(CloseReason.MESSAGE_TOO_BIG, "message too big")
                return
            yield event

    def _is_too_large(self, event: Message[Any]) -> bool:
        data = event.data
        is_wide = isinstance(data, str) and not data.isascii()
        self._size += len(data.encode() if is_wide else data)
        if event.frame_finished:
            self._size += FRAME_COST
        is_too_large = self.most is not None and self._size > self.most
        if event.message_finished:
            self._size = 0
        return is_too_large


class LimitedWebsocketLayer(WebsocketLayer):
    """A WebSocket with the limit of the option `aibridge_max_body_mib` on both sides."""

    def start(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Set the limit once both sides exist."""
        yield from super().start(event)
        for side in (self.client_ws, self.server_ws):
            assert isinstance(side, LimitedConnection)
            side.most = self.context.options.aibridge_max_body_mib * 1024 * 1024

    _handle_event = start


def use_in_mitmproxy() -> None:
    """Make mitmproxy create these WebSockets instead of its own."""
    websocket.WebsocketConnection = LimitedConnection  # type: ignore[misc]
    websocket.WebsocketLayer = LimitedWebsocketLayer  # type: ignore[misc]
