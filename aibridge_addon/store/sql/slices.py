"""Slices: the room of budgets that a process has set aside, to admit calls without asking for it.

A slice is a row, and what this process remembers of it. Any process may take a slice away by
deleting the row when it needs the room, or after the lease of its owner: each admission looks for
its row in its own transaction. A process takes up the larger of its slice and its calls' holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from aibridge_addon.budgets.admission import decide
from aibridge_addon.budgets.book import SetAside
from aibridge_addon.budgets.budget import Budget, Estimate, Standing
from aibridge_addon.budgets.windows import Window, as_text
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.counters import Counter

_ESTIMATES = 8
"""Calls for which a slice has room, if several processes share a budget."""
_LEAST_SHARE = 10
"""A slice is at least this part of the free room, which must be this part of the limit."""


@dataclass(slots=True, kw_only=True)
class Slice:
    """The slice of a counter."""

    counter: Counter
    first_bucket: str
    limit: int
    owned: int
    held: int
    """The part of `owned` that its calls hold."""
    refill_at: int
    """A call is not admitted from the slice if less than this is left of it then."""
    is_used: bool = True
    safe: tuple[int, int] | None = None
    """`owned` and `held` as the last commit left them; None: none has."""

    @property
    def free(self) -> int:
        """The amount that no call holds."""
        return self.owned - self.held

    def hold_for(
        self, budget: Budget, estimate: Estimate | None, *, refill_at: int | None = None
    ) -> int | None:
        """Return the amount to hold for a call; None: the slice does not have it."""
        if not budget.refuses:
            return decide(budget, Standing(spent=0, held=0), estimate).hold
        if estimate is None or (budget.is_strict and estimate.worst > budget.limit):
            return None
        amount = estimate.worst if budget.hold == "worst" else estimate.likely
        least = self.refill_at if refill_at is None else refill_at
        return amount if self.free - amount >= least else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The holds of a call in a counter, and their charge."""

    counter: Counter
    owner: str
    held: int
    charge: int


