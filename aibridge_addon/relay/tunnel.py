"""Which connections are left alone: those to hosts that belong to no provider instance.

A connection is known by where it goes and, in TLS, by the server name that the client says. If none
of its names is a provider's, it is tunnelled: neither decrypted nor looked into. If one is, it is
HTTP, or it is no connection. mitmproxy would guess, and pass on raw what does not look like HTTP
at once: past every hook, and so past tokens and records.
"""

import struct
from collections.abc import Callable
from enum import Enum, auto

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer, modes
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.quic import ClientQuicLayer, ServerQuicLayer
from mitmproxy.proxy.layers.tls import parse_client_hello

_HANDSHAKE = 0x16
_CLIENT_HELLO = 0x01
_RECORD_HEADER = struct.Struct("!BBBH")
"""Kind, version, length."""
_BLANK = b"\r\n"
LARGEST_HELLO = 64 * 1024
"""Bytes of a TLS client hello, which is held until it has come whole."""


def must_tunnel(data: layer.NextLayer, is_provider_host: Callable[[str], bool]) -> bool | None:
    """Whether the connection that a next layer is asked for goes to no provider.

    None: that cannot be told yet, since the client has not said enough.
    """
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


def tunnel(context: Context) -> layer.Layer:
    """Return a layer that passes bytes on and makes no flow."""
    return layers.TCPLayer(context, ignore=True)


class NotHttpError(Exception):
    """A connection that must be HTTP cannot become that; the message says why, and counts it."""


def is_proxy_mode(context: Context) -> bool:
    """Whether the mode says what comes: to the reverse proxy, or to the forward proxy itself."""
    return isinstance(context.layers[0], modes.ReverseProxy) or context.server.address is None


def interception_layer(data: layer.NextLayer) -> layer.Layer | None:
    """Return what reads a connection to a provider. None: too little has come to tell.

    Raises:
        NotHttpError: nothing of ours would read it.
    """
    context = data.context
    match _kind(data):
        case _Kind.UNKNOWN:
            return None
        case _Kind.TLS:
            first = ServerTLSLayer(context)
            first.child_layer = ClientTLSLayer(context)
            return first
    # HTTP, or nonsense: then the parser says so to the client.
    return HttpLayer(context, HTTPMode.transparent) if _skip_blank_lines(data) else None


def protocol_is_known(data: layer.NextLayer) -> bool:
    """Whether enough has come to tell TLS from HTTP.

    Raises:
        NotHttpError: it is neither.
    """
    return _kind(data) is not _Kind.UNKNOWN


def require_http(first: layer.Layer) -> None:
    """Check that a stack of new layers ends in HTTP.

    Raises:
        NotHttpError: it does not, as where an option of mitmproxy has it ignored.
    """
    last = first
    while isinstance(last, ServerTLSLayer | ClientTLSLayer | ServerQuicLayer | ClientQuicLayer):
        last = last.child_layer
    if not isinstance(last, HttpLayer):
        raise NotHttpError("not_http")


class _Kind(Enum):
    """What a client speaks."""

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
        return _Kind.OTHER  # it was TLS, and is that once
    said = data.data_client()
    if starts_like_tls_record(said):
        return _Kind.TLS
    if _is_tls_record(said):  # servers take it, but mitmproxy would take it for anything else
        raise NotHttpError("unknown_tls")
    is_unknown = len(said) < 3 and bytes([_HANDSHAKE, 3]).startswith(said)
    return _Kind.UNKNOWN if is_unknown else _Kind.OTHER


def _skip_blank_lines(data: layer.NextLayer) -> bool:
    """Forget empty lines before a request (RFC 9112, 2.2); return whether anything else has come.

    mitmproxy's parser skips one, and then waits for more to come before it goes on.
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
    """The TLS client hello has not come whole."""


def _is_tls_record(data: bytes) -> bool:
    """Whether data begin as a handshake in TLS does, of whatever version its record says."""
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
    """Return records with a version that mitmproxy parses; servers do not look at it."""
    known, start = bytearray(data), 0
    while start + _RECORD_HEADER.size <= len(known) and _is_tls_record(data[start : start + 3]):
        known[start + 2] = 1
        *_, length = _RECORD_HEADER.unpack_from(known, start)
        start += _RECORD_HEADER.size + length
    return bytes(known)
