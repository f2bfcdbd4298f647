"""Records tunnels to AI services that are not read: who, which host, how many bytes, how long.

Nothing in a tunnel is decrypted. A tunnel is recorded when its client disconnects.
"""

import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mitmproxy.connection import Client

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.first_request_timeout import FirstRequestTimeout
from aibridge_addon.facts import TunnelEnded, milliseconds, new_id, now
from aibridge_addon.observe.metric_table import TUNNELS
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers.identity import Actor, actor_of
from aibridge_addon.providers.unread_hosts import unread_service
from aibridge_addon.relay.tunnel import Traffic


@dataclass(slots=True, kw_only=True)
class _OpenTunnel:
    host: str
    service: str
    actor: str
    access_token_id: str | None
    traffic: Traffic = field(default_factory=Traffic)
    started_at: str = field(default_factory=now)
    started: float = field(default_factory=time.monotonic)

    def ended(self) -> TunnelEnded:
        return TunnelEnded(
            id=new_id(),
            initiator_id=self.actor,
            access_token_id=self.access_token_id,
            host=self.host,
            service=self.service,
            started_at=self.started_at,
            duration_ms=milliseconds(time.monotonic() - self.started) or 0,
            bytes_sent=self.traffic.sent,
            bytes_received=self.traffic.received,
        )


class Tunnels:
    """The open tunnels to AI services.

    Args:
        admission: knows the access tokens of connections.
        record: records a tunnel at its end.
        first_request: stops to wait for a request.
        metrics: counts all tunnels.
    """

    def __init__(
        self,
        admission: AdmissionControl,
        record: Callable[[TunnelEnded], None],
        first_request: FirstRequestTimeout,
        metrics: Metrics,
    ) -> None:
        self._admission = admission
        self._record = record
        self._first_request = first_request
        self._metrics = metrics
        self._open: dict[Client, _OpenTunnel] = {}
        self._users: weakref.WeakKeyDictionary[Client, str] = weakref.WeakKeyDictionary()
        self.known_actors: Mapping[str, Actor] = {}

    def note_user(self, client: Client, user: str) -> None:
        """Remember the user whose login mitmproxy accepted for a connection."""
        self._users[client] = user

    def open(self, client: Client, host: str) -> Traffic | None:
        """Begin a tunnel; return where its bytes are counted, None for other hosts."""
        self._metrics.count(TUNNELS)
        self._first_request.stop(client)
        service = unread_service(host)
        if service is None:
            return None
        token = self._admission.token_of_connection(client)
        actor = actor_of(
            proxy_user=self._users.get(client),
            token_owner=token.initiator_id if token else None,
            header_value=None,
            credential=None,
            known_actors=self.known_actors,
        )
        tunnel = self._open[client] = _OpenTunnel(
            host=host.lower(),
            service=service,
            actor=actor.id,
            access_token_id=token.id if token else None,
        )
        return tunnel.traffic

    def end(self, client: Client) -> None:
        """Record the tunnel of a client that has disconnected, if it had one."""
        self._first_request.stop(client)
        if tunnel := self._open.pop(client, None):
            self._record(tunnel.ended())

    def end_all(self) -> None:
        """Record the tunnels that are open at the end of the proxy."""
        for client in tuple(self._open):
            self.end(client)
