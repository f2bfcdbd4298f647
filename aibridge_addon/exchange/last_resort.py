"""Last resort: sends the client's original request once a provider has refused the edited one.

A gateway must not make a legal request fail. Refusals of the sender or of the moment (401, 403,
429, 5xx) are passed to the client.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial

from aibridge_addon.access.policies import Asked, Refusal
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.error_responses import refusal_response
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.inner_call import InnerCallExchange
from aibridge_addon.exchange.read_request import ReadRequest
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
"""Asks the policies, with current access tokens, about a further upstream request."""
type Register = Callable[[Exchange], AbstractAsyncContextManager[None]]
"""Makes an inner call known to the hooks while it runs."""


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
        self.refused_edits = RefusedEdits()
        self._check_upstream = check_upstream
        self._metrics = metrics
        self._bridge = bridge
        self._register = register

    def attempt(self, exchange: Exchange, status: int) -> SecondAttempt | None:
        """Return a second attempt at a request that was edited and refused; None for others."""
        if not isinstance(exchange, BridgedExchange | CountedExchange):
            return None
        read = exchange.read
        if status not in REFUSED or not read.is_edited:
            return None
        attempt = SecondAttempt(
            exchange.flow.id, partial(self._send, read), partial(self._on_head, read, status)
        )
        exchange.revert_edits(attempt)
        self._metrics.count_edit_refused(read.interception.provider_name, status)
        return attempt

    @asynccontextmanager
    async def _send(self, read: ReadRequest, deliver: Deliver) -> AsyncIterator[None]:
        if refusal := await self._check_upstream(read.asked):
            self._metrics.count_refused(read.interception.provider_name, refusal.reason)
            response = refusal_response(read.wire_format, refusal)
            for piece in (response, response.content or b"{}", b""):
                deliver(piece)
            yield
            return
        flow = original_request(read.client.flow, read.original)
        call = OriginalRequestCall(flow, self._bridge, deliver)
        request = replace(read.client, flow=flow)
        async with self._register(InnerCallExchange(request, read.wire_format, call)), call:
            yield

    def _on_head(self, read: ReadRequest, refused: int, status: int, refusal: bytes) -> None:
        """Remember the edits if the original request is accepted."""
        text = refusal.lower()
        if status >= 400 or any(words in text for words in _TOO_LONG):
            return
        for edit in read.edit_keys:
            self.refused_edits.add(edit)
        logger.warning(
            "aibridge: %s refused (HTTP %d) a request with central tools for model %s, and "
            "accepted the request without it; not added again for %d minutes",
            read.interception.provider_name,
            refused,
            ascii(read.interception.model),
            SECONDS // 60,
        )
