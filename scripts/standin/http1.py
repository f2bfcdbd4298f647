"""HTTP/1.1, a thin shell around h11."""

from typing import TYPE_CHECKING, Any

import h11

from standin.framing import BODYLESS, prepare
from standin.messages import Broken, Request, Upgrade, play
from standin.websocket import WebSocket, accepting

if TYPE_CHECKING:
    from standin.connections import Link


class HTTP1:
    """One HTTP/1.1 connection."""

    def __init__(self, link: "Link") -> None:
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
            headers, length = prepare(response)
            if length is not None:
                headers.append(("content-length", str(length)))
            elif response.status not in BODYLESS:
                headers.append(("transfer-encoding", "chunked"))
            self._chunked = length is None
            self._send(h11.Response(status_code=response.status, headers=headers))
            if request.method != "HEAD" and response.status not in BODYLESS:
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

    def leave_unprocessed(self, by: str) -> None:
        """Fail: only HTTP/2 can say so."""
        raise NotImplementedError(by)
