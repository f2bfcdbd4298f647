"""Last resort: when a provider refuses an edited request, the client's own goes up once.

A gateway must not make a legal request fail. Who may ask, and when (401, 403, 429, 5xx), is the
client's to see.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from aibridge_addon.access.policies import Asked, Refusal
from aibridge_addon.exchange.error_answers import shaped_error
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.original_request import OriginalRequestCall, original_request
from aibridge_addon.relay.second_attempt import Deliver, SecondAttempt
from aibridge_addon.tools.refused_edits import SECONDS, RefusedEdits

logger = logging.getLogger(__name__)

REFUSED = frozenset({400, 404, 413, 422})
"""Statuses by which providers refuse what a request says."""

_TOO_LONG = (b"too long", b"context_length", b"context length", b"context window")
"""Refusals of one conversation, which say nothing about the next one."""

type CheckUpstream = Callable[[Asked], Awaitable[Refusal | None]]
"""Asks the policies, by the access tokens of this moment, whether a further request may go up."""
type Register = Callable[[Exchange], AbstractAsyncContextManager[None]]
"""Makes the exchange of an inner request known to the hooks for as long as it runs."""


class LastResort:
    """Makes second attempts, and remembers which edits were refused."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        bridge: Bridge,
        register: Register,
        check_upstream: CheckUpstream,
    ) -> None:
        self.refusals = RefusedEdits()
        self._check_upstream = check_upstream
        self._metrics = metrics
        self._bridge = bridge
        self._register = register

    def attempt(self, exchange: Exchange, status: int) -> SecondAttempt | None:
        """Return a second attempt at a request that was edited and refused; None for others."""
        if status not in REFUSED or exchange.attempt or not exchange.is_edited:
            return None
        exchange.attempt = SecondAttempt(
            exchange.flow.id,
            partial(self._send, exchange),
            partial(self._on_head, exchange, status),
        )
        exchange.forget_edits()
        self._metrics.count_edit_refused(exchange.route.provider.name, status)
        return exchange.attempt

    @asynccontextmanager
    async def _send(self, exchange: Exchange, deliver: Deliver) -> AsyncIterator[None]:
        assert exchange.own
        assert exchange.wire_format
        refusal = await self._check_upstream(exchange.asked) if exchange.asked else None
        if refusal is not None:
            self._metrics.count_refused(exchange.route.provider.name, refusal.reason)
            answer = shaped_error(exchange.wire_format, refusal.status, refusal.message)
            for piece in (answer, answer.content or b"{}", b""):
                deliver(piece)
            yield
            return
        flow = original_request(exchange.flow, exchange.own)
        call = OriginalRequestCall(flow, self._bridge, deliver)
        inner = Exchange(
            flow=flow,
            route=exchange.route,
            secrets=exchange.secrets,
            max_bytes=exchange.max_bytes,
            call=call,
        )
        async with self._register(inner), call:
            yield

    def _on_head(self, exchange: Exchange, refused: int, status: int, refusal: bytes) -> None:
        """Learn from an own request that was not refused: it was the edit that was."""
        said = refusal.lower()
        if status >= 400 or any(words in said for words in _TOO_LONG):
            return
        for edit in exchange.edits:
            self.refusals.add(edit)
        asks = exchange.interception
        logger.warning(
            "aibridge: %s refused (HTTP %d) what central tools add to requests for model %s, and "
            "took the request without it; not added again for %d minutes",
            exchange.route.provider.name,
            refused,
            ascii(asks.model) if asks else "unknown",
            SECONDS // 60,
        )
