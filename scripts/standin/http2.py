"""HTTP/2, a thin shell around h2."""

import asyncio
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hyperframe.frame import GoAwayFrame

from standin.framing import BODYLESS, prepare
from standin.messages import Broken, Request, Response, play

if TYPE_CHECKING:
    from standin.connections import Link


class HTTP2:
    """One HTTP/2 connection."""

    def __init__(self, link: "Link") -> None:
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
        self._is_leaving = False
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
                if self._is_leaving:
                    self._link.server.failed(ValueError("a request after GOAWAY"))
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
            headers, length = prepare(response)
            if length is not None:
                headers.append(("content-length", str(length)))
            head = [(":status", str(response.status)), *((n.lower(), v) for n, v in headers)]
            self._wire.send_headers(stream_id, head)
            self._flush()
            if request.method != "HEAD" and response.status not in BODYLESS:
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

    def refuse(self, stream_id: int) -> None:
        """Break a stream whose request is not processed."""
        self._wire.reset_stream(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
        self._flush()

    def leave(self, last: int | None = None) -> None:
        """Announce the end of the connection; open streams go on, which h2 does not provide for.

        Args:
            last: the last stream that is processed; None: all that have come.
        """
        self._is_leaving = True
        last = self._wire.highest_inbound_stream_id if last is None else last
        self._link.transport.write(GoAwayFrame(0, last_stream_id=last).serialize())

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

    def leave_unprocessed(self, by: str) -> None:
        """Say that the request of the stream is not processed."""
        if by == "GOAWAY":
            self._connection.leave(max(0, self._stream_id - 2))
        else:
            self._connection.refuse(self._stream_id)
