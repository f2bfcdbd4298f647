"""Counts what requests use of each limit, from their admission to their end. Pure.

A request holds its slots until its interception ends, however it ends, and its estimated tokens
until they are known.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aibridge_addon.access.limits.bucket import Bucket
from aibridge_addon.access.limits.rules import Bound, Limit
from aibridge_addon.access.limits.running import Amounts, RunningRequest, Scoped
from aibridge_addon.access.limits.share import Share

_MOST_BUCKETS = 10_000
"""Number of buckets above which those that are full are forgotten."""

type _Slots = dict[tuple[str, str], set[str]]


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
        self._buckets: dict[tuple[str, str, Bound], Bucket] = {}
        self._slots: _Slots = {}
        self._running: dict[str, RunningRequest] = {}

    def is_running(self, interception_id: str) -> bool:
        """Return whether an interception was admitted and has not ended."""
        return interception_id in self._running

    def find_shortage(self, scoped: Iterable[Scoped], amounts: Amounts) -> Shortage | None:
        """Return the first bound without room for these amounts; slots come before rates."""
        scoped = tuple(scoped)
        for limit, scope in scoped:
            used = len(self._slots.get((limit.name, scope), ()))
            most = limit.open_requests
            if most is not None and used >= self.share.slots_of(most):
                return self._shortage(limit, scope, "open_requests", None)
        now = self._clock()
        for limit, scope in scoped:
            for bound in limit.rates:
                seconds = self._bucket(limit, scope, bound, now).wait_for(amounts[bound], now)
                if seconds > 0:
                    return self._shortage(limit, scope, bound, seconds)
        return None

    def _shortage(self, limit: Limit, scope: str, bound: Bound, seconds: float | None) -> Shortage:
        return Shortage(limit=limit, scope=scope, bound=bound, seconds=seconds, share=self.share)

    def admit(self, interception_id: str, scoped: Iterable[Scoped], amounts: Amounts) -> None:
        """Debit the amounts of a request, and occupy its slots."""
        running = RunningRequest(tuple(scoped), amounts)
        self._running[interception_id] = running
        for limit, scope in running.scoped:
            self._slots.setdefault((limit.name, scope), set()).add(interception_id)
        self._debit(running, amounts)

    def debit(self, scoped: Iterable[Scoped], amounts: Amounts) -> None:
        """Debit amounts of a request whose end nobody reports; it occupies no slots."""
        self._debit(RunningRequest(tuple(scoped), amounts), amounts)

    def add_usage(self, interception_id: str, amounts: Mapping[Bound, float | None]) -> None:
        """Add tokens that a response of a running interception has reported; None is unknown."""
        if running := self._running.get(interception_id):
            running.add_usage(amounts)

    def cancel(self, interception_id: str) -> None:
        """Give back what an interception took that is not sent after all."""
        if running := self._free(interception_id):
            self._debit(running, {bound: -taken for bound, taken in running.estimated.items()})

    def end(self, interception_id: str, *, is_known: bool) -> None:
        """Free the slots of an interception; replace its estimate if its tokens are known."""
        running = self._free(interception_id)
        if running and is_known:
            self._debit(running, running.excess)

    def _free(self, interception_id: str) -> RunningRequest | None:
        """Free the slots of a running interception, and return what it took."""
        running = self._running.pop(interception_id, None)
        for limit, scope in running.scoped if running else ():
            slots = self._slots[limit.name, scope]
            slots.discard(interception_id)
            if not slots:
                del self._slots[limit.name, scope]
        return running

    def _debit(self, running: RunningRequest, amounts: Mapping[Bound, float]) -> None:
        now = self._clock()
        for limit, scope in running.scoped:
            for bound in limit.rates.keys() & amounts.keys():
                self._bucket(limit, scope, bound, now).debit(amounts[bound], now)

    def _bucket(self, limit: Limit, scope: str, bound: Bound, now: float) -> Bucket:
        key, capacity = (limit.name, scope, bound), self.share.rate_of(limit.rates[bound])
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget_full(now)
            bucket = self._buckets[key] = Bucket.full(capacity, now)
        else:
            bucket.resize(capacity, now)
        return bucket

    def _forget_full(self, now: float) -> None:
        if len(self._buckets) >= _MOST_BUCKETS:
            self._buckets = {
                key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now)
            }
