"""Ends HTTP/2 connections of clients during a shutdown, by GOAWAY once no stream is open.

This module depends on mitmproxy's `proxy.layers.http` (12.2 and 12.3), which closes connections of
HTTP/2 without a GOAWAY. A client that asks without a pause would then lose a request.
"""

from collections.abc import Generator
from typing import Any

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import Http2Server


class EndingHttp2Server(Http2Server):
    """The connection of a client, which ends when the proxy no longer listens.

    GOAWAY names the last request that was served, so that a client may repeat any other elsewhere.
    It comes between streams, since some clients give up open streams too. The client closes the
    connection: closing it here could destroy what the client has not read yet.
    """

    def _handle_event(self, event: events.Event) -> Generator[commands.Command, Any]:
        yield from super()._handle_event(event)
        if self._is_at_end():
            self.h2_conn.close_connection()
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            self._handle_event = self._wait_for_close  # type: ignore[method-assign]

    def _is_at_end(self) -> bool:
        return (
            not self.context.options.server
            and self.conn.connected
            and self.h2_conn.highest_inbound_stream_id > 0
            and not self.h2_conn.open_inbound_streams
        )

    def _wait_for_close(self, event: events.Event) -> Generator[commands.Command, Any]:
        if isinstance(event, events.ConnectionClosed):
            yield from self.close_connection("peer closed connection")


def end_http2_connections() -> None:
    """Make mitmproxy end connections of HTTP/2 when it no longer listens."""
    http_layers.Http2Server = EndingHttp2Server  # type: ignore[misc]
