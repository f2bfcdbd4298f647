"""Chooses the layer of a new connection: tunnelled, intercepted as HTTP, or closed.

A connection that would bypass access tokens and records is closed; each kind is logged once.
"""

import logging
from collections.abc import Callable

from mitmproxy import ctx, exceptions
from mitmproxy.connection import Client
from mitmproxy.proxy import layer

from aibridge_addon.access.admission import RefusedConnection
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.mitm_layers import install
from aibridge_addon.relay.tunnel import (
    NotHttpError,
    Traffic,
    host_of,
    interception_layer,
    is_proxy_mode,
    must_tunnel,
    protocol_is_known,
    require_http,
    tunnel,
)

logger = logging.getLogger(__name__)


class NextLayer:
    """Chooses layers in place of mitmproxy's own addon of that name.

    Args:
        bridge: decides for the HTTP layers of intercepted connections.
        is_provider_host: returns True for hosts of provider instances.
        allows_tunnel: returns True if a client may open a tunnel to another host.
        on_tunnel: called with client and host of each tunnel; returns where to count its bytes.
        on_refused: called with the reason for each connection that is closed.
    """

    def __init__(
        self,
        bridge: Bridge,
        *,
        is_provider_host: Callable[[str], bool],
        allows_tunnel: Callable[[Client], bool],
        on_tunnel: Callable[[Client, str], Traffic | None],
        on_refused: Callable[[str], None],
    ) -> None:
        self._bridge = bridge
        self._is_provider_host = is_provider_host
        self._allows_tunnel = allows_tunnel
        self._on_tunnel = on_tunnel
        self._on_refused = on_refused
        self._logged: set[str] = set()

    def choose(self, data: layer.NextLayer) -> None:
        """Set the next layer, or leave it open until more data has arrived.

        Raises:
            AddonHalt: more data is needed; mitmproxy's own addon would not wait.
        """
        try:
            data.layer = self._layer_of(data)
        except NotHttpError as error:
            self._close(data, error)
        except Exception as error:  # noqa: BLE001 the edge; mitmproxy might relay it unread
            self._close(data, error)
        if data.layer is None:
            raise exceptions.AddonHalt

    def _layer_of(self, data: layer.NextLayer) -> layer.Layer | None:
        client = data.context.client
        tunnelled = must_tunnel(data, self._is_provider_host)
        if tunnelled is None:
            return None
        if tunnelled and not self._allows_tunnel(client):
            return RefusedConnection(data.context)
        if tunnelled:
            return tunnel(data.context, self._on_tunnel(client, host_of(data)))
        if is_proxy_mode(data.context):
            chosen = _mitmproxys_layer(data) if protocol_is_known(data) else None
        else:
            chosen = interception_layer(data)
        install(chosen, self._bridge)
        return chosen

    def _close(self, data: layer.NextLayer, error: Exception) -> None:
        data.layer = RefusedConnection(data.context)
        is_bug = not isinstance(error, NotHttpError)
        self._on_refused("bug" if is_bug else str(error))
        if (kind := f"{type(error).__name__} {'' if is_bug else error}") not in self._logged:
            self._logged.add(kind)
            message = "aibridge: closed a connection that would bypass the records (%s)"
            what, level = ("internal error", logging.ERROR) if is_bug else (error, logging.WARNING)
            logger.log(level, message, what, exc_info=error if is_bug else None)


def _mitmproxys_layer(data: layer.NextLayer) -> layer.Layer | None:
    ctx.master.addons.get("nextlayer").next_layer(data)
    if data.layer:
        require_http(data.layer)
    return data.layer
