"""Exchange: the live state of one client request, from the complete request to its end.

`Exchange` is the base of one class per mode (passing, counted, recorded, bridged, handshake,
websocket, inner call), each in its own module. The hooks find an exchange by its flow's id and call
one method; the mode decides what happens.
"""

from collections.abc import Callable

from mitmproxy import http, websocket
from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.access.egress import find_refusal
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.error_responses import shaped_error
from aibridge_addon.formats import Format
from aibridge_addon.relay.body_tap import BodyTap


def _do_nothing() -> None:
    pass


class Exchange:
    """One request to a provider and its response; the base class passes both on unchanged."""

    is_judged = False
    """True if a missing response counts against the provider."""

    def __init__(self, request: ClientRequest, wire_format: Format) -> None:
        self.request = request
        self.flow: http.HTTPFlow = request.flow
        self.wire_format = wire_format
        """Format of the response, and of errors that the proxy sends in its place."""
        self.client_aborted = False
        self.may_change_key = False
        """True if it may be sent with another key without a new decision of the policies."""
        self.on_abort: Callable[[], None] = _do_nothing
        """Cancels the work that only this client waits for."""

    @property
    def is_open(self) -> bool:
        """True while its end would be a loss for the client."""
        return True

    @property
    def response(self) -> http.Response:
        """The flow's response, once there is one."""
        assert self.flow.response is not None
        return self.flow.response

    @property
    def head_seconds(self) -> float | None:
        """Seconds in which the head of the response must come; None: it may take long."""
        return self.request.route.provider.resend.head_seconds if self.is_judged else None

    def outgoing_request(self) -> http.Request:
        """Return the request whose head is sent upstream in place of the flow's."""
        return self.request.outgoing()

    def on_head(self) -> None:
        """Decide, by the head of the response, whether its body is streamed or buffered."""

    def hold_limit(self, begun: ReceiveBuffer) -> int | None:
        """Return how many bytes of the response are buffered before it is streamed; None: all.

        `begun` is the body received so far.
        """
        return self.request.max_bytes

    def stream_response(self) -> None:
        """Stream a response that has exceeded its `hold_limit`."""
        self.response.stream = True

    async def on_held(self, tap: BodyTap) -> None:
        """Continue a streamed response whose next bytes the tap holds."""

    async def on_end(self) -> None:
        """Complete the exchange before the client receives the end of the response."""

    async def on_error(self, message: str) -> None:
        """End an exchange whose connection failed; answer the client if nothing was sent to it."""
        self._answer_error(message)

    def abort(self) -> None:
        """Note that the client disconnected."""
        self.client_aborted = True
        self.on_abort()

    def interrupt(self) -> None:
        """End the exchange because the proxy shuts down."""

    async def close(self) -> None:
        """Release what still runs for the exchange."""

    def open_websocket(self) -> "Exchange":
        """Return the exchange that continues on a connection that became a WebSocket."""
        return self

    async def on_message(self, message: websocket.WebSocketMessage) -> None:
        """Handle a message of a WebSocket."""

    def on_websocket_end(self, *, by_client: bool) -> None:
        """Handle the end of a WebSocket."""

    def _answer_error(self, message: str) -> None:
        flow, provider = self.flow, self.request.route.provider
        status, text = 403, find_refusal(message)
        if not text:
            problem = "ended its response early" if flow.response else "did not respond"
            status = 502
            text = f"aibridge: {provider.name} at {flow.request.host} {problem}: {message}"
        if not self.client_aborted and (flow.response is None or not flow.response.stream):
            flow.response = shaped_error(self.wire_format, status, text)
