"""Builds the components that choose keys and send requests again, and applies settings to them."""

import os
from collections.abc import Callable
from typing import Protocol

from mitmproxy import http

from aibridge_addon.access.keys.pool import Change
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.fallbacks import Fallbacks
from aibridge_addon.exchange.key_checks import KeyChecks
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.last_resort import LastResort
from aibridge_addon.exchange.request_signing import RequestSigning
from aibridge_addon.exchange.second_attempts import SecondAttempts
from aibridge_addon.exchange.send_dependencies import CheckUpstream, Register, SendDependencies
from aibridge_addon.fact_bus import Handlers
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.second_attempt import SecondAttempt


class KeyReports(Protocol):
    """Reports keys to people; keys are named by their environment variables."""

    def report_set_aside(self, provider: str, env: str, reason: str) -> None:
        """Report a key that can no longer be used."""

    def report_back(self, provider: str, env: str) -> None:
        """Report a key that can be used again."""


class KeysAndRetries:
    """Key pools, fallbacks, and further sends; `connect` must be called before the first request.

    Args:
        metrics: counts what happens.
        find_outputs: returns the reporter of keys that are set aside or back in use.
    """

    _second_attempts: SecondAttempts
    _checks: KeyChecks

    def __init__(self, metrics: Metrics, find_outputs: Callable[[], KeyReports]) -> None:
        self._metrics = metrics
        self._find_outputs = find_outputs
        self.pools = KeyPools(self._key_changed)
        self.signing = RequestSigning()
        self.fallbacks = Fallbacks(self.pools, self.signing)
        self.last_resort = LastResort(metrics)

    def connect(self, *, bridge: Bridge, register: Register, check_upstream: CheckUpstream) -> None:
        """Use the layers and policies of the proxy."""
        self._second_attempts = SecondAttempts(
            SendDependencies(
                pools=self.pools,
                fallbacks=self.fallbacks,
                last_resort=self.last_resort,
                bridge=bridge,
                register=register,
                check_upstream=check_upstream,
                metrics=self._metrics,
            )
        )
        self._checks = KeyChecks(
            self.pools,
            bridge=bridge,
            register=register,
            secret_of=lambda key: key.secret(os.environ),
        )

    def apply(self, settings: Settings) -> None:
        """Use other keys and fallbacks."""
        self.pools.apply(settings.providers)
        self.fallbacks.apply_settings(settings.providers, settings.model_rules)
        self._checks.start()
        self._show()

    def attempt(
        self, exchange: Exchange, head: http.Response | None, problem: str
    ) -> SecondAttempt | None:
        """Return the further sends that may replace a response, if any."""
        return self._second_attempts.attempt(exchange, head, problem)

    @property
    def handlers(self) -> tuple[Handlers, ...]:
        """Handlers of the facts that pools and retries need."""
        return self.pools.handlers, self.fallbacks.handlers, self._second_attempts.handlers

    def close(self) -> None:
        """Stop the checks."""
        self._checks.close()

    def _key_changed(self, provider: str, key: CentralKey, change: Change, reason: str) -> None:
        if change == "set_aside":
            self._metrics.count_key_set_aside(provider, key.env)
            self._find_outputs().report_set_aside(provider, key.env, reason)
        else:
            self._find_outputs().report_back(provider, key.env)
        self._show()

    def _show(self) -> None:
        for provider, pool in self.pools.pools():
            usable = sum(row.state != "set aside" for row in pool.rows())
            self._metrics.show_usable_keys(provider.name, usable)
