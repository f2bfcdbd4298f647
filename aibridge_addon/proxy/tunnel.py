"""Which connections are left alone: those to hosts that belong to no provider instance.

A connection is known by where it goes and, in TLS, by the server name that the client says. If none
of its names is a provider's, it is tunnelled: neither decrypted nor looked into.
"""

from collections.abc import Callable

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.tls import parse_client_hello


def must_tunnel(data: layer.NextLayer, is_provider_host: Callable[[str], bool]) -> bool | None:
    """Whether the connection that a next layer is asked for goes to no provider.

    None: that cannot be told yet, since the client has not said enough.
    """
    context = data.context
    if isinstance(context.layers[0], modes.ReverseProxy):
        return False
    if context.server.address is None:  # the client still speaks to the proxy itself
        return False
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


class _IncompleteError(Exception):
    """The TLS client hello has not come whole."""


def _server_name(data: bytes) -> str | None:
    if not starts_like_tls_record(data):
        return None
    try:
        hello = parse_client_hello(data)
    except ValueError:
        return None
    if hello is None:
        raise _IncompleteError
    return hello.sni
