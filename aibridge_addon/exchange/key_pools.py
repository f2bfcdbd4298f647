"""Key pools of all provider instances: gives each request its key, and learns from responses."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mitmproxy import http

from aibridge_addon.access.keys.affinity import Affinity, affinity_of
from aibridge_addon.access.keys.failures import Failure, classify
from aibridge_addon.access.keys.pool import Change, KeyPool, KeyRow
from aibridge_addon.access.keys.send_plan import OF_KEYS
from aibridge_addon.exchange.client_request import ClientRequest, PooledKey
from aibridge_addon.facts import BackgroundResponse, InterceptionEnded
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.headers import lowered
from aibridge_addon.providers.central_keys import CentralKey, model_class
from aibridge_addon.providers.credentials import Credential, mask
from aibridge_addon.providers.instance import Provider
from aibridge_addon.relay.responses import decoded_body

_MOST_BYTES = 1024 * 1024
"""Largest error body that is read."""

type OnKeyChange = Callable[[str, CentralKey, Change, str], None]
"""Receives the provider instance, the key, its change and the reason."""


class KeyPools:
    """The pools; they live as long as the proxy, and keep their state over other settings."""

    def __init__(
        self,
        on_change: OnKeyChange = lambda provider, key, change, reason: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._environ = environ
        self._pools: dict[str, KeyPool] = {}
        self._providers: dict[str, Provider] = {}
        self._sent: dict[str, tuple[KeyPool, CentralKey]] = {}
        """Pools and keys of recorded requests that have not ended."""

    def apply(self, providers: Iterable[Provider]) -> None:
        """Use the keys of these instances, as far as they are in the environment."""
        self._providers = {provider.name: provider for provider in providers if provider.keys}
        for name, provider in self._providers.items():
            keys = [key for key in provider.keys if key.secret(self._environ)]
            if (pool := self._pools.get(name)) is None:
                self._pools[name] = self._open(name, keys)
            else:
                pool.use(keys)

    def find(self, name: str) -> KeyPool | None:
        """Return the pool of an instance, if it has one."""
        return self._pools.get(name) if name in self._providers else None

    def pools(self) -> Iterable[tuple[Provider, KeyPool]]:
        """Return all instances with a pool."""
        return [(provider, self._pools[name]) for name, provider in self._providers.items()]

    def states(self) -> list[dict[str, Any]]:
        """Return the state of each key, as `/healthz` shows it."""
        return [
            {"provider": provider.name, **_state_of(row, row.key.secret(self._environ))}
            for provider, pool in self.pools()
            for row in pool.rows()
        ]

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Handlers of facts: a stored response is continued and polled with its key."""
        return {InterceptionEnded: self._on_end, BackgroundResponse: self._on_background}

    def assign(self, request: ClientRequest, affinity: Affinity, model: str | None = None) -> None:
        """Give a request that uses a central key the key of its conversation."""
        name = request.route.provider.name
        pool = self.find(name)
        is_central = request.credential is not None and request.credential.kind == "centralized"
        if pool is None or not is_central:
            return
        models = model_class(model)
        key = pool.find(affinity, models) or pool.home(affinity)
        if key is not None:
            self.use(request, PooledKey(pool=pool, key=key, affinity=affinity, model=models))

    def use(self, request: ClientRequest, pooled: PooledKey) -> None:
        """Send a request with a key."""
        secret = pooled.key.secret(self._environ)
        header = request.route.provider.provider_type.authorization(secret)
        request.use_key(header, Credential(kind="centralized", secret=secret))
        request.pooled = pooled
        pooled.pool.settle(pooled.affinity, pooled.key)

    def return_to(self, request: ClientRequest, hint: str | None) -> None:
        """Send a request with the key that another process used, by the hint in its record."""
        if (pooled := request.pooled) is None:
            return
        for key in pooled.pool.keys:
            if key != pooled.key and mask(key.secret(self._environ)) == hint:
                self.use(request, replace(pooled, key=key))

    def report(self, request: ClientRequest, failure: Failure | None) -> None:
        """Learn from the response to a request; None: a success."""
        if pooled := request.pooled:
            pooled.pool.report(pooled.key, failure, pooled.model)

    def report_head(self, request: ClientRequest, head: http.Response) -> None:
        """Learn from the head of a response whose body is not read."""
        if request.pooled:
            headers = lowered(head.headers.fields)
            self.report(request, classify(head.status_code, headers, b"", datetime.now(UTC)))

    def learn(self, request: ClientRequest, response: http.Response | None) -> bool:
        """Learn from a failed response; return True if another key may help."""
        pooled = request.pooled
        if pooled is None or response is None:
            return False
        body = b""
        with suppress(UndecodableError):  # status and headers tell enough
            body = decoded_body(response, max_bytes=_MOST_BYTES)
        headers = lowered(response.headers.fields)
        failure = classify(response.status_code, headers, body, datetime.now(UTC))
        self.report(request, failure)
        is_of_key = failure is not None and failure.kind in OF_KEYS
        return is_of_key and pooled.other(()) is not None

    def renew(self, request: ClientRequest, body: bytes) -> bool:
        """Give a further request of a conversation another key if its own is out of use."""
        if (pooled := request.pooled) is None:
            return False
        affinity = replace(pooled.affinity, is_bound=affinity_of("", None, body).is_bound)
        key = pooled.pool.find(affinity, pooled.model)
        if key is None or key == pooled.key:
            return False
        self.use(request, replace(pooled, key=key, affinity=affinity))
        return True

    def note_sent(self, interception_id: str, request: ClientRequest) -> None:
        """Note the key of a recorded request, whose response may be continued."""
        if pooled := request.pooled:
            self._sent[interception_id] = (pooled.pool, pooled.key)

    def _on_end(self, fact: InterceptionEnded) -> None:
        sent = self._sent.pop(fact.interception.id, None)
        if sent and fact.provider_response_id:
            pool, key = sent
            pool.responses.note(fact.provider_response_id, key.env)

    def _on_background(self, fact: BackgroundResponse) -> None:
        if sent := self._sent.pop(fact.interception.id, None):
            pool, key = sent
            pool.responses.note(fact.provider_response_id, key.env)

    def _open(self, name: str, keys: Iterable[CentralKey]) -> KeyPool:
        return KeyPool(
            keys,
            clock=self._clock,
            on_change=lambda key, change, reason: self._on_change(name, key, change, reason),
        )


def _state_of(row: KeyRow, secret: str) -> dict[str, Any]:
    return {
        "key": row.key.env,
        "organization": row.key.organization,
        "hint": mask(secret),
        "state": row.state,
        "reason": row.reason,
        "since": _moment(row.since_seconds, -1),
        "next_check": _moment(row.next_seconds, 1),
        "is_checked": row.is_checked,
    }


def _moment(seconds: float | None, direction: int) -> str | None:
    """Return the time that is some seconds before (-1) or after (1) now."""
    if seconds is None:
        return None
    moment = datetime.now(UTC) + timedelta(seconds=direction * seconds)
    return moment.isoformat(timespec="seconds")
