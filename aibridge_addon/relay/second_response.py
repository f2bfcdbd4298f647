"""Feeds the response to a second attempt to a client's stream, as if its upstream had sent it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)

from aibridge_addon.relay.held_answer import Piece
from aibridge_addon.relay.second_attempt import SecondAttempt

type Commands = layer.CommandGenerator[Any]

RESPONSE_EVENTS = (
    ResponseHeaders,
    ResponseData,
    ResponseTrailers,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
"""The events of an upstream's response; held if a second attempt may replace it."""


def hold(attempt: SecondAttempt, event: events.Event) -> None:
    """Note an event of the first response as a piece of it."""
    is_empty = isinstance(event, ResponseData) and not event.data
    if not is_empty and not isinstance(event, ResponseTrailers):
        attempt.note(_piece_of(event))


def _piece_of(event: events.Event) -> Piece:
    match event:
        case ResponseHeaders():
            return event.response
        case ResponseData():
            return bytes(event.data)
        case ResponseProtocolError():
            return event.message or "the connection failed"
    return b""


@dataclass
class AibridgeSecondAttemptHook(commands.StartHook):
    """Waits for the next piece of the response."""

    attempt: SecondAttempt


def relay_second_response(
    attempt: SecondAttempt, stream_id: int, handle: Callable[[events.Event], Commands]
) -> Commands:
    """Pass each piece of the response to `handle`, as an event of the upstream."""
    while True:
        yield AibridgeSecondAttemptHook(attempt)
        match attempt.piece:
            case None:  # the client has disconnected; that event is handled after this one
                return
            case http.Response() as head:
                yield from handle(ResponseHeaders(stream_id, head))
            case b"":
                yield from handle(ResponseEndOfMessage(stream_id))
                return
            case bytes() as data:
                yield from handle(ResponseData(stream_id, data))
            case message:
                code = ErrorCode.GENERIC_SERVER_ERROR
                yield from handle(ResponseProtocolError(stream_id, message, code))
                return
