"""Receives requests: their heads, then the complete requests, which become exchanges."""

import time
from collections.abc import Awaitable, Callable

from mitmproxy import http

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.egress import (
    PrivateAddressError,
    find_refusal,
    refused_connection_response,
)
from aibridge_addon.exchange.early_refusals import EarlyRefusals
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.head import Head, RoutedHead
from aibridge_addon.exchange.head_reader import HeadReader
from aibridge_addon.exchange.intake import Intake
from aibridge_addon.exchange.live import LiveRequests
from aibridge_addon.observe.metric_table import ADDED_LATENCY
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.relay.mitm_layers import REQUEST_TOO_LARGE
from aibridge_addon.relay.secrets import mask_request

type Edit = Callable[[Exchange], Awaitable[Exchange]]
"""Edits the request of an exchange; returns the exchange that takes its place, or the same."""


class Reception:
    """Receives requests by the settings of this moment."""

    def __init__(
        self,
        live: LiveRequests,
        *,
        admission: AdmissionControl,
        heads: HeadReader,
        intake: Intake,
        edits: tuple[Edit, ...],
        refusals: EarlyRefusals,
        metrics: Metrics,
    ) -> None:
        self.heads = heads
        self._live = live
        self._admission = admission
        self._intake = intake
        self._edits = edits
        self._refusals = refusals
        self._metrics = metrics

    async def receive_head(self, flow: http.HTTPFlow) -> Head:
        """Read a head: from now on, nobody is shown its secrets."""
        try:
            head = self.heads.read(flow, await self._admission.admit(flow))
        except Exception:
            if self._admission.requires_token or self._intake.must_decide:
                flow.kill()  # unlike elsewhere, a bug of ours must not let anybody pass
            raise
        self._live.put_head(flow, head)
        return head

    async def receive(self, flow: http.HTTPFlow, head: Head | None) -> None:
        """Make the exchange of a complete request; refuse it if it must not be sent upstream."""
        start = time.perf_counter()
        head = head or await self.receive_head(flow)
        self._live.pop_head(flow)
        await self._admission.refresh()
        if not isinstance(head, RoutedHead):
            self.heads.check_again(flow, head)
            return
        exchange = await self._intake.accept(head)
        self._live.put(exchange)  # it puts the secrets back
        try:
            await self._edit(exchange)
        except Exception:
            if self._intake.must_decide:  # it was decided about as it would have been edited
                self._intake.refuse(exchange)
            raise
        seconds = time.perf_counter() - start
        self._metrics.time(ADDED_LATENCY, "request", seconds=seconds)

    async def _edit(self, exchange: Exchange) -> None:
        for edit in self._edits:
            if exchange.flow.response is None:
                edited = await edit(exchange)
                if edited is not exchange:
                    exchange = edited
                    self._live.put(exchange)

    def answer_error(self, flow: http.HTTPFlow, message: str, limit: str) -> None:
        """Answer a request without an exchange: to another host, or incomplete."""
        if refusal := find_refusal(message):
            flow.response = refused_connection_response(PrivateAddressError, refusal)
        if not self.heads.is_ours(flow):
            return
        head = self._live.pop_head(flow)
        if head is None:
            mask_request(flow.request)
        elif message == REQUEST_TOO_LARGE:
            flow.response = self._refusals.too_large(head, limit) or flow.response
