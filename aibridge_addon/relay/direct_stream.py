"""Opens the direct way of a streamed body where all layers between its ends are known.

Depends on private names; see `direct_names`.
"""

import asyncio
from typing import cast

from mitmproxy.connection import Server
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers import ClientTLSLayer, ServerTLSLayer
from mitmproxy.proxy.layers.http import (
    HttpClient,
    HttpLayer,
    HttpStream,
    RequestProtocolError,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.modes import HttpProxy, ReverseProxy
from mitmproxy.proxy.tunnel import TunnelState

from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.client_handler import handler_of
from aibridge_addon.relay.command_generators import Commands
from aibridge_addon.relay.connection_handlers import DeliversEvents
from aibridge_addon.relay.direct_way import DirectReader, DirectWay, Ends
from aibridge_addon.relay.http1 import Http1ClientConnection, Http1ServerConnection
from aibridge_addon.relay.masked_responses import MaskingStream


class DirectStream(MaskingStream):
    """A stream whose response body may take the direct way."""

    bridge: Bridge
    _reader: DirectReader | None = None

    def start_response_stream(self) -> Commands:
        """Send the head, and open the direct way for the body."""
        yield from super().start_response_stream()
        if self.bridge.relays_directly:
            self._open()

    def send_response(self, already_streamed: bool = False) -> Commands:
        """Send a response, or the end of a streamed one."""
        self._close()
        yield from super().send_response(already_streamed)

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        """End the stream with an error."""
        self._close()
        yield from super().handle_protocol_error(event)

    def _open(self) -> None:
        response, options = self.flow.response, self.context.options
        tap = response.stream if response else None
        is_plain = not options.store_streamed_bodies and self.debug is None
        if isinstance(tap, BodyTap) and is_plain and (ends := _find_ends(self)):
            self._reader = DirectReader.of(ends.handler.transports[ends.server].reader)
            if self._reader:
                self._reader.way = DirectWay(self, tap, ends)

    def _close(self) -> None:
        if self._reader:
            self._reader.way = None
            self._reader = None


def _find_ends(stream: HttpStream) -> Ends | None:
    """Return the ends of a stream's body; None if anything between them is not known."""
    context = stream.context
    parent = cast("HttpLayer", context.layers[-2])
    client_http = parent.connections.get(context.client)
    server_side = _server_side(parent.connections.get(stream.flow.server_conn))
    client_tls = [a for a in context.layers if type(a) is ClientTLSLayer]
    handler = handler_of(context.client)
    if (
        not isinstance(handler, DeliversEvents)
        or server_side is None
        or type(client_http) is not Http1ClientConnection
        or len(client_tls) > 1
        or stream.client_state != stream.state_done
        or not all(_passes_unchanged(a, stream.flow.server_conn) for a in context.layers[:-2])
    ):
        return None
    server_io = handler.transports.get(stream.flow.server_conn)
    client_io = handler.transports.get(context.client)
    writer = client_io.writer if client_io else None
    if server_io is None or not isinstance(writer, asyncio.StreamWriter):
        return None
    return Ends(
        handler=handler,
        server=stream.flow.server_conn,
        server_tls=next((a for a in server_side if isinstance(a, ServerTLSLayer)), None),
        server_http=cast("Http1ServerConnection", server_side[-1]),
        client_http=client_http,
        client_tls=client_tls[0] if client_tls else None,
        client_writer=writer,
        layers=(*context.layers, *server_side, client_http),
    )


def _server_side(first: layer.Layer | None) -> list[layer.Layer] | None:
    """Return the layers of a server's connection, the last of which reads HTTP/1."""
    found: list[layer.Layer] = []
    while type(first) in (ServerTLSLayer, HttpClient):
        is_closed = isinstance(first, ServerTLSLayer) and first.tunnel_state is not TunnelState.OPEN
        if is_closed:
            return None
        found.append(cast("layer.Layer", first))
        first = cast("HttpClient", first).child_layer
    return [*found, first] if type(first) is Http1ServerConnection else None


def _passes_unchanged(above: layer.Layer, server: Server) -> bool:
    """Return True if a layer above the HTTP layer passes, or encrypts, what the client receives."""
    match above:
        case ServerTLSLayer():  # for another connection: in a tunnel it waits for one of its own
            return above.conn is not server
        case ClientTLSLayer():
            return above.tunnel_state is TunnelState.OPEN
        case HttpStream():
            return bool(above._handle_event == above.passthrough)
        case HttpLayer():  # of the CONNECT request
            http = above.connections.get(above.context.client)
            return type(http) is Http1ClientConnection and http.state == http.passthrough
    return type(above) in (ReverseProxy, HttpProxy)
