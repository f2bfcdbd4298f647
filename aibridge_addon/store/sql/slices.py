"""Slices: the room of budgets that a process has set aside, to admit calls without asking for it.

A slice is a row, and what this process remembers of it. Any process may take a slice away by
deleting the row when it needs the room, or after the lease of its owner: an admission looks for its
row in its own transaction. A process takes up the larger of its slice and its calls' holds.

For a moment, a slice can be promised to its owner, which then admits calls in memory. A process
that needs the room marks the slice as wanted meanwhile, so that its owner gives it back.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from aibridge_addon.budgets.book import BudgetedCall, SetAside
from aibridge_addon.budgets.budget import Budget, Estimate
from aibridge_addon.budgets.windows import Window, as_text
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.counters import Counter
from aibridge_addon.store.sql.slice import Slice
from aibridge_addon.store.sql.unwritten_holds import UnwrittenHold, UnwrittenHolds

PROMISE_SECONDS = 5.0
"""Time for which no other process takes a slice away, as its owner may have died."""
_USE_SECONDS = 1.0
"""The first part of it, in which the owner admits calls: time enough to write their holds."""
_RENEWAL_SECONDS = 0.25
"""Time after which a promise is renewed, and wanted slices are given back."""
_ESTIMATES = 8
"""Calls for which a slice has room, if several processes share a budget."""
_LEAST_SHARE = 10
"""A slice is at least this part of the free room, which must be this part of the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The holds of a call in a counter, and their charge."""

    counter: Counter
    owner: str
    held: int
    charge: int


class Slices:
    """The slices of a process."""

    def __init__(
        self,
        owner: str,
        unwritten: UnwrittenHolds,
        promise_clock: Callable[[], float] | None = None,
    ) -> None:
        """Promise slices to this process if there is a clock that all processes share."""
        self._owner = owner
        self._unwritten = unwritten
        self._promises = promise_clock is not None
        self._monotonic = promise_clock or time.monotonic
        self._lock = threading.Lock()
        """Of the slices, which the event loop uses too."""
        self._renewed_at = 0.0
        self._is_used = False
        """True if calls were admitted from slices since promises were renewed."""
        self._is_checked = False
        """True if the transaction has found all slices valid."""
        self._slices: dict[tuple[str, str], Slice] = {}
        self._changed: list[Slice] = []
        """Slices that the transaction has changed."""
        self._unchecked: dict[tuple[str, str], tuple[Counter, int]] = {}
        """Charges of a counter since the thresholds of warnings were looked at. They outlive their
        slice: others may have exceeded their holds, so that these have crossed a threshold."""

    def forget(self) -> list[Slice]:
        """Forget the slices, which a transaction that failed may have changed.

        Returns:
            The slices as they were before the transaction.
        """
        before = []
        with self._lock:
            for own in self._slices.values():
                if own.safe is not None:
                    own.owned, own.held = own.safe
                    before.append(own)
            self._slices.clear()
        self._changed.clear()
        self._is_checked = False
        return before

    def committed(self) -> None:
        """Note that the slices are as the transaction left them."""
        with self._lock:
            for own in self._changed:
                own.commit()
        self._changed.clear()
        self._is_checked = False

    def hold(self, own: Slice, amount: int) -> None:
        """Hold an amount for a call."""
        with self._lock:
            own.held += amount
        own.is_used = self._is_used = True
        self._changed.append(own)

    def admit_in_memory(self, call: BudgetedCall, moment: datetime) -> bool:
        """Hold a call in slices that are promised to this process; return False if it cannot."""
        if not self._slices or not self._promises:
            return False
        windows = [(*each, each[0].window.at(moment)) for each in call.scopes]
        estimates = [call.estimate(budget.unit) for budget, _ in call.scopes]
        now = self._monotonic()
        held: list[tuple[Slice, Estimate | None, int]] = []
        with self._lock:
            for (budget, scope, window), estimate in zip(windows, estimates, strict=True):
                own = self.find(budget, scope, window)
                if own is None or own.promised_until <= now or budget.shows_remaining:
                    return False
                amount = own.hold_in_memory_for(budget, estimate)
                if amount is None:
                    return False
                held.append((own, estimate, amount))
            for own, _, amount in held:
                own.hold_in_memory(amount)
            self._unwritten.add(
                [
                    UnwrittenHold(call, own.counter, estimate, amount, moment)
                    for own, estimate, amount in held
                ]
            )
            self._is_used = True
        return True

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
        """Return True if no process has taken any of these own slices away."""
        if not slices:
            return True
        if self._promises:
            self._is_used = True
            self.renew(connection)
            return all(self._slices.get(own.counter.key[:2]) is own for own in slices)
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
        now = self._monotonic()
        self._is_used = True
        self._renewed_at = self._renewed_at or now
        own = self._slices[counter.budget, counter.scope] = Slice(
            promising_until=now + _USE_SECONDS if self._promises else 0.0,
            counter=counter,
            first_bucket=window.first_bucket,
            limit=budget.limit,
            owned=owned,
            held=held,
            refill_at=size // 2,
        )
        self._changed.append(own)
        key = (counter.budget, counter.scope, self._owner, counter.epoch, counter.unit)
        until = _milliseconds(now + PROMISE_SECONDS) if self._promises else 0
        connection.execute(budget_sql.TAKE_SLICE, (*key, counter.bucket, owned, until))

    def _size(self, connection: Connection, free: int, estimate: int, moment: datetime) -> int:
        """Return the size of a new slice: all that is free, if there is one process."""
        values = (self._owner, as_text(moment))
        (others,) = connection.execute(budget_sql.OTHER_LEASES, values).fetchone()
        if not others:
            return free
        return min(free, max(_ESTIMATES * estimate, free // _LEAST_SHARE))

    @property
    def is_renewal_due(self) -> bool:
        """True if promises should be renewed, or ended because no calls come."""
        if not self._promises or not self._renewed_at:
            return False
        age = self._monotonic() - self._renewed_at
        return age >= (_RENEWAL_SECONDS if self._is_used else _USE_SECONDS)

    def renew(self, connection: Connection) -> None:
        """Promise the own slices for the next moment, or end that; give back wanted ones."""
        if self._is_checked:
            return
        now = self._monotonic()
        is_used = self._use_until_now()
        until = _milliseconds(now + PROMISE_SECONDS) if is_used else 0
        rows = connection.execute(budget_sql.PROMISE_SLICES, (until, self._owner)).fetchall()
        owned = {(budget, scope): amount for budget, scope, amount in rows}
        for key, own in tuple(self._slices.items()):
            if owned.get(key) != own.owned:
                self.give_back(connection, *key)
            elif is_used:
                own.promising_until = now + _USE_SECONDS
                self._changed.append(own)
        self._renewed_at = now if is_used else 0.0
        self._is_checked = True

    def _use_until_now(self) -> bool:
        """Return True if calls came since the last time; admit none in memory if not."""
        with self._lock:
            is_used, self._is_used = self._is_used, False
            if not is_used:
                for own in self._slices.values():
                    own.promised_until = own.promising_until = 0.0
        return is_used

    def give_back(self, connection: Connection, budget: str, scope: str) -> None:
        """Give back the own slice, once what its calls hold is written."""
        self._drop(connection, budget, scope)
        connection.execute(budget_sql.DROP_SLICE, (budget, scope, self._owner))

    def give_back_unused(self, connection: Connection) -> None:
        """Give back the own slices that no call has used since the last time."""
        for key, found in tuple(self._slices.items()):
            if not found.is_used:
                self.give_back(connection, *key)
            found.is_used = False

    def revoke(self, connection: Connection, budget: str, scope: str) -> None:
        """Take away the slices of all processes, or mark them: what their calls hold stays held."""
        self._drop(connection, budget, scope)
        key = (budget, scope)
        connection.execute(budget_sql.DROP_SLICES, (*key, self._owner, *promised(self._monotonic)))
        connection.execute(budget_sql.WANT_SLICES, key)

    def take_lost(self, connection: Connection, moment: datetime) -> None:
        """Take away the slices of processes that have lost their leases."""
        values = (as_text(moment), *promised(self._monotonic))
        connection.execute(budget_sql.LOST_SLICES, values)

    def _drop(self, connection: Connection, budget: str, scope: str) -> None:
        """Admit no more calls from a slice; write what those that were admitted hold."""
        with self._lock:
            self._slices.pop((budget, scope), None)
        self._unwritten.write(connection)

    def settle(self, connection: Connection, settled: Iterable[Settled]) -> None:
        """Take charges out of the slices from which their calls were admitted."""
        charged: defaultdict[tuple[str, str], int] = defaultdict(int)
        for call in settled:
            counter = call.counter
            key = counter.budget, counter.scope
            own = self._slices.get(key) if call.owner == self._owner else None
            if call.owner != self._owner:
                self._settle_of_other(connection, call)
            elif own is None:
                self.give_back(connection, *key)
            elif counter.epoch == own.counter.epoch and counter.bucket >= own.first_bucket:
                with self._lock:
                    own.owned -= call.charge
                    own.held = max(0, own.held - call.held)
                self._changed.append(own)
                charged[key] += call.charge
        if charged:
            rows = [(charge, *key, self._owner) for key, charge in sorted(charged.items())]
            connection.executemany(budget_sql.CHARGE_SLICE, rows)

    def _settle_of_other(self, connection: Connection, call: Settled) -> None:
        """Take the slice of another process away; take a charge out of it if it is promised."""
        counter = call.counter
        budget, scope, epoch, _, bucket = counter.key
        self.revoke(connection, budget, scope)
        values = (call.charge, budget, scope, call.owner, epoch, bucket)
        connection.execute(budget_sql.CHARGE_SLICE_OF_OTHER, values)


def promised(monotonic: Callable[[], float] = time.monotonic) -> tuple[int, int]:
    """Return the first and the last end of promises that hold now."""
    now = monotonic()
    return _milliseconds(now), _milliseconds(now + PROMISE_SECONDS)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1_000)


@lru_cache
def _valid_slices(number: int) -> str:
    return budget_sql.VALID_SLICES.format(slices=" OR ".join([budget_sql.VALID_SLICE] * number))
