"""The two protocols of HTTP, each a thin shell around its sans-io library.

HTTP/1.1 (h11) and HTTP/2 (h2) take bytes from a `Link`, call the application once a request is
whole, and play the parts of its answer. Nothing here knows about AI.
"""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h11

from standin.codings import encode
from standin.messages import Broken, Request, Response, Sink, Upgrade, play, play_part
from standin.websocket import WebSocket, accepting

if TYPE_CHECKING:
    from standin.server import Server

_BODYLESS = (204, 304)


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


def _prepare(response: Response) -> tuple[list[tuple[str, str]], int | None]:
    """Return the headers without framing, and the body's length if it is known."""
    headers = list(response.headers)
    if response.coding != "identity":
        headers.append(("content-encoding", response.coding))
        if isinstance(response.body, bytes):
            response.body = encode(response.body, response.coding)
            response.coding = "identity"
    if response.announce_length is not None:
        return headers, response.announce_length
    return headers, len(response.body) if isinstance(response.body, bytes) else None


class HTTP1:
    """One HTTP/1.1 connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._chunked = False

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        self._wire.receive_data(data)
        self._advance()

    def _advance(self) -> None:
        while True:
            try:
                event = self._wire.next_event()
            except h11.RemoteProtocolError:
                self._link.transport.close()
                return
            if isinstance(event, h11.Request):
                self._head, self._body = event, []
                if self._wire.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._link.spawn(self._answer(self._request()))
            elif isinstance(event, h11.ConnectionClosed):
                self._link.transport.close()
                return
            else:  # needs data, or is paused until the answer is out
                return

    def _request(self) -> Request:
        head = self._head
        assert head is not None
        return Request(
            method=head.method.decode(),
            target=head.target.decode("latin-1"),
            headers=[(n.decode(), v.decode("latin-1")) for n, v in head.headers.raw_items()],
            body=b"".join(self._body),
            http_version=head.http_version.decode(),
        )

    async def _answer(self, request: Request) -> None:
        outcome = "abandoned"
        try:
            response = await self._link.call(request, self)
            if isinstance(response, Upgrade):
                self._upgrade(request, response)
                outcome = "upgraded"
                return
            headers, length = _prepare(response)
            if length is not None:
                headers.append(("content-length", str(length)))
            elif response.status not in _BODYLESS:
                headers.append(("transfer-encoding", "chunked"))
            self._chunked = length is None
            self._send(h11.Response(status_code=response.status, headers=headers))
            if request.method != "HEAD" and response.status not in _BODYLESS:
                await play(response, self)
            self._send(h11.EndOfMessage())
            outcome = "answered"
        except Broken:
            outcome = "broken"
        finally:
            self._link.server.ended(request, outcome)
        if outcome == "answered":
            self._next()

    def _upgrade(self, request: Request, upgrade: Upgrade) -> None:
        headers, extensions = accepting(request, upgrade)
        self._send(h11.InformationalResponse(status_code=101, headers=headers))
        data, _ = self._wire.trailing_data
        self._link.upgrade(WebSocket(self._link, request, upgrade, extensions), data)

    def _next(self) -> None:
        if self._wire.our_state is h11.DONE and self._wire.their_state is h11.DONE:
            self._wire.start_next_cycle()
            self._advance()  # the next request may have come already
        else:
            self._link.transport.close()

    def _send(self, event: Any) -> None:
        self._link.transport.write(self._wire.send(event))

    async def data(self, data: bytes) -> None:
        """Send some bytes."""
        if self._chunked and data:
            # What h11 does too, in a tenth of the time: this is the bench's inner loop.
            self._link.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._send(h11.Data(data=data))
        if not self._link.writable.is_set():
            await self._link.writable.wait()

    def reset(self) -> None:
        """Break the connection."""
        self._link.abort()

    def end_early(self) -> None:
        """Close the connection where the body is."""
        self._link.transport.close()


class HTTP2:
    """One HTTP/2 connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._wire = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding="latin-1",
                normalize_inbound_headers=False,  # as they came
            )
        )
        self._heads: dict[int, list[tuple[str, str]]] = {}
        self._bodies: dict[int, list[bytes]] = {}
        self._answers: dict[int, asyncio.Task[None]] = {}
        self._window = asyncio.Event()
        self._wire.initiate_connection()
        self._flush()

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        try:
            events = self._wire.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._flush()
            self._link.transport.close()
            return
        for event in events:
            self._handle(event)
        self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._heads[event.stream_id] = [(str(n), str(v)) for n, v in event.headers]
                self._bodies[event.stream_id] = []
            case h2.events.DataReceived():
                self._bodies[event.stream_id].append(event.data)
                self._wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                request = self._request(event.stream_id)
                task = self._link.spawn(self._answer(event.stream_id, request))
                self._answers[event.stream_id] = task
            case h2.events.StreamReset():
                self._heads.pop(event.stream_id, None)
                self._bodies.pop(event.stream_id, None)
                if answering := self._answers.get(event.stream_id):
                    answering.cancel()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self._window.set()

    def _request(self, stream_id: int) -> Request:
        given = self._heads.pop(stream_id)
        pseudo = {name: value for name, value in given if name.startswith(":")}
        return Request(
            method=pseudo[":method"],
            target=pseudo.get(":path", ""),
            headers=[(name, value) for name, value in given if not name.startswith(":")],
            body=b"".join(self._bodies.pop(stream_id)),
            http_version="2",
            authority=pseudo.get(":authority"),
        )

    async def _answer(self, stream_id: int, request: Request) -> None:
        outcome = "abandoned"
        stream = _Stream(self, stream_id)
        try:
            response = await self._link.call(request, stream)
            assert isinstance(response, Response), "WebSockets are spoken over HTTP/1 only"
            headers, length = _prepare(response)
            if length is not None:
                headers.append(("content-length", str(length)))
            head = [(":status", str(response.status)), *((n.lower(), v) for n, v in headers)]
            self._wire.send_headers(stream_id, head)
            self._flush()
            if request.method != "HEAD" and response.status not in _BODYLESS:
                await play(response, stream)
            self._wire.end_stream(stream_id)
            self._flush()
            outcome = "answered"
        except Broken:
            outcome = "broken"
        except h2.exceptions.ProtocolError:  # the stream or the connection is closed
            pass
        finally:
            self._answers.pop(stream_id, None)
            self._link.server.ended(request, outcome)

    async def send(self, stream_id: int, data: bytes) -> None:
        """Send bytes on a stream, as its windows allow."""
        while data:
            window = min(
                self._wire.local_flow_control_window(stream_id), self._wire.max_outbound_frame_size
            )
            if window <= 0:
                self._window.clear()
                self._flush()
                await self._window.wait()
                continue
            self._wire.send_data(stream_id, data[:window])
            data = data[window:]
        self._flush()
        if not self._link.writable.is_set():
            await self._link.writable.wait()

    def reset(self, stream_id: int) -> None:
        """Break a stream."""
        self._wire.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        self._flush()

    def close(self) -> None:
        """Say goodbye and close the connection."""
        self._wire.close_connection()
        self._flush()
        self._link.transport.close()

    def _flush(self) -> None:
        if data := self._wire.data_to_send():
            self._link.transport.write(data)


class _Stream:
    """One stream of an HTTP/2 connection, as a sink."""

    def __init__(self, connection: HTTP2, stream_id: int) -> None:
        self._connection = connection
        self._stream_id = stream_id

    async def data(self, data: bytes) -> None:
        """Send some bytes."""
        await self._connection.send(self._stream_id, data)

    def reset(self) -> None:
        """Break the stream."""
        self._connection.reset(self._stream_id)

    def end_early(self) -> None:
        """Close the connection without having ended the stream."""
        self._connection.close()
