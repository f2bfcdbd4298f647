"""Connections of HTTP/2 end during a shutdown, and no request is lost or repeated."""

from typing import Any

import h2.connection
import h2.events
import pytest
from mitmproxy import options
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.http import Response
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import (
    ReceiveHttp,
    RequestHeaders,
    ResponseEndOfMessage,
    ResponseHeaders,
)

from aibridge_addon.relay.http2_shutdown import EndingHttp2Server

REQUEST = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/"),
    (":authority", "api.anthropic.com"),
]


class Connection:
    """A client of HTTP/2 and the proxy's side of its connection."""

    def __init__(self) -> None:
        self.client = h2.connection.H2Connection()
        self.options = options.Options()
        self.options.add_option("validate_inbound_headers", bool, True, "")
        self.options.add_option("normalize_outbound_headers", bool, True, "")
        peer = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=0)
        peer.state = ConnectionState.OPEN
        self.server = EndingHttp2Server(context.Context(peer, self.options))
        self.received: list[h2.events.Event] = []
        self.passed: list[Any] = []
        """Events that the proxy passed on to its streams."""
        self.is_closed = False
        self.client.initiate_connection()
        self._handle(events.Start())
        self.exchange()

    def exchange(self) -> None:
        """Send what the client has to send."""
        if data := self.client.data_to_send():
            self._handle(events.DataReceived(self.server.conn, data))

    def request(self) -> int:
        """Send a request; return the id of its stream."""
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, REQUEST, end_stream=True)
        self.exchange()
        return stream

    def respond(self, stream: int) -> None:
        """Send a response."""
        self._handle(ResponseHeaders(stream, Response.make(200, headers={}), end_stream=False))
        self._handle(ResponseEndOfMessage(stream))

    def _handle(self, event: events.Event) -> None:
        for command in self.server.handle_event(event):
            if isinstance(command, commands.SendData):
                self.received += self.client.receive_data(command.data)
            elif isinstance(command, commands.CloseConnection):
                self.is_closed = True
                self.server.conn.state = ConnectionState.CLOSED
            elif isinstance(command, ReceiveHttp):
                self.passed.append(command.event)

    @property
    def ends(self) -> list[tuple[int | None, int | None]]:
        """Error codes and last stream ids of the GOAWAYs that the client received."""
        return [
            (event.error_code, event.last_stream_id)
            for event in self.received
            if isinstance(event, h2.events.ConnectionTerminated)
        ]


@pytest.fixture
def connection() -> Connection:
    """A connection of a proxy that listens."""
    return Connection()


def test_connection_stays_while_the_proxy_listens(connection: Connection) -> None:
    connection.respond(connection.request())
    connection.respond(connection.request())
    assert connection.ends == []


def test_connection_ends_after_the_last_open_stream_of_a_shutdown(connection: Connection) -> None:
    first, second = connection.request(), connection.request()
    connection.options.update(server=False)
    connection.respond(first)
    assert connection.ends == []
    connection.respond(second)
    assert connection.ends == [(0, second)]
    assert not connection.is_closed


def test_request_of_an_idle_connection_is_served_before_it_ends(connection: Connection) -> None:
    connection.options.update(server=False)
    stream = connection.request()
    assert connection.ends == []
    connection.respond(stream)
    assert connection.ends == [(0, stream)]


def test_request_that_crosses_the_end_is_not_passed_on(connection: Connection) -> None:
    served = connection.request()
    connection.options.update(server=False)
    crossing = connection.client.get_next_available_stream_id()
    connection.client.send_headers(crossing, REQUEST, end_stream=True)
    data = connection.client.data_to_send()
    connection.respond(served)
    connection._handle(events.DataReceived(connection.server.conn, data))
    heads = [event for event in connection.passed if isinstance(event, RequestHeaders)]
    assert [head.stream_id for head in heads] == [served]
    assert connection.ends == [(0, served)]


def test_connection_closes_with_the_client(connection: Connection) -> None:
    connection.options.update(server=False)
    connection.respond(connection.request())
    connection._handle(events.ConnectionClosed(connection.server.conn))
    assert connection.is_closed
