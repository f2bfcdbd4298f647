"""Tunnels connections to hosts of no provider instance, and allows only HTTP to providers.

The address of a connection and the TLS server name decide. A tunnelled connection is not decrypted.
mitmproxy would relay data to a provider that does not look like HTTP without calling any hook, and
so without access tokens and records.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer, modes
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.quic import ClientQuicLayer, ServerQuicLayer
from mitmproxy.proxy.layers.tls import parse_client_hello

from aibridge_addon.addresses import literal

_HANDSHAKE = 0x16
_CLIENT_HELLO = 0x01
_RECORD_HEADER = struct.Struct("!BBBH")
"""Kind, version, length."""
_BLANK = b"\r\n"
LARGEST_HELLO = 64 * 1024
"""Bytes of a TLS client hello, which is buffered until it is complete."""


def must_tunnel(data: layer.NextLayer, is_provider_host: Callable[[str], bool]) -> bool | None:
    """Return True if a connection goes to no provider; None if more data is needed to decide."""
    context = data.context
    if is_proxy_mode(context):
        return False
    assert context.server.address
    if is_provider_host(context.server.address[0]):
        return False
    try:
        server_name = context.client.sni or _server_name(data.data_client())
    except _IncompleteError:
        return None
    return not (server_name and is_provider_host(server_name))


def host_of(data: layer.NextLayer) -> str:
    """Return the host that a client asks for; for a connection by address, its server name."""
    context = data.context
    assert context.server.address
    host: str = context.server.address[0]
    if literal(host) is None:
        return host
    try:
        return context.client.sni or _server_name(data.data_client()) or host
    except _IncompleteError:
        return host


@dataclass(slots=True)
class Traffic:
    """Bytes that passed through a tunnel."""

    sent: int = 0
    """Bytes from the client."""
    received: int = 0
    """Bytes to the client."""


def tunnel(context: Context, traffic: Traffic | None = None) -> layer.Layer:
    """Return a layer that relays bytes without creating a flow, and counts them in `traffic`."""
    if traffic is None:
        return layers.TCPLayer(context, ignore=True)
    return _CountedTunnel(context, traffic)


class _CountedTunnel(layers.TCPLayer):
    """A tunnel whose bytes are counted."""

    def __init__(self, context: Context, traffic: Traffic) -> None:
        super().__init__(context, ignore=True)
        self._traffic = traffic

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            if event.connection is self.context.client:
                self._traffic.sent += len(event.data)
            else:
                self._traffic.received += len(event.data)
        yield from super().relay_messages(event)


class NotHttpError(Exception):
    """A connection that must be HTTP is not; the message is the reason code for metrics."""


def is_proxy_mode(context: Context) -> bool:
    """Return True if the mode determines the protocol: requests to the proxy itself."""
    return isinstance(context.layers[0], modes.ReverseProxy) or context.server.address is None


def interception_layer(data: layer.NextLayer) -> layer.Layer | None:
    """Return the layer for a connection to a provider; None if more data is needed to decide.

    Raises:
        NotHttpError: the connection is not HTTP.
    """
    context = data.context
    match _kind(data):
        case _Kind.UNKNOWN:
            return None
        case _Kind.TLS:
            first = ServerTLSLayer(context)
            first.child_layer = ClientTLSLayer(context)
            return first
    # If it is not HTTP, the parser reports that to the client.
    return HttpLayer(context, HTTPMode.transparent) if _skip_blank_lines(data) else None


def protocol_is_known(data: layer.NextLayer) -> bool:
    """Return True if enough data has arrived to distinguish TLS from HTTP.

    Raises:
        NotHttpError: it is neither.
    """
    return _kind(data) is not _Kind.UNKNOWN


def require_http(first: layer.Layer) -> None:
    """Check that a stack of new layers ends in HTTP.

    Raises:
        NotHttpError: it does not, for example because a mitmproxy option ignores the host.
    """
    last = first
    while isinstance(last, ServerTLSLayer | ClientTLSLayer | ServerQuicLayer | ClientQuicLayer):
        last = last.child_layer
    if not isinstance(last, HttpLayer):
        raise NotHttpError("not_http")


class _Kind(Enum):
    """The protocol of a client."""

    UNKNOWN = auto()
    TLS = auto()
    OTHER = auto()


def _kind(data: layer.NextLayer) -> _Kind:
    context = data.context
    if context.client.transport_protocol != "tcp":
        if is_proxy_mode(context):
            return _Kind.OTHER
        raise NotHttpError("udp_to_provider")
    if isinstance(context.layers[-1], ClientTLSLayer):
        return _Kind.OTHER  # TLS is not nested
    received = data.data_client()
    if starts_like_tls_record(received):
        return _Kind.TLS
    if _is_tls_record(received):  # servers accept it, but mitmproxy does not detect it
        raise NotHttpError("unknown_tls")
    is_unknown = len(received) < 3 and bytes([_HANDSHAKE, 3]).startswith(received)
    return _Kind.UNKNOWN if is_unknown else _Kind.OTHER


def _skip_blank_lines(data: layer.NextLayer) -> bool:
    """Drop empty lines before a request (RFC 9112, 2.2); return True if more data has arrived.

    mitmproxy's parser skips a single line, and then waits for more data before it continues.
    """
    if data.context.client.alpn == b"h2":
        return True
    for event in data.events:
        if isinstance(event, events.DataReceived) and event.connection is data.context.client:
            event.data = event.data.lstrip(_BLANK)
            if event.data:
                return True
    return False


class _IncompleteError(Exception):
    """The TLS client hello is incomplete."""


def _is_tls_record(data: bytes) -> bool:
    """Return True if data starts a TLS handshake, whatever version its record has."""
    return len(data) > 2 and data[:2] == bytes([_HANDSHAKE, 3])


def _server_name(data: bytes) -> str | None:
    if not _is_tls_record(data) or data[5:6] not in (b"", bytes([_CLIENT_HELLO])):
        return None
    try:
        hello = parse_client_hello(_with_known_version(data))
    except ValueError:
        return None
    if hello is None and len(data) > LARGEST_HELLO:
        raise NotHttpError("client_hello_too_large")
    if hello is None:
        raise _IncompleteError
    return hello.sni


def _with_known_version(data: bytes) -> bytes:
    """Return records with a version that mitmproxy accepts; servers ignore it."""
    known, start = bytearray(data), 0
    while start + _RECORD_HEADER.size <= len(known) and _is_tls_record(data[start : start + 3]):
        known[start + 2] = 1
        *_, length = _RECORD_HEADER.unpack_from(known, start)
        start += _RECORD_HEADER.size + length
    return bytes(known)
