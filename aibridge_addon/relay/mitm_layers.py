"""HTTP layers: `BridgeStream` replaces mitmproxy's stream for one request and its response.

This module depends on mitmproxy's internals (`proxy.layers.http`, 12.2 and 12.3), as `http1`,
`connection_handlers` and `websocket_limits` do. No public API lets an addon wait within a streamed
body, send a head other than the flow's, respond for an unreachable upstream, or stream a body that
outgrows its buffer. The addon decides (`relay.bridge`); this module only acts.
"""

from dataclasses import dataclass, replace

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.flow import Error
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.http.status_codes import SWITCHING
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    DropStream,
    ErrorCode,
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpErrorHook,
    HttpLayer,
    HttpRequestHeadersHook,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    SendHttp,
)

from aibridge_addon.relay import header_lookups, http1, http2_goaway, shortcuts, websocket_limits
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.command_generators import Commands, mapped, nothing
from aibridge_addon.relay.direct_stream import DirectStream
from aibridge_addon.relay.joined_writes import joined
from aibridge_addon.relay.masked_responses import as_received
from aibridge_addon.relay.second_attempt import SecondAttempt
from aibridge_addon.relay.second_response import RESPONSE_EVENTS, hold, relay_second_response
from aibridge_addon.relay.usage_watch import drop_hidden_body

for module in (header_lookups, http1, http2_goaway, shortcuts, websocket_limits):
    module.use_in_mitmproxy()

REQUEST_TOO_LARGE = "Request body exceeds mitmproxy's body_size_limit."
"""mitmproxy's error message, in the `error` hook before the client is informed."""

_SWITCHED = "it switches to a protocol that was not requested"
_SILENT = "it sent no response in time"

NAMED_HOSTS = "aibridge_named_hosts"
"""The key in a flow's metadata for the authorities that the client sent; intake removes it."""

REFUSED_UNREAD = "The request is refused before its body is complete."
BODY_BEFORE_REFUSAL = 64 * 1024
"""Bytes after which a request is refused without the rest; smaller ones are recorded."""


@dataclass
class AibridgeHeldHook(commands.StartHook):
    """Waits until the chunks that a tap holds may be sent."""

    tap: BodyTap


class BridgeLayer(HttpLayer):
    """An `HttpLayer` whose streams are `BridgeStream`s."""

    bridge: Bridge

    def handle_event(self, event: events.Event) -> Commands:
        """Handle an event as the original does, with consecutive writes joined."""
        return joined(super().handle_event(event))

    def make_stream(self, stream_id: int) -> Commands:
        """Create a `BridgeStream`; otherwise as the original."""
        stream = BridgeStream(self.context.fork(), stream_id)
        stream.bridge = self.bridge
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> Commands:
        """Refuse addresses that an upstream proxy, which makes the connection, must not reach."""
        refusal = event.via and self.bridge.upstream_proxy_refusal(
            event.address, self.context.client
        )
        if not refusal:
            yield from super().get_connection(event, reuse=reuse)
            return
        stream = self.command_sources.pop(event)
        yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (None, refusal)))


