"""The one file that knows mitmproxy's internals: a stream that can wait before it goes on.

mitmproxy offers no public way to wait for something in the middle of a streamed body, to change
what goes up without changing the flow, to answer for an upstream that cannot be reached, or to let
a body pass that grew larger than is held (`mitmproxy.proxy.layers.http`, 12.2). `BridgeStream` adds
these four, and nothing else; `BridgeLayer` makes such streams, and fewer writes, and asks before an
upstream proxy is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

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
    HttpStream,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    SendHttp,
)

from aibridge_addon.relay import http1, websocket_limits
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.joined_writes import joined
from aibridge_addon.relay.second_attempt import SecondAttempt
from aibridge_addon.relay.second_response import RESPONSE_EVENTS, relay_second_response

type Commands = layer.CommandGenerator[Any]

http1.use_in_mitmproxy()
websocket_limits.use_in_mitmproxy()

REQUEST_TOO_LARGE = "Request body exceeds mitmproxy's body_size_limit."
"""mitmproxy's error, before it has told the client."""

_SWITCHED = "it switches to another protocol than was asked for"

NAMED_HOSTS = "aibridge_named_hosts"
"""The key of a flow's metadata for the authorities that the client named; `take_hosts` takes it."""

REFUSED_UNREAD = "The request is refused, whatever else it says."
HELD_OF_STRANGERS = 64 * 1024
"""Bytes of the body of a request that is refused anyway; smaller ones are read, and recorded."""


@dataclass
class AibridgeHeldHook(commands.StartHook):
    """A tap holds the end of a response. It goes on when the hook, which may wait, is done."""

    tap: BodyTap


class BridgeLayer(HttpLayer):
    """An `HttpLayer` whose streams are `BridgeStream`s."""

    bridge: Bridge

    def handle_event(self, event: events.Event) -> Commands:
        """Handle an event as the original does; what goes to one peer in a row goes at once."""
        return joined(super().handle_event(event))

    def make_stream(self, stream_id: int) -> Commands:
        """Make a stream of ours; otherwise as the original."""
        stream = BridgeStream(self.context.fork(), stream_id)
        stream.bridge = self.bridge
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> Commands:
        """Refuse what an upstream proxy must not be asked for: it makes the connection, not us."""
        refusal = event.via and self.bridge.upstream_proxy_refusal(
            event.address, self.context.client
        )
        if not refusal:
            yield from super().get_connection(event, reuse=reuse)
            return
        stream = self.command_sources.pop(event)
        yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (None, refusal)))


