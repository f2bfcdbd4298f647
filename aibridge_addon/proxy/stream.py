"""The one file that knows mitmproxy's internals: a stream that can wait before it goes on.

mitmproxy offers no public way to wait for something in the middle of a streamed body, to change
what goes up without changing the flow, or to answer for an upstream that cannot be reached
(`mitmproxy.proxy.layers.http`, 12.2). `BridgeStream` adds these three, and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    HttpLayer,
    HttpStream,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    SendHttp,
)

from aibridge_addon.proxy.tap import BodyTap

type Commands = layer.CommandGenerator[Any]


class Bridge(Protocol):
    """What a stream asks of the addon."""

    def outgoing_request(self, flow: http.HTTPFlow) -> http.Request:
        """Return the request whose head goes up in place of the flow's."""

    def client_left(self, flow: http.HTTPFlow) -> None:
        """Learn that it is the client who broke off."""


@dataclass
class AibridgeHeldHook(commands.StartHook):
    """A tap holds the end of a response. It goes on when the hook, which may wait, is done."""

    tap: BodyTap


class BridgeLayer(HttpLayer):
    """An `HttpLayer` whose streams are `BridgeStream`s."""

    bridge: Bridge

    def make_stream(self, stream_id: int) -> Commands:
        """Make a stream of ours; otherwise as the original."""
        stream = BridgeStream(self.context.fork(), stream_id)
        stream.bridge = self.bridge
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())


class BridgeStream(HttpStream):
    """One request and its response."""

    bridge: Bridge

    def state_consume_request_body(self, event: events.Event) -> Commands:
        """Send up what the bridge says, not what the flow shows."""
        yield from _mapped(super().state_consume_request_body(event), self._with_outgoing_head)

    def handle_event(self, event: events.Event) -> Commands:
        """Tell the bridge at once when the client leaves, even while a hook is waiting."""
        if isinstance(event, RequestProtocolError):
            self.bridge.client_left(self.flow)
        return super().handle_event(event)

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
        while isinstance(tap, BodyTap) and tap.waiting:
            tap.waiting = False  # the hook says so again if there is more to come
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
            else:
                yield command

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
