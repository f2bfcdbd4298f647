"""`ScopeCounter`: what the requests of one scope use of a limit. Pure."""

from dataclasses import dataclass, field

from aibridge_addon.access.limits.bucket import Bucket
from aibridge_addon.access.limits.rules import Bound, Limit
from aibridge_addon.access.limits.running import Amounts
from aibridge_addon.access.limits.share import Share


@dataclass(slots=True)
class ScopeCounter:
    """The slots and buckets of a limit in a scope, which outlive its bounds."""

    limit: Limit
    scope: str
    share: Share
    rates: tuple[tuple[Bound, Bucket], ...] = ()
    """The buckets of the rates that the limit sets now."""
    most_open: int | None = None
    """Number of requests that may run at the same time; None: any."""
    open: set[str] = field(default_factory=set)
    """The requests that run."""
    _buckets: dict[Bound, Bucket] = field(default_factory=dict)

    def use(self, limit: Limit, share: Share, now: float) -> None:
        """Enforce a share of a limit from now on; what is used of it stays."""
        self.limit, self.share = limit, share
        most = limit.open_requests
        self.most_open = None if most is None else share.slots_of(most)
        for bound, rate in limit.rates.items():
            capacity = share.rate_of(rate)
            self._buckets.setdefault(bound, Bucket.full(capacity, now)).resize(capacity, now)
        self.rates = tuple((bound, self._buckets[bound]) for bound in limit.rates)

    def debit(self, amounts: Amounts, now: float) -> None:
        """Take the amounts that the limit bounds; negative ones are given back."""
        for bound, bucket in self.rates:
            if amount := amounts.get(bound):
                bucket.debit(amount, now)

    @property
    def is_full(self) -> bool:
        """True if no further request may run."""
        return self.most_open is not None and len(self.open) >= self.most_open

    def is_unused(self, now: float) -> bool:
        """Return whether the counter is as good as new."""
        return not self.open and all(bucket.is_full(now) for bucket in self._buckets.values())
