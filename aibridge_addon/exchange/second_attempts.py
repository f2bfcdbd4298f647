"""Finds the responses that may be replaced: by another send, before their client sees a byte."""

from collections.abc import Mapping
from typing import Any

from mitmproxy import http

from aibridge_addon.access.egress import find_refusal
from aibridge_addon.access.keys.send_plan import RetryShare, SendPlan
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.counted import CountedExchange
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.further_sends import FurtherSends
from aibridge_addon.exchange.inner_call import InnerCallExchange
from aibridge_addon.exchange.send_dependencies import SendDependencies
from aibridge_addon.facts import Interception
from aibridge_addon.providers.resend_rules import NO_RESENDS
from aibridge_addon.relay.http2_goaway import is_unprocessed
from aibridge_addon.relay.second_attempt import SecondAttempt


class SecondAttempts:
    """Begins second attempts; lives as long as the proxy."""

    def __init__(self, dependencies: SendDependencies) -> None:
        self._dependencies = dependencies
        self._shares: dict[str, RetryShare] = {}
        """By provider instance."""

    @property
    def handlers(self) -> Mapping[type, Any]:
        """Handlers of the facts that count requests."""
        return {Interception: self._note_request}

    def attempt(
        self, exchange: Exchange, head: http.Response | None, problem: str
    ) -> SecondAttempt | None:
        """Return the further sends that may replace a response, given its head; None: none may.

        Args:
            exchange: of the request.
            head: None if the provider was not reached, or sent no response.
            problem: the reason for that.
        """
        if isinstance(exchange, InnerCallExchange) or exchange.client_aborted:
            return None
        if self._may_follow(exchange, head, problem):
            return self._begin(exchange)
        if head:
            self._dependencies.pools.report_head(exchange.request, head)
        return None

    def _may_follow(self, exchange: Exchange, head: http.Response | None, problem: str) -> bool:
        request = exchange.request
        if not isinstance(exchange, BridgedExchange | CountedExchange):
            is_failure = head is not None and head.status_code >= 400
            return is_failure and exchange.may_change_key and request.pooled is not None
        retries = request.route.provider.resend.retries
        if head is None:
            return (retries or is_unprocessed(problem)) and not find_refusal(problem)
        if head.status_code < 400:
            return False
        is_refused_edit = self._dependencies.last_resort.applies(exchange, head.status_code)
        return is_refused_edit or retries or request.pooled is not None

    def _begin(self, exchange: Exchange) -> SecondAttempt:
        provider = exchange.request.route.provider
        is_call = isinstance(exchange, BridgedExchange | CountedExchange)
        rules = provider.resend if is_call else NO_RESENDS
        share = self._shares.setdefault(provider.name, RetryShare())
        plan = SendPlan(rules, share, clock=self._dependencies.clock)
        sends = FurtherSends(exchange, self._dependencies, plan)
        attempt = SecondAttempt(exchange.flow.id, sends.run, sends.first)
        exchange.on_abort = attempt.cancel
        return attempt

    def _note_request(self, fact: Interception) -> None:
        share = self._shares.setdefault(fact.provider_name, RetryShare())
        share.note_request(self._dependencies.clock())