class BridgeStream(HttpStream):
    """One request and its response."""

    bridge: Bridge
    _attempt: SecondAttempt | None = None
    """Once it is there, what the first upstream still says is dropped."""

    def state_wait_for_request_headers(self, event: events.Event) -> Commands:
        """Keep the hosts that the client named: in reverse mode, mitmproxy overwrites them."""
        named = _named_hosts(event.request) if isinstance(event, RequestHeaders) else []

        def tell(command: commands.Command) -> commands.Command:
            if isinstance(command, HttpRequestHeadersHook):
                command.flow.metadata[NAMED_HOSTS] = named
            return command

        yield from _mapped(super().state_wait_for_request_headers(event), tell)

    def state_consume_request_body(self, event: events.Event) -> Commands:
        """Send up what the bridge says, not what the flow shows."""
        yield from _mapped(super().state_consume_request_body(event), self._with_outgoing_head)

    def handle_event(self, event: events.Event) -> Commands:
        """Tell the bridge at once when the client leaves, even while a hook is waiting."""
        if isinstance(event, RequestProtocolError):
            self.bridge.client_aborted(self.flow)
        if self._attempt and isinstance(event, RESPONSE_EVENTS):
            self._attempt.note_refusal(event.data if isinstance(event, ResponseData) else b"")
            return _nothing()
        return super().handle_event(event)

    def state_wait_for_response_headers(self, event: events.Event) -> Commands:
        """Take no switch to another protocol that the bridge does not let pass."""
        head = event.response if isinstance(event, ResponseHeaders) else None
        if (
            head
            and head.status_code == SWITCHING
            and not self.bridge.allows_protocol_switch(self.flow, head)
        ):
            yield from self._refuse_switch()
        elif head and (attempt := self.bridge.second_attempt(self.flow, head.status_code)):
            self._attempt = attempt
            yield from relay_second_response(attempt, self.stream_id, self._handle_event)
        else:
            yield from super().state_wait_for_response_headers(event)

    def _refuse_switch(self) -> Commands:
        """Fail as if nobody had answered; what the server still says is in no known protocol."""
        code = ErrorCode.GENERIC_SERVER_ERROR
        left = RequestProtocolError(self.stream_id, _SWITCHED, code)
        yield SendHttp(left, self.context.server)
        yield from self.handle_protocol_error(
            ResponseProtocolError(self.stream_id, _SWITCHED, code)
        )

    def state_stream_response_body(self, event: events.Event) -> Commands:
        """Send what the tap lets go on, then wait for what it holds."""
        yield from super().state_stream_response_body(event)
        yield from self._send_held()

    def send_response(self, already_streamed: bool = False) -> Commands:
        """Send what the tap still holds before the end of the message."""
        if already_streamed:
            yield from self._send_held()
        yield from super().send_response(already_streamed)

    def _send_held(self) -> Commands:
        """Ask for what goes on in place of what is held, until the tap says that was all."""
        tap = self.flow.response.stream if self.flow.response else None
        while isinstance(tap, BodyTap) and tap.is_waiting:
            tap.is_waiting = False  # the hook says so again if there is more to come
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
        """Let the `error` hook answer, by `flow.response`, where nobody has answered yet."""
        # The head of an answer goes on when its body streams, or with its whole body.
        unanswered = self.server_state not in (self.state_stream_response_body, self.state_done)
        for command in super().handle_protocol_error(event):
            is_the_page = isinstance(command, SendHttp) and command.event is event
            if is_the_page and unanswered and self.flow.response:
                yield from self._send_whole(self.flow.response)
            elif self._attempt and _goes_to(command, self.context.server):
                pass  # its connection may serve another request now
            else:
                yield command

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse also what mitmproxy would pass on although a server may read it differently."""
        if request:
            http1.unfold(self.flow.request)
            if problem := http1.malformed(self.mode, self.flow.request):
                yield from self._refuse_malformed(problem)
                return True
        return (yield from super().check_invalid(request))

    def _refuse_malformed(self, problem: str) -> Commands:
        """Answer 400, as mitmproxy does where its own validation fails."""
        self.flow.error = Error(problem)
        yield HttpRequestHeadersHook(self.flow)
        yield HttpErrorHook(self.flow)
        code = ErrorCode.REQUEST_VALIDATION_FAILED
        yield SendHttp(ResponseProtocolError(self.stream_id, problem, code), self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored

    def check_body_size(self, request: bool) -> Commands:
        """Let the `error` hook answer for a body that is too large; stream an answer that is."""
        if request and (yield from self._refuse_early()):
            return True
        held = None if request else self.bridge.hold_limit(self.flow, self.response_body_buf)
        if held is not None:
            if self._answer_size() > held:
                yield from self._stream_from_here()
            return False
        before = self.flow.response
        is_too_large = False
        for command in super().check_body_size(request):
            is_the_page = isinstance(command, SendHttp) and isinstance(
                command.event, ResponseProtocolError
            )
            is_too_large = is_too_large or is_the_page
            answer = self.flow.response
            if is_the_page and answer is not None and answer is not before:
                yield from self._answer_early(answer)
            else:
                yield command
        return is_too_large

    def _refuse_early(self) -> layer.CommandGenerator[bool]:
        """Answer a request that is refused, although its body has not come whole."""
        size, answer = len(self.request_body_buf), None
        if size > HELD_OF_STRANGERS:
            answer = self.bridge.refusal_before_body(self.flow)
        if size and answer is None:
            answer = self.bridge.refusal_of_size(self.flow, size)
        if answer is None:
            return False
        self.request_body_buf.clear()
        self.flow.error = Error(REFUSED_UNREAD)
        yield HttpErrorHook(self.flow)
        yield from self._answer_early(answer)
        self.client_state = self.state_errored
        self.flow.live = False
        return True

    def _answer_size(self) -> int:
        """Return how large an answer has grown, or else is said to be."""
        if self.response_body_buf:
            return len(self.response_body_buf)
        try:
            return expected_http_body_size(self.flow.request, self.flow.response) or 0
        except ValueError:  # nobody knows; mitmproxy says so where it matters
            return 0

    def _stream_from_here(self) -> Commands:
        """Send what has come of an answer, and what comes as it comes: as mitmproxy would."""
        self.bridge.stream_response(self.flow)
        if self.response_body_buf:
            begun = bytes(self.response_body_buf)
            self.response_body_buf.clear()
            yield from self.start_response_stream()
            yield from self.server_state(ResponseData(self.stream_id, begun))

    def _answer_early(self, response: http.Response) -> Commands:
        """Answer while the request still comes. The rest of it is read, and forgotten.

        Where it is not read, many clients see a broken connection in place of the answer.
        """
        if not self.flow.request.is_http2:
            response.headers["connection"] = "close"
        yield from self._send_whole(response)
        yield DropStream(self.stream_id)

    def _with_outgoing_head(self, command: commands.Command) -> commands.Command:
        if isinstance(command, SendHttp) and isinstance(command.event, RequestHeaders):
            head = replace(command.event, request=self.bridge.outgoing_request(self.flow))
            return SendHttp(head, command.connection)
        return command

    def _send_whole(self, response: http.Response) -> Commands:
        body = response.raw_content or b""
        for part in (
            ResponseHeaders(self.stream_id, response, end_stream=not body),
            ResponseData(self.stream_id, body),
            ResponseEndOfMessage(self.stream_id),
        ):
            yield SendHttp(part, self.context.client)


def _named_hosts(request: http.Request) -> list[str]:
    """Return the authorities of a request: `Host`, `:authority` and that of an absolute target."""
    hosts = (request.authority, *request.headers.get_all("host"))
    return list(dict.fromkeys(filter(None, hosts)))


def _nothing() -> Commands:
    yield from ()


def _goes_to(command: commands.Command, connection: Connection) -> bool:
    return isinstance(command, SendHttp) and command.connection is connection


def _mapped(original: Commands, change: Callable[[commands.Command], commands.Command]) -> Commands:
    """Run a generator of commands with each command changed, handing replies back to it."""
    reply = None
    while True:
        try:
            command = original.send(reply)
        except StopIteration:
            return
        reply = yield change(command)


def install(first: layer.Layer | None, bridge: Bridge) -> None:
    """Make the HTTP layer of a stack of new layers, if it has one, one of ours."""
    while first is not None:
        if type(first) is HttpLayer:
            # A second layer would enter itself into the context's stack beside the first.
            first.__class__ = BridgeLayer
            first.bridge = bridge  # type: ignore[attr-defined]
        first = getattr(first, "child_layer", None)
