"""Counts what requests use of each limit, from their admission to their end. Pure.

A request holds its slots until its interception ends, however it ends, and its estimated tokens
until they are known.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aibridge_addon.access.limits.rules import Bound, Limit
from aibridge_addon.access.limits.running import Amounts, RunningRequest, Scoped
from aibridge_addon.access.limits.scope_counter import ScopeCounter
from aibridge_addon.access.limits.share import Share

_MOST_SCOPES = 10_000
"""Number of scopes above which those that nobody uses are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A bound that has no room for a request."""

    limit: Limit
    scope: str
    bound: Bound
    seconds: float | None
    """Time until there is room; None if that depends on the end of other requests."""
    share: Share
    """The part of the limit that this process enforces."""


class LimitCounters:
    """The counters of all limits. Those of a limit keep their state when its bounds change."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.share = Share()
        """The part of each limit that is enforced here; the live processes share a limit."""
        self._clock = clock
        self._scopes: dict[tuple[str, str], ScopeCounter] = {}
        self._running: dict[str, RunningRequest] = {}

    def is_running(self, interception_id: str) -> bool:
        """Return whether an interception was admitted and has not ended."""
        return interception_id in self._running

    def find_shortage(self, scoped: tuple[Scoped, ...], amounts: Amounts) -> Shortage | None:
        """Return the first bound without room for these amounts; slots come before rates."""
        now = self._clock()
        counters = [self._counter(limit, scope, now) for limit, scope in scoped]
        for counter in counters:
            if counter.is_full:
                return self._shortage(counter, "open_requests", None)
        for counter in counters:
            for bound, bucket in counter.rates:
                if seconds := bucket.wait_for(amounts[bound], now):
                    return self._shortage(counter, bound, seconds)
        return None

    def _shortage(self, counter: ScopeCounter, bound: Bound, seconds: float | None) -> Shortage:
        return Shortage(
            limit=counter.limit,
            scope=counter.scope,
            bound=bound,
            seconds=seconds,
            share=counter.share,
        )

    def admit(self, interception_id: str, scoped: tuple[Scoped, ...], amounts: Amounts) -> None:
        """Debit the amounts of a request, and occupy its slots."""
        self._running[interception_id] = RunningRequest(scoped, amounts)
        for counter in self._debit(scoped, amounts):
            counter.open.add(interception_id)

    def debit(self, scoped: tuple[Scoped, ...], amounts: Amounts) -> None:
        """Debit amounts of a request whose end nobody reports; it occupies no slots."""
        self._debit(scoped, amounts)

    def add_usage(self, interception_id: str, amounts: Mapping[Bound, float | None]) -> None:
        """Add tokens that a response of a running interception has reported; None is unknown."""
        if running := self._running.get(interception_id):
            running.add_usage(amounts)

    def cancel(self, interception_id: str) -> None:
        """Give back what an interception took that is not sent after all."""
        if running := self._running.pop(interception_id, None):
            taken = {bound: -amount for bound, amount in running.estimated.items()}
            self._free(interception_id, running, taken)

    def end(self, interception_id: str, *, is_known: bool) -> None:
        """Free the slots of an interception; replace its estimate if its tokens are known."""
        if running := self._running.pop(interception_id, None):
            self._free(interception_id, running, running.excess if is_known else {})

    def _free(self, interception_id: str, running: RunningRequest, amounts: Amounts) -> None:
        """Free the slots of a request, and debit amounts."""
        now = self._clock()
        for limit, scope in running.scoped:
            # By the bounds of this moment, which may be others than those that admitted it.
            counter = self._scopes[limit.name, scope]
            counter.open.discard(interception_id)
            counter.debit(amounts, now)

    def _debit(self, scoped: tuple[Scoped, ...], amounts: Amounts) -> list[ScopeCounter]:
        """Debit amounts in all scopes; return their counters."""
        now = self._clock()
        counters = [self._counter(limit, scope, now) for limit, scope in scoped]
        for counter in counters:
            counter.debit(amounts, now)
        return counters

    def _counter(self, limit: Limit, scope: str, now: float) -> ScopeCounter:
        counter = self._scopes.get((limit.name, scope))
        if counter is None:
            self._forget_unused(now)
            counter = self._scopes[limit.name, scope] = ScopeCounter(limit, scope, self.share)
            counter.use(limit, self.share, now)
        elif counter.limit is not limit or counter.share is not self.share:
            counter.use(limit, self.share, now)
        return counter

    def _forget_unused(self, now: float) -> None:
        if len(self._scopes) >= _MOST_SCOPES:
            self._scopes = {
                key: counter for key, counter in self._scopes.items() if not counter.is_unused(now)
            }
