"""Streams of an HTTP/2 connection that its peer leaves by GOAWAY."""

from typing import Any

import h2.config
import h2.connection
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame
from mitmproxy import options
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.connection import Server as ServerConnection
from mitmproxy.http import Request
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    GetHttpConnection,
    Http2Server,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from aibridge_addon.relay.http2_goaway import LeavableHttp2Client, is_unprocessed, use_in_mitmproxy

use_in_mitmproxy()

REQUEST = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a.example")]
HEAD = [(":status", "200")]


def new_context() -> context.Context:
    known = options.Options()
    known.add_option("validate_inbound_headers", bool, True, "")
    known.add_option("normalize_outbound_headers", bool, True, "")
    known.add_option("http2_ping_keepalive", int, 0, "")
    peer = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=0)
    peer.state = ConnectionState.OPEN
    return context.Context(peer, known)


class Upstream:
    """The proxy's connection to a provider, and the provider."""

    def __init__(self) -> None:
        made = new_context()
        made.server = ServerConnection(address=("api.example.com", 443))
        made.server.state = ConnectionState.OPEN
        self.connection = LeavableHttp2Client(made)
        self.provider = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.events: list[Any] = []
        """Events that the proxy passed to its streams."""
        self.is_closed = False
        self.provider.initiate_connection()
        self.handle(events.Start())
        self.send()

    def handle(self, event: events.Event) -> None:
        for command in self.connection.handle_event(event):
            if isinstance(command, commands.SendData):
                self.provider.receive_data(command.data)
            elif isinstance(command, commands.CloseConnection):
                self.is_closed = True
                self.connection.conn.state = ConnectionState.CLOSED
            elif isinstance(command, ReceiveHttp):
                self.events.append(command.event)

    def send(self, more: bytes = b"") -> None:
        if data := self.provider.data_to_send() + more:
            self.handle(events.DataReceived(self.connection.conn, data))

    def request(self, stream: int) -> None:
        made = Request.make("GET", "https://api.example.com/")
        made.http_version, made.authority = "HTTP/2.0", "api.example.com"
        self.handle(RequestHeaders(stream, made, end_stream=True))

    def respond(self, stream: int) -> None:
        self.provider.send_headers(stream, HEAD, end_stream=True)
        self.send()

    def leave(self, last: int, error: int = ErrorCodes.NO_ERROR) -> None:
        self.send(GoAwayFrame(0, last_stream_id=last, error_code=error).serialize())

    def seen(self, kind: type[Any]) -> list[int]:
        return [event.stream_id for event in self.events if isinstance(event, kind)]


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


def test_open_streams_are_completed_and_then_the_connection_is_closed(upstream: Upstream) -> None:
    upstream.request(11)
    upstream.request(13)
    upstream.leave(2**31 - 1)
    upstream.respond(1)
    upstream.leave(3)
    assert upstream.seen(ResponseEndOfMessage) == [11]
    assert not upstream.is_closed
    upstream.respond(3)
    assert upstream.seen(ResponseHeaders) == upstream.seen(ResponseEndOfMessage) == [11, 13]
    assert upstream.seen(ResponseProtocolError) == []
    assert upstream.is_closed


def test_streams_that_the_provider_did_not_process_fail(upstream: Upstream) -> None:
    upstream.request(11)
    upstream.request(13)
    upstream.leave(1)
    assert upstream.seen(ResponseProtocolError) == [13]
    assert is_unprocessed(upstream.events[-1].message)
    upstream.respond(1)
    assert upstream.seen(ResponseEndOfMessage) == [11]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ErrorCodes.REFUSED_STREAM, True), (ErrorCodes.INTERNAL_ERROR, False)],
    ids=str,
)
def test_refused_stream_was_not_processed(
    upstream: Upstream, error: ErrorCodes, *, expected: bool
) -> None:
    upstream.request(11)
    upstream.request(13)
    upstream.provider.reset_stream(3, error)
    upstream.send()
    assert upstream.seen(ResponseProtocolError) == [13]
    assert is_unprocessed(upstream.events[-1].message) == expected
    upstream.respond(1)
    assert upstream.seen(ResponseEndOfMessage) == [11]


def test_stream_that_is_refused_after_its_head_was_processed(upstream: Upstream) -> None:
    upstream.request(11)
    upstream.provider.send_headers(1, HEAD)
    upstream.provider.reset_stream(1, ErrorCodes.REFUSED_STREAM)
    upstream.send()
    assert upstream.seen(ResponseProtocolError) == [11]
    assert not is_unprocessed(upstream.events[-1].message)


def test_queued_and_later_requests_fail_and_are_not_sent(upstream: Upstream) -> None:
    upstream.provider.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    upstream.send()
    for stream in (11, 13):
        upstream.request(stream)
    upstream.leave(2**31 - 1)
    upstream.request(15)
    assert upstream.seen(ResponseProtocolError) == [13, 15]
    upstream.respond(1)
    assert upstream.seen(ResponseEndOfMessage) == [11]
    assert upstream.provider.highest_inbound_stream_id == 1


def test_stream_that_the_proxy_cancels_is_not_reported_again(upstream: Upstream) -> None:
    upstream.request(11)
    upstream.leave(2**31 - 1)
    upstream.handle(RequestProtocolError(11, "silent", ErrorCode.GENERIC_SERVER_ERROR))
    assert upstream.is_closed
    assert upstream.seen(ResponseProtocolError) == []


def test_connection_that_is_left_takes_no_further_request(upstream: Upstream) -> None:
    connection = upstream.connection.conn
    connection.tls = True
    wanted = GetHttpConnection(("api.example.com", 443), True, None)
    assert wanted.connection_spec_matches(connection)
    upstream.request(11)
    upstream.leave(1)
    assert not wanted.connection_spec_matches(connection)


@pytest.mark.parametrize("opened", [0, 1])
def test_error_or_goaway_without_streams_closes_the_connection(
    upstream: Upstream, opened: int
) -> None:
    if opened:
        upstream.request(11)
    upstream.leave(1, ErrorCodes.ENHANCE_YOUR_CALM if opened else ErrorCodes.NO_ERROR)
    assert upstream.is_closed
    assert upstream.seen(ResponseProtocolError) == [11] * opened


def test_client_that_leaves_gets_its_open_response() -> None:
    server = Http2Server(new_context())
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.send_headers(1, REQUEST, end_stream=True)
    goaway = GoAwayFrame(0, last_stream_id=0).serialize()
    list(server.handle_event(events.Start()))
    received = events.DataReceived(server.conn, client.data_to_send() + goaway)
    done = list(server.handle_event(received))
    assert not any(isinstance(each, commands.CloseConnection) for each in done)
    assert not server.is_closed(1)
