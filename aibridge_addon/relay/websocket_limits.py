"""WebSockets: bounds the size of a message, and reads large frames in linear time.

mitmproxy appends each piece of a frame to a `bytes` object, which copies all that came before, and
takes messages of any size (`mitmproxy.proxy.layers.websocket`, 12.2 and 12.3).
"""

from collections.abc import Generator, Iterable
from typing import Any

from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketLayer
from wsproto.events import CloseConnection, Event, Message
from wsproto.frame_protocol import CloseReason

FRAME_COST = 64
"""Bytes that a frame counts for beside its content, since each is an object of its own."""


class _Frames(list[bytes]):
    """The frames of a message that is still coming; pieces are added in place."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        super().__init__(bytearray(frame) for frame in frames)  # type: ignore[misc]

    def append(self, frame: bytes) -> None:
        super().append(bytearray(frame))  # type: ignore[arg-type]


class LimitedConnection(WebsocketConnection):
    """One side of a WebSocket, which closes with status 1009 where a message grows too large."""

    most: int | None = None
    """Bytes of a message; None: no limit."""
    _size = 0
    _frames: _Frames

    @property
    def frame_buf(self) -> list[bytes]:
        """The frames of the message that is coming."""
        return self._frames

    @frame_buf.setter
    def frame_buf(self, frames: list[bytes]) -> None:
        self._frames = _Frames(frames)

    def events(self) -> Generator[Event]:
        """Give out the events; a message that is too large becomes a close."""
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
    """A WebSocket whose sides have the limit of the option `aibridge_max_body_mib`."""

    def start(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Set the limit once there are two sides."""
        yield from super().start(event)
        for side in (self.client_ws, self.server_ws):
            assert isinstance(side, LimitedConnection)
            side.most = self.context.options.aibridge_max_body_mib * 1024 * 1024

    _handle_event = start


def use_in_mitmproxy() -> None:
    """Make mitmproxy create these WebSockets in place of its own."""
    websocket.WebsocketConnection = LimitedConnection  # type: ignore[misc]
    websocket.WebsocketLayer = LimitedWebsocketLayer  # type: ignore[misc]
