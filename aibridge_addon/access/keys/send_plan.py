"""Decides what follows a failed send: another key, a retry, a fallback, or nothing. Pure.

A request has a budget of sends, and all requests to an instance share a budget of retries, so that
an outage does not become a storm.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aibridge_addon.access.keys.failures import Failure
from aibridge_addon.providers.resend_rules import ResendRules

SECONDS = 15.0
"""Time in which retries must begin, from the first send."""
FIRST_PAUSE_SECONDS = 0.5
_SPREAD = 0.25
_SHARE_SECONDS = 10.0
_SHARE = 0.2
FREE_RETRIES = 3
"""Retries that are always allowed: the share of few requests would be none."""
OF_KEYS = frozenset({"rate", "quota", "credential"})
"""Failures after which another key may serve the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next send of a request."""

    to: Literal["other_key", "same_key", "fallback"]
    pause: float = 0.0
    """Seconds before it."""


class RetryShare:
    """Bounds the retries at one instance to a share of its requests."""

    def __init__(self) -> None:
        self._requests: deque[float] = deque()
        self._retries: deque[float] = deque()

    def note_request(self, now: float) -> None:
        """Count a request of a client."""
        _forget(self._requests, now)
        self._requests.append(now)

    def take(self, now: float) -> bool:
        """Count a retry, if there may be one more."""
        _forget(self._requests, now)
        _forget(self._retries, now)
        if len(self._retries) >= max(FREE_RETRIES, _SHARE * len(self._requests)):
            return False
        self._retries.append(now)
        return True


def _forget(times: deque[float], now: float) -> None:
    while times and times[0] <= now - _SHARE_SECONDS:
        times.popleft()


class SendPlan:
    """The sends of one request; begins with its first send."""

    def __init__(
        self,
        rules: ResendRules,
        share: RetryShare,
        *,
        clock: Callable[[], float],
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._rules = rules
        self._share = share
        self._clock = clock
        self._spread = spread
        self._until = clock() + SECONDS
        self._sends = 1
        """Sends that met an overloaded or unreachable provider, and the first."""
        self._has_moved = False
        self._was_unprocessed = False

    def after(self, failure: Failure, *, has_other_key: bool, can_fall_back: bool) -> Step | None:
        """Return the next send; None to pass the failure on.

        Args:
            failure: of the last send.
            has_other_key: True if the pool has a key that was not tried and may be used.
            can_fall_back: True if another instance takes the request after such a failure.
        """
        if failure.is_unprocessed and not self._was_unprocessed:
            self._was_unprocessed = True  # only once: the provider may refuse everything
            return Step(to="same_key")
        if has_other_key and self._may_change_key(failure):
            return Step(to="other_key")
        if (pause := self._pause(failure)) is not None:
            self._sends += 1
            return Step(to="same_key", pause=pause)
        return Step(to="fallback") if can_fall_back else None

    def _may_change_key(self, failure: Failure) -> bool:
        if failure.kind != "request_rate":
            return failure.kind in OF_KEYS
        has_moved, self._has_moved = self._has_moved, True
        return not has_moved

    def _pause(self, failure: Failure) -> float | None:
        """Return the seconds before a retry; None if there must be none."""
        retried = failure.kind == "overload" or (
            failure.kind == "error" and self._rules.retry_errors
        )
        if not retried or self._sends >= self._rules.max_sends:
            return None
        backoff = FIRST_PAUSE_SECONDS * 2 ** (self._sends - 1)
        pause = backoff * self._spread(1 - _SPREAD, 1 + _SPREAD)
        if failure.seconds is not None:
            pause = failure.seconds
        now = self._clock()
        return pause if now + pause <= self._until and self._share.take(now) else None
