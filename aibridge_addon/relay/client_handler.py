"""Finds mitmproxy's handler of a client's connection."""

from typing import TYPE_CHECKING

from mitmproxy import ctx
from mitmproxy.connection import Client
from mitmproxy.proxy.server import ConnectionHandler

if TYPE_CHECKING:  # its package imports all addons of mitmproxy
    from mitmproxy.addons.proxyserver import Proxyserver


def handler_of(client: Client) -> ConnectionHandler | None:
    """Return the handler of a client's connection; None for a replayed request."""
    server: Proxyserver | None = ctx.master.addons.get("proxyserver")
    return server.connections.get(client.id) if server else None
