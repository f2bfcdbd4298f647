"""The third protocol of the server: a WebSocket, a thin shell around wsproto.

Each message that arrives is answered by the parts of a body; every part of bytes is a message.
Messages may be answered at the same time: the application decides the order.
"""

from typing import TYPE_CHECKING

import wsproto
import wsproto.events
import wsproto.handshake
import wsproto.utilities
from wsproto.extensions import Extension, PerMessageDeflate

from standin.messages import Broken, Request, Response, Upgrade, play

if TYPE_CHECKING:
    from standin.connections import Link

GOING_AWAY = 1001


def accepting(request: Request, upgrade: Upgrade) -> tuple[list[tuple[str, str]], list[Extension]]:
    """Return the headers that accept a WebSocket, and the extensions that both sides know."""
    extensions: list[Extension] = [PerMessageDeflate()]
    offered = wsproto.utilities.split_comma_header(
        (request.header("sec-websocket-extensions") or "").encode()
    )
    key = (request.header("sec-websocket-key") or "").encode()
    headers = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", wsproto.utilities.generate_accept_token(key).decode()),
        *upgrade.headers,
    ]
    agreed = wsproto.handshake.server_extensions_handshake(offered, extensions)
    if agreed is None:
        return headers, []
    return [*headers, ("sec-websocket-extensions", agreed.decode())], extensions


class WebSocket:
    """One connection after its upgrade."""

    def __init__(
        self, link: "Link", request: Request, upgrade: Upgrade, extensions: list[Extension]
    ) -> None:
        self._link = link
        self._request = request
        self._upgrade = upgrade
        self._wire = wsproto.connection.Connection(
            wsproto.connection.ConnectionType.SERVER, extensions
        )
        self._frames = [b""]
        """Frames of the message that is arriving."""
        self._answering = 0
        if upgrade.greeting:
            self._send(wsproto.events.TextMessage(data=upgrade.greeting.decode()))

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        self._wire.receive_data(data)
        for event in self._wire.events():
            match event:
                case wsproto.events.TextMessage() | wsproto.events.BytesMessage():
                    self._on_data(event)
                case wsproto.events.Ping():
                    self._send(event.response())
                case wsproto.events.CloseConnection():
                    self._request.close_code = event.code
                    self._send(event.response())
                    self._link.transport.close()

    def _on_data(self, event: wsproto.events.TextMessage | wsproto.events.BytesMessage) -> None:
        self._frames[-1] += event.data.encode() if isinstance(event.data, str) else event.data
        if event.message_finished:
            frames, self._frames = self._frames, [b""]
            self._link.server.heard(self._request, frames)
            self._link.spawn(self._answer(b"".join(frames)))
        elif event.frame_finished:
            self._frames.append(b"")

    async def _answer(self, message: bytes) -> None:
        self._answering += 1
        try:
            await play(Response(body=self._upgrade.answer(message)), self)
            self._answering -= 1  # not where the connection ends it
        except Broken:
            self._link.server.ended(self._request, "broken")

    async def data(self, data: bytes) -> None:
        """Send a message."""
        self._send(wsproto.events.TextMessage(data=data.decode()))
        if not self._link.writable.is_set():
            await self._link.writable.wait()

    def reset(self) -> None:
        """Break the connection."""
        self._link.abort()

    def end_early(self) -> None:
        """Say goodbye and close the connection."""
        self._send(wsproto.events.CloseConnection(code=GOING_AWAY))
        self._link.transport.close()

    def leave_unprocessed(self, by: str) -> None:
        """Fail: only HTTP/2 can say so."""
        raise NotImplementedError(by)

    def lost(self) -> None:
        """Learn that the connection has ended."""
        if self._request.outcome != "broken":
            outcome = "abandoned" if self._answering else "answered"
            self._link.server.ended(self._request, outcome)

    def _send(self, event: wsproto.events.Event) -> None:
        self._link.transport.write(self._wire.send(event))