class BridgeStream(DirectStream):
    """One request and its response."""

    _attempt: SecondAttempt | None = None
    """Once set, further events of the first upstream are held."""
    _wakeup: commands.RequestWakeup | None = None
    """Ends the time for the head of the response."""

    def state_wait_for_request_headers(self, event: events.Event) -> Commands:
        """Save the hosts that the client sent: in reverse mode, mitmproxy overwrites them."""
        hosts = _named_hosts(event.request) if isinstance(event, RequestHeaders) else []

        def save_hosts(command: commands.Command) -> commands.Command:
            if isinstance(command, HttpRequestHeadersHook):
                command.flow.metadata[NAMED_HOSTS] = hosts
            return command

        yield from mapped(super().state_wait_for_request_headers(event), save_hosts)

    def state_consume_request_body(self, event: events.Event) -> Commands:
        """Send the bridge's outgoing head upstream, not the flow's."""
        yield from mapped(super().state_consume_request_body(event), self._with_outgoing_head)
        seconds = self.bridge.head_seconds(self.flow) if self._awaits_response() else None
        if seconds is not None:
            self._wakeup = commands.RequestWakeup(seconds)
            yield self._wakeup

    def handle_event(self, event: events.Event) -> Commands:
        """Report a disconnect of the client to the bridge at once, even while a hook is waiting."""
        if isinstance(event, RequestProtocolError):
            self.bridge.client_aborted(self.flow)
        if self._attempt and isinstance(event, RESPONSE_EVENTS):
            hold(self._attempt, event)
            return nothing()
        if self._is_woken_late(event):
            return nothing()
        return super().handle_event(event)

    def _handle_event(self, event: events.Event) -> Commands:
        """Give up a provider that has sent no head in time; otherwise as the original."""
        if isinstance(event, events.Wakeup) and event.command is self._wakeup:
            yield from self._fail(_SILENT)
        else:
            yield from super()._handle_event(event)

    def _is_woken_late(self, event: events.Event) -> bool:
        """Return True if an event ends the time for a head that has come, or is not needed."""
        is_own = isinstance(event, events.Wakeup) and event.command is self._wakeup
        return is_own and (self._paused is not None or not self._awaits_response())

    def _awaits_response(self) -> bool:
        """Return True if the request has been sent and nothing of a response has come."""
        states = (self.client_state, self.server_state)
        is_sent = states == (self.state_done, self.state_wait_for_response_headers)
        return is_sent and not (self._attempt or self.flow.response or self.flow.error)

    def state_wait_for_response_headers(self, event: events.Event) -> Commands:
        """Refuse protocol switches that the bridge does not allow, and start second attempts."""
        head = event.response if isinstance(event, ResponseHeaders) else None
        if (
            head
            and head.status_code == SWITCHING
            and not self.bridge.allows_protocol_switch(self.flow, head)
        ):
            yield from self._fail(_SWITCHED)  # further data is in an unknown protocol
        elif (
            head
            and self._attempt is None
            and (attempt := self.bridge.second_attempt(self.flow, head))
        ):
            yield from self._replace_response(attempt, event)
        else:
            yield from super().state_wait_for_response_headers(event)

    def _replace_response(self, attempt: SecondAttempt, event: events.Event) -> Commands:
        """Hold a response that begins or fails with an event, and relay the one in its place."""
        self._attempt = attempt
        hold(attempt, event)
        yield from relay_second_response(attempt, self.stream_id, self._handle_event)

    def _fail(self, problem: str) -> Commands:
        """Fail as if the server had sent no response."""
        code = ErrorCode.GENERIC_SERVER_ERROR
        yield SendHttp(RequestProtocolError(self.stream_id, problem, code), self.context.server)
        yield from self.handle_protocol_error(ResponseProtocolError(self.stream_id, problem, code))

    def state_stream_response_body(self, event: events.Event) -> Commands:
        """Send the chunks that the tap relays, then wait for those that it holds."""
        yield from super().state_stream_response_body(event)
        yield from self._send_held()

    def send_response(self, already_streamed: bool = False) -> Commands:
        """Send the chunks that the tap holds before the end of the message."""
        if already_streamed:
            yield from self._send_held()
            drop_hidden_body(self.flow.response)
        yield from super().send_response(already_streamed)

    def _send_held(self) -> Commands:
        """Wait for held chunks and send them, until the tap holds no more."""
        tap = self.flow.response.stream if self.flow.response else None
        while isinstance(tap, BodyTap) and tap.is_waiting:
            tap.is_waiting = False  # the hook sets it again if more chunks follow
            yield AibridgeHeldHook(tap)
            if (yield from self.check_killed(True)):
                return
            for chunk in tap.release():
                if self.context.options.store_streamed_bodies:
                    self.response_body_buf += chunk
                yield SendHttp(ResponseData(self.stream_id, chunk), self.context.client)

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        """Send the `flow.response` of the `error` hook if the client has no response yet."""
        is_of_server = isinstance(event, ResponseProtocolError)
        if is_of_server and self.server_state == self.state_errored:
            return  # the client knows: a connection that is closed for an error breaks off, too
        if is_of_server and self._awaits_response():
            attempt = self.bridge.second_attempt(self.flow, None, event.message)
            if attempt:
                yield from self._replace_response(attempt, event)
                return
        # A head is sent when its body streams, or together with its buffered body.
        is_unanswered = self.server_state not in (
            self.state_stream_response_body,
            self.state_done,
        )
        for command in super().handle_protocol_error(event):
            is_error_page = isinstance(command, SendHttp) and command.event is event
            if is_error_page and is_unanswered and self.flow.response:
                yield from self._send_buffered(self.flow.response)
            elif not (self._attempt and _goes_to(command, self.context.server)):
                yield command  # the connection may serve another request after a second attempt

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse also heads that mitmproxy accepts, but that a server may parse differently."""
        if request:
            http1.unfold(self.flow.request)
            if problem := http1.malformed(self.mode, self.flow.request):
                yield from self._refuse_malformed(problem)
                return True
        return (yield from super().check_invalid(request))

    def _refuse_malformed(self, problem: str) -> Commands:
        """Respond with 400, as mitmproxy does if its own validation fails."""
        self.flow.error = Error(problem)
        yield HttpRequestHeadersHook(self.flow)
        yield HttpErrorHook(self.flow)
        code = ErrorCode.REQUEST_VALIDATION_FAILED
        yield SendHttp(ResponseProtocolError(self.stream_id, problem, code), self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored

    def check_body_size(self, request: bool) -> Commands:
        """Respond to a request body that is too large, and stream a response body that is."""
        if request and (yield from self._refuse_early()):
            return True
        limit = None if request else self.bridge.hold_limit(self.flow, self.response_body_buf)
        if limit is not None:
            if self._response_size() > limit:
                yield from self._stream_from_here()
            return False
        before = self.flow.response
        is_too_large = False
        for command in super().check_body_size(request):
            is_error_page = isinstance(command, SendHttp) and isinstance(
                command.event, ResponseProtocolError
            )
            is_too_large = is_too_large or is_error_page
            response = self.flow.response
            if is_error_page and response is not None and response is not before:
                yield from self._respond_early(response)
            else:
                yield command
        return is_too_large

    def _refuse_early(self) -> layer.CommandGenerator[bool]:
        """Respond to a refused request before its body is complete."""
        size, refusal = len(self.request_body_buf), None
        if size > BODY_BEFORE_REFUSAL:
            refusal = self.bridge.refusal_before_body(self.flow)
        if size and refusal is None:
            refusal = self.bridge.refusal_of_size(self.flow, size)
        if refusal is None:
            return False
        self.request_body_buf.clear()
        self.flow.error = Error(REFUSED_UNREAD)
        yield HttpErrorHook(self.flow)
        yield from self._respond_early(refusal)
        self.client_state = self.state_errored
        self.flow.live = False
        return True

    def _response_size(self) -> int:
        """Return the size of a response so far; before its body, the announced size."""
        if self.response_body_buf:
            return len(self.response_body_buf)
        try:
            return expected_http_body_size(self.flow.request, self.flow.response) or 0
        except ValueError:  # an invalid length, which mitmproxy reports
            return 0

    def _stream_from_here(self) -> Commands:
        """Send the buffered part of a response, and stream the rest as mitmproxy would."""
        self.bridge.stream_response(self.flow)
        if self.response_body_buf:
            buffered = bytes(self.response_body_buf)
            self.response_body_buf.clear()
            yield from self.start_response_stream()
            yield from self.server_state(ResponseData(self.stream_id, buffered))

    def _respond_early(self, response: http.Response) -> Commands:
        """Respond before the request has ended; drop its rest, which clients must get rid of."""
        if not self.flow.request.is_http2:
            response.headers["connection"] = "close"
        yield from self._send_buffered(response)
        yield DropStream(self.stream_id)

    def _with_outgoing_head(self, command: commands.Command) -> commands.Command:
        if isinstance(command, SendHttp) and isinstance(command.event, RequestHeaders):
            head = replace(command.event, request=self.bridge.outgoing_request(self.flow))
            return SendHttp(head, command.connection)
        return command

    def _send_buffered(self, response: http.Response) -> Commands:
        body = (self.wants_body and response.raw_content) or b""
        for part in (
            ResponseHeaders(self.stream_id, as_received(response), end_stream=not body),
            ResponseData(self.stream_id, body),
            ResponseEndOfMessage(self.stream_id),
        ):
            yield SendHttp(part, self.context.client)


def _named_hosts(request: http.Request) -> list[str]:
    """Return the authorities of a request: from `Host`, `:authority` and an absolute target."""
    hosts = (request.authority, *request.headers.get_all("host"))
    return list(dict.fromkeys(filter(None, hosts)))


def _goes_to(command: commands.Command, connection: Connection) -> bool:
    return isinstance(command, SendHttp) and command.connection is connection


def install(first: layer.Layer | None, bridge: Bridge) -> None:
    """Replace the HTTP layer of a stack of new layers, if any, by a `BridgeLayer`."""
    while first is not None:
        if type(first) is HttpLayer:
            # A new object would add itself to the context's stack of layers.
            first.__class__ = BridgeLayer
            first.bridge = bridge  # type: ignore[attr-defined]
        first = getattr(first, "child_layer", None)
