"""Checks refused keys in the background, by the request for a list of models of their provider."""

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from mitmproxy import http
from mitmproxy.connection import Client, Server

from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.inner_call import InnerCallExchange
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.send_dependencies import Register
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.routing import Route
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.further_send import FurtherSend
from aibridge_addon.relay.held_answer import HeldAnswer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Time between two looks for keys that are due."""
_CHECK_SECONDS = 20.0
_MAX_BYTES = 1024 * 1024
_REFUSED = frozenset({401, 403})


class KeyChecks:
    """Checks keys from `start` to `close`."""

    def __init__(
        self,
        pools: KeyPools,
        *,
        bridge: Bridge,
        register: Register,
        secret_of: Callable[[CentralKey], str],
    ) -> None:
        self._pools = pools
        self._bridge = bridge
        self._register = register
        self._secret_of = secret_of
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Look for keys that are due from now on; does nothing without pools."""
        if self._timer is None and self._pools.pools():
            self._look()

    def close(self) -> None:
        """Stop, and cancel the checks that run."""
        if self._timer:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _look(self) -> None:
        for provider, pool in self._pools.pools():
            for key in pool.due_checks():
                task = asyncio.create_task(self._check(provider, key), name="aibridge key check")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    async def _check(self, provider: Provider, key: CentralKey) -> None:
        is_valid = None
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                is_valid = await self._is_valid(provider, key)
        except TimeoutError:
            pass
        except Exception:  # the edge: the key must be checked again
            logger.exception("aibridge: the key %s of %s is not checked", key.env, provider.name)
        if pool := self._pools.find(provider.name):
            pool.checked(key, is_valid=is_valid)

    async def _is_valid(self, provider: Provider, key: CentralKey) -> bool | None:
        """Return whether the provider accepts a key; None if it was not reached.

        Only a refusal counts against the key: not all hosts have a list of models.
        """
        answer = HeldAnswer()
        request = self._request(provider, key)
        send = FurtherSend(request.flow, self._bridge, answer)
        inner = InnerCallExchange(request, provider.provider_type.errors, send)
        async with self._register(inner), send:
            await answer.wait_for_head()
        if answer.head is None or answer.head.status_code >= 500:
            return None
        return answer.head.status_code not in _REFUSED

    def _request(self, provider: Provider, key: CentralKey) -> ClientRequest:
        kind, secret = provider.provider_type, self._secret_of(key)
        flow = _flow(f"{provider.base_url.rstrip('/')}{kind.key_probe}")
        flow.request.headers.update(kind.key_probe_headers)
        route = Route(provider=provider, label=kind.key_probe, api=None, upstream=None)
        request = ClientRequest(flow=flow, route=route, max_bytes=_MAX_BYTES)
        request.use_key(kind.authorization(secret), Credential(kind="centralized", secret=secret))
        return request


def _flow(url: str) -> http.HTTPFlow:
    """Return a flow that sends a request of the proxy's own."""
    nowhere = ("", 0)
    client = Client(peername=nowhere, sockname=nowhere, timestamp_start=time.time())
    flow = http.HTTPFlow(client, Server(address=None))
    flow.request = http.Request.make("GET", url)
    flow.request.headers["host"] = urlsplit(url).netloc
    flow.is_replay = "request"
    flow.comment = "check of a central key"
    return flow
