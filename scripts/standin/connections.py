"""One connection of the stand-in: the transport, and the protocol spoken over it.

The protocols read bytes from a `Link`, call the application once a request is complete, and send
the parts of its response. Nothing here knows about AI.
"""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

from standin.http1 import HTTP1
from standin.http2 import HTTP2
from standin.messages import Broken, Request, Response, Sink, Upgrade, play_part
from standin.websocket import WebSocket

if TYPE_CHECKING:
    from standin.server import Server


class Link(asyncio.Protocol):
    """One connection: the transport, and what is spoken over it."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.writable = asyncio.Event()
        self.writable.set()
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        tls = transport.get_extra_info("ssl_object")
        over_http2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        self._protocol: HTTP1 | HTTP2 | WebSocket = HTTP2(self) if over_http2 else HTTP1(self)
        self.server.links.add(self)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive(data)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.writable.set()
        self.server.links.discard(self)
        if isinstance(self._protocol, WebSocket):
            self._protocol.lost()
        for task in self.tasks:
            task.cancel()

    def upgrade(self, protocol: WebSocket, data: bytes) -> None:
        """Switch to another protocol; some of its bytes may have arrived already."""
        self._protocol = protocol
        protocol.receive(data)

    def leave(self) -> None:
        """Announce the end of a connection of HTTP/2, and complete its open streams."""
        if isinstance(self._protocol, HTTP2):
            self._protocol.leave()

    def abort(self) -> None:
        """Send an RST, as a process that dies does."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """Run the answer to a request."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.server.failed(error)
            self.transport.abort()

    async def call(self, request: Request, sink: Sink) -> Response | Upgrade:
        """Record the request and ask the application.

        Raises:
            Broken: its answer is a fault.
        """
        self.server.received(request)
        try:
            response = await self.server.app(request)
        except Exception as error:
            self.server.failed(error)
            return Response(500, [("content-type", "text/plain")], b"the stand-in is broken")
        if isinstance(response, Response | Upgrade):
            return response
        await play_part(response, None, sink)
        raise Broken
