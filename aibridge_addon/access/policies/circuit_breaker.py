"""Policy: circuit breakers of provider instances (`circuit_breaker = true`)."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.limits.breaker import Breaker, Outcome, State, outcome_of
from aibridge_addon.facts import UNPROCESSED, InterceptionEnded, ResponseBegan, SendFailed, Status

_MOST_MODELS = 500
_OTHER = "other"
"""Model of all requests beyond so many models: names come from clients."""
_SILENT_SECONDS = 60.0
"""A provider that sends no head for so long is out of order, even if the client gives up."""

type Key = tuple[str, str, str]
"""Provider instance, route and model: capacity is per model."""
type OnState = Callable[[Key, State, int], None]
"""Receives the state of a breaker and its number of trips whenever it may have changed."""
type OnTrip = Callable[[Key, int], None]
"""Receives a breaker that opened, and the number of times that it did."""


class CircuitBreakers:
    """Refuses requests to providers that are out of order; lives as long as the proxy."""

    def __init__(
        self,
        on_state: OnState = lambda key, state, trips: None,
        clock: Callable[[], float] = time.monotonic,
        on_trip: OnTrip = lambda key, trips: None,
    ) -> None:
        self._on_state = on_state
        self._on_trip = on_trip
        self._clock = clock
        self._breakers: dict[Key, Breaker] = {}
        self._shown: dict[Key, tuple[State, int]] = {}
        self._waiting: dict[str, tuple[Key, int]] = {}
        """Breakers of the requests whose outcome is not known, with the generation in which they
        passed, by interception."""

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request while its breaker is open."""
        key = _key(asked, self._breakers)
        breaker = self._breakers.get(key) if key and not self._is_admitted(asked) else None
        if key is None or breaker is None:
            return None
        seconds = breaker.wait_for(self._clock())
        if not seconds:
            return None
        instance, _, model = key
        return Refusal(
            status=503,
            reason="circuit_open",
            message=(
                f"aibridge: provider {instance!r} is out of order for model {model!r}; requests"
                " are stopped for a short time."
            ),
            retry_after=seconds,
            failure="circuit_open",
        )

    def admit(self, asked: Asked) -> None:
        """Note a request whose outcome will be reported."""
        key = _key(asked, self._breakers)
        if key and asked.interception and not self._is_admitted(asked):
            breaker = self._breakers.setdefault(key, Breaker())
            generation = breaker.admit(asked.interception.id, self._clock())
            self._waiting[asked.interception.id] = (key, generation)
            self._show(key)

    def cancel(self, asked: Asked) -> None:
        """Forget a request that is not sent after all."""
        if asked.interception:
            self._report(asked.interception.id, "neutral", None)

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Handlers of the facts that report outcomes."""
        return {
            ResponseBegan: self._on_response,
            SendFailed: self._on_response,
            InterceptionEnded: self._on_end,
        }

    def _is_admitted(self, asked: Asked) -> bool:
        return asked.interception is not None and asked.interception.id in self._waiting

    def _on_response(self, fact: ResponseBegan | SendFailed) -> None:
        is_unprocessed = isinstance(fact, SendFailed) and fact.failure == UNPROCESSED
        outcome: Outcome = "neutral" if is_unprocessed else outcome_of(fact.http_status)
        self._report(fact.interception.id, outcome, fact.retry_after)

    def _on_end(self, fact: InterceptionEnded) -> None:
        """Report the outcome of a request without a response."""
        is_silent = fact.status is Status.CANCELLED and fact.seconds >= _SILENT_SECONDS
        failed = fact.status is Status.FAILED or is_silent
        self._report(fact.interception.id, "failure" if failed else "neutral", None)

    def _report(self, interception_id: str, outcome: Outcome, retry_after: float | None) -> None:
        waiting = self._waiting.pop(interception_id, None)
        if waiting is None:
            return
        key, generation = waiting
        breaker, trips = self._breakers[key], self._breakers[key].trips
        breaker.report(interception_id, outcome, self._clock(), retry_after, generation=generation)
        self._show(key)
        if breaker.trips > trips:
            self._on_trip(key, breaker.trips)

    def _show(self, key: Key) -> None:
        breaker = self._breakers[key]
        now = breaker.state(self._clock()), breaker.trips
        if self._shown.get(key) != now:
            self._shown[key] = now
            self._on_state(key, *now)


def _key(asked: Asked, known: Mapping[Key, Breaker]) -> Key | None:
    """Return the breaker of a request; None if its provider instance has none."""
    provider = asked.route.provider
    if not provider.circuit_breaker or asked.interception is None or not asked.is_recorded:
        return None
    key = (provider.name, asked.route.label, asked.model or _OTHER)
    return key if key in known or len(known) < _MOST_MODELS else (*key[:2], _OTHER)