class Slices:
    """The slices of a process."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._slices: dict[tuple[str, str], Slice] = {}
        self._changed: list[Slice] = []
        """Slices that the transaction has changed."""
        self._unchecked: dict[tuple[str, str], tuple[Counter, int]] = {}
        """Charges of a counter since the thresholds of warnings were looked at. They outlive their
        slice: others may have exceeded their holds, so that these have crossed a threshold."""

    def forget(self) -> list[Slice]:
        """Forget the slices, which a transaction that failed may have changed.

        Returns:
            Them as they were before the transaction.
        """
        before = []
        for own in self._slices.values():
            if own.safe is not None:
                own.owned, own.held = own.safe
                before.append(own)
        self._slices.clear()
        self._changed.clear()
        return before

    def committed(self) -> None:
        """Note that the slices are as the transaction left them."""
        for own in self._changed:
            own.safe = own.owned, own.held
        self._changed.clear()

    def hold(self, own: Slice, amount: int) -> None:
        """Hold an amount for a call."""
        own.held += amount
        own.is_used = True
        self._changed.append(own)

    def set_aside(self) -> list[SetAside]:
        """Return what this process has set aside; for any thread."""
        return [
            SetAside(budget=name, unit=own.counter.unit, held=own.held, free=max(0, own.free))
            for (name, _), own in tuple(self._slices.items())
        ]

    def find(self, budget: Budget, scope: str, window: Window) -> Slice | None:
        """Return the slice from which calls of this moment may be admitted, if it is `valid`."""
        found = self._slices.get((budget.name, scope))
        if found is None or (found.counter.bucket, found.counter.unit, found.limit) != (
            window.bucket,
            budget.unit,
            budget.limit,
        ):
            return None
        return found

    def are_valid(self, connection: Connection, slices: Sequence[Slice]) -> bool:
        """Return whether no process has taken any of these own slices away."""
        if not slices:
            return True
        query = _valid_slices(len(slices))
        values: list[str | int] = [self._owner]
        for own in slices:
            values += own.counter.budget, own.counter.scope, own.owned
        (number,) = connection.execute(query, values).fetchone()
        return bool(number == len(slices))

    def unchecked(self, budget: Budget, counter: Counter, added: int) -> int:
        """Return the charges that may have crossed a threshold; 0: so much is still set aside."""
        if not budget.warn_at:
            return 0
        key = counter.budget, counter.scope
        of, before = self._unchecked.get(key, (counter, 0))
        unchecked = added + before if of == counter else added
        own = self._slices.get(key)
        least = min(budget.warn_at) * budget.limit
        is_current = own is not None and (own.counter, own.limit) == (counter, budget.limit)
        if own and is_current and (budget.limit - own.owned) * 100 < least:
            self._unchecked[key] = counter, unchecked
            return 0
        if of == counter:
            self._unchecked.pop(key, None)
        return unchecked

    def take(
        self,
        connection: Connection,
        budget: Budget,
        counter: Counter,
        window: Window,
        *,
        held: int,
        free: int,
        estimate: int,
        moment: datetime,
    ) -> None:
        """Set room aside for the next calls; `held` is what calls of this process hold already."""
        size = self._size(connection, free, estimate, moment) if budget.refuses else 0
        if budget.refuses and (not size or free * _LEAST_SHARE < budget.limit):
            return
        owned = held + size if budget.refuses else 0
        own = self._slices[counter.budget, counter.scope] = Slice(
            counter=counter,
            first_bucket=window.first_bucket,
            limit=budget.limit,
            owned=owned,
            held=held,
            refill_at=size // 2,
        )
        self._changed.append(own)
        key = (counter.budget, counter.scope, self._owner, counter.epoch, counter.unit)
        connection.execute(budget_sql.TAKE_SLICE, (*key, counter.bucket, owned))

    def _size(self, connection: Connection, free: int, estimate: int, moment: datetime) -> int:
        """Return the size of a new slice: all that is free, if there is one process."""
        values = (self._owner, as_text(moment))
        (others,) = connection.execute(budget_sql.OTHER_LEASES, values).fetchone()
        if not others:
            return free
        return min(free, max(_ESTIMATES * estimate, free // _LEAST_SHARE))

    def give_back(self, connection: Connection, budget: str, scope: str) -> None:
        """Give back the own slice."""
        self._slices.pop((budget, scope), None)
        connection.execute(budget_sql.DROP_SLICE, (budget, scope, self._owner))

    def give_back_unused(self, connection: Connection) -> None:
        """Give back the own slices that no call has used since the last time."""
        for key, found in tuple(self._slices.items()):
            if not found.is_used:
                self.give_back(connection, *key)
            found.is_used = False

    def revoke(self, connection: Connection, budget: str, scope: str) -> None:
        """Take away the slices of all processes: what their calls hold stays held."""
        self._slices.pop((budget, scope), None)
        connection.execute(budget_sql.DROP_SLICES, (budget, scope))

    def settle(self, connection: Connection, settled: Iterable[Settled]) -> None:
        """Take charges out of the slices from which their calls were admitted."""
        changed: dict[tuple[str, str], int] = {}
        for call in settled:
            counter = call.counter
            key = counter.budget, counter.scope
            own = self._slices.get(key) if call.owner == self._owner else None
            if own is None:
                values = (*key, call.owner)
                connection.execute(budget_sql.DROP_SLICE, values)
            elif counter.epoch == own.counter.epoch and counter.bucket >= own.first_bucket:
                own.owned = max(0, own.owned - call.charge)
                own.held = max(0, own.held - call.held)
                self._changed.append(own)
                changed[key] = own.owned
        if changed:
            rows = [(owned, *key, self._owner) for key, owned in sorted(changed.items())]
            connection.executemany(budget_sql.CHANGE_SLICE, rows)


@lru_cache
def _valid_slices(number: int) -> str:
    return budget_sql.VALID_SLICES.format(slices=" OR ".join([budget_sql.VALID_SLICE] * number))
