"""Budgets in SQL: admission and settlement, each within a transaction of the writer.

An admission must see all holds and charges of all processes: SQLite has one writer at a time, and
in PostgreSQL a lock on each counter precedes it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aibridge_addon.budgets.admission import Decision, decide
from aibridge_addon.budgets.book import (
    BudgetedCall,
    BudgetRefusal,
    BudgetWarning,
    SetAside,
)
from aibridge_addon.budgets.budget import Budget, Estimate, Standing
from aibridge_addon.budgets.windows import Window, as_text
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.counters import Counter
from aibridge_addon.store.sql.holds import hold_row
from aibridge_addon.store.sql.missed_warnings import missed_warnings
from aibridge_addon.store.sql.rows import execute_rows
from aibridge_addon.store.sql.settlements import Clock, Settlement
from aibridge_addon.store.sql.slices import Settled, Slices
from aibridge_addon.store.sql.spare_slices import SpareSlices
from aibridge_addon.store.sql.unwritten_holds import UnwrittenHolds
from aibridge_addon.store.statements import Statement

LEASE = timedelta(seconds=60)
"""Time after which the holds of a process that does not renew its lease are settled by others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """The state of a budget at an admission."""

    counter: Counter
    window: Window
    standing: Standing
    """Slices of other processes count as held."""
    own: int
    """Held by calls of this process."""
    set_aside: int
    """The part of the slices of other processes that no call holds."""


_UNUSED = Standing(spent=0, held=0)


class SQLBudgets:
    """Executes admissions and settlements on the writer's connection."""

    def __init__(
        self,
        owner: str,
        clock: Clock = lambda: datetime.now(UTC),
        promise_clock: Callable[[], float] | None = None,
    ) -> None:
        """Admit calls in memory if there is a clock that all processes of the store share."""
        self._owner = owner
        self._unwritten = UnwrittenHolds(owner)
        self._slices = Slices(owner, self._unwritten, promise_clock)
        self.spare = SpareSlices(owner, clock)
        self._clock = clock
        self._renew_at = datetime.min.replace(tzinfo=UTC)
        self._renewed_at: datetime | None = None
        """Time of a renewal that is not committed yet."""
        self._sweep_at = self._renew_at
        self._swept_at: datetime | None = None
        """Time of a sweep that is not committed yet."""
        self._held: set[str] = set()
        """Interceptions that may have holds of this process."""
        self.known: dict[str, Budget] = {}
        """Budgets by name, as configured: for the thresholds of warnings."""

    def admit(self, connection: Connection, call: BudgetedCall) -> BudgetRefusal | None:
        """Hold a call in all of its budgets, or return the refusal of the first without room."""
        moment = self._clock()
        self._renew(connection, moment)
        call.remaining.clear()
        self.known |= {budget.name: budget for budget, _ in call.scopes}
        if self._admit_from_slices(connection, call, moment):
            return None
        return self._admit_from_room(connection, call, moment)

    def admit_in_memory(self, call: BudgetedCall) -> bool:
        """Hold a call without a transaction; return False if that is not possible.

        Called on the event loop. A further request of an inner loop needs a transaction.
        """
        if call.interception_id in self._held:
            return False
        if any(self.known.get(budget.name) is not budget for budget, _ in call.scopes):
            return False  # the settings have changed
        is_held = self._slices.admit_in_memory(call, self._clock())
        if is_held:
            self._held.add(call.interception_id)
        return is_held

    def begin(self, connection: Connection) -> None:
        """Write what calls hold in memory; must precede all works of a transaction."""
        self._renew_due(connection)
        self._unwritten.write(connection)

    def _renew_due(self, connection: Connection) -> None:
        """Renew the lease and the promises of slices, if that is due.

        The lease is renewed in the same transaction: holds must not be visible to other processes
        under a lease that has expired meanwhile, by which they would be settled as orphans.
        """
        self.keep_lease(connection)
        if self._slices.is_renewal_due:
            self._slices.renew(connection)

    @property
    def must_write(self) -> bool:
        """True if a transaction is due although there is nothing to record."""
        return self._unwritten.are_due or self._slices.is_renewal_due

    def spool_holds(self) -> list[Statement]:
        """Take what calls hold in memory, as statements for the spool."""
        return self._unwritten.spool()

    def _admit_from_slices(
        self, connection: Connection, call: BudgetedCall, moment: datetime
    ) -> bool:
        """Hold a call in the own slices; return False if one of them does not have the room."""
        found = []
        for budget, scope in call.scopes:
            own = self._slices.find(budget, scope, budget.window.at(moment))
            estimate = call.estimate(budget.unit)
            amount = own.hold_for(budget, estimate) if own else None
            if own is None or amount is None or budget.shows_remaining:
                return False
            found.append((own, estimate, amount))
        if not self._slices.are_valid(connection, [own for own, _, _ in found]):
            return False
        for own, _, amount in found:
            self._slices.hold(own, amount)
        self._hold(connection, call, moment, [(own.counter, e, amount) for own, e, amount in found])
        return True

    def _admit_from_room(
        self, connection: Connection, call: BudgetedCall, moment: datetime
    ) -> BudgetRefusal | None:
        """Hold a call in the room of its budgets, and set the next slices aside."""
        admitted = []
        for budget, scope in call.scopes:
            room = self._room(connection, budget, scope, moment)
            estimate = call.estimate(budget.unit)
            decision = decide(budget, room.standing, estimate)
            if room.set_aside and decision != decide(budget, _UNUSED, estimate):
                self._slices.revoke(connection, budget.name, scope)
                room = self._room(connection, budget, scope, moment)
                decision = decide(budget, room.standing, estimate)
            if decision.verdict != "hold":
                if not call.must_hold:
                    return self._refusal(connection, budget, decision, room)
                decision = Decision(verdict="hold", hold=estimate.likely if estimate else 0)
            admitted.append((budget, room, estimate, decision.hold))
        self._hold(
            connection, call, moment, [(room.counter, e, hold) for _, room, e, hold in admitted]
        )
        for budget, room, _, hold in admitted:
            free = budget.limit - room.standing.spent - room.standing.held - hold
            if budget.shows_remaining:
                call.remaining.append(max(0, free + room.set_aside))
            self._slices.take(
                connection,
                budget,
                room.counter,
                room.window,
                held=room.own + hold,
                free=free,
                estimate=hold,
                moment=moment,
            )
        return None

    def _hold(
        self,
        connection: Connection,
        call: BudgetedCall,
        moment: datetime,
        held: Iterable[tuple[Counter, Estimate | None, int]],
    ) -> None:
        rows = [
            hold_row(call, counter, estimate, amount, owner=self._owner, moment=moment)
            for counter, estimate, amount in held
        ]
        execute_rows(connection, budget_sql.HOLDS, rows)
        self._held.add(call.interception_id)

    def release(self, connection: Connection, call_id: str) -> None:
        """Remove the holds of a call that is not sent."""
        released = connection.execute(budget_sql.RELEASE, (call_id,)).fetchall()
        self._slices.settle(
            connection,
            [
                Settled(counter=Counter(*key), owner=owner, held=held, charge=0)
                for *key, owner, held in released
            ],
        )

    def settle(
        self, connection: Connection, interception_ids: Iterable[str]
    ) -> list[BudgetWarning]:
        """Replace the holds of ended interceptions by their charges, exactly once."""
        ended = tuple(interception_ids)
        unwritten = self._unwritten.take(ended)
        self._renew_due(connection)
        if self._unwritten.are_due:
            self._unwritten.write(connection)
        self._held.difference_update(ended)
        if not ended or not (unwritten or self._are_counted(connection)):
            return []
        settlement = Settlement(connection, self._clock, self._slices, unwritten)
        for interception_id in ended:
            settlement.settle(interception_id)
        return settlement.finish(self.known)

    def _are_counted(self, connection: Connection) -> bool:
        """Return True if any call was ever counted: a store without budgets looks for none."""
        return bool(connection.execute(budget_sql.ARE_COUNTED).fetchone()[0])

    def settle_so_far(self, connection: Connection, interception_id: str) -> list[BudgetWarning]:
        """Charge the upstream requests of an inner loop that are complete, before its next one."""
        if interception_id not in self._held:
            return []
        settlement = Settlement(connection, self._clock, self._slices)
        settlement.settle_so_far(interception_id)
        return settlement.finish(self.known)

    def is_sweep_due(self) -> bool:
        """Return True if a sweep is due, whoever has renewed the lease meanwhile."""
        return self._clock() >= self._sweep_at

    def keep_lease(self, connection: Connection) -> None:
        """Renew the lease if that is due and this process has counted calls."""
        if self.known:
            self._renew(connection, self._clock())

    def sweep(self, connection: Connection) -> list[BudgetWarning]:
        """Renew the own lease; settle the holds, and find the warnings, that others left."""
        moment = self._clock()
        self._renew(connection, moment)
        self._swept_at = moment
        self._slices.give_back_unused(connection)
        self._slices.take_lost(connection, moment)
        settled = self.settle(connection, self.orphans(connection))
        return [*settled, *missed_warnings(connection, self.known.values(), moment)]

    def orphans(self, connection: Connection) -> list[str]:
        """Return the interceptions with holds that have ended, or whose processes have."""
        return [row[0] for row in connection.execute(budget_sql.ORPHANS, (as_text(self._clock()),))]

    def _renew(self, connection: Connection, moment: datetime) -> None:
        if moment >= self._renew_at:
            connection.execute(budget_sql.RENEW, (self._owner, as_text(moment + LEASE)))
            self._renewed_at = moment

    def set_aside(self) -> list[SetAside]:
        """Return the room that this process has set aside; for any thread."""
        return [*self._slices.set_aside(), *self.spare.set_aside(self.known)]

    def rolled_back(self) -> None:
        """Forget what the last transaction changed, which was not committed."""
        self._renewed_at = self._swept_at = None
        self.spare.keep(self._slices.forget())
        self._unwritten.rolled_back()

    def committed(self) -> None:
        """Note that the last transaction was not rolled back, and a renewed lease with it."""
        self._slices.committed()
        self._unwritten.committed()
        self.spare.clear()
        if self._renewed_at:
            self._renew_at = self._renewed_at + LEASE / 3
            self._renewed_at = None
        if self._swept_at:
            self._sweep_at = self._swept_at + LEASE / 3
            self._swept_at = None

    def _room(self, connection: Connection, budget: Budget, scope: str, moment: datetime) -> _Room:
        """Return the state of a budget, without the own slice."""
        self._slices.give_back(connection, budget.name, scope)
        window = budget.window.at(moment)
        (epoch,) = connection.execute(budget_sql.EPOCH, (budget.name, scope)).fetchone()
        values = {
            "budget": budget.name,
            "scope": scope,
            "epoch": epoch,
            "unit": budget.unit,
            "first": window.first_bucket,
            "owner": self._owner,
        }
        spent, held, own, set_aside = connection.execute(budget_sql.STANDING, values).fetchone()
        return _Room(
            counter=Counter(budget.name, scope, epoch, budget.unit, window.bucket),
            window=window,
            standing=Standing(spent=spent, held=held + set_aside),
            own=own,
            set_aside=set_aside,
        )

    def _refusal(
        self, connection: Connection, budget: Budget, decision: Decision, room: _Room
    ) -> BudgetRefusal:
        return BudgetRefusal(
            verdict=decision.verdict,
            budget=budget,
            scope=room.counter.scope,
            standing=room.standing,
            opens_at=self._opens_at(connection, room),
            is_set_aside=room.set_aside > 0,
        )

    def _opens_at(self, connection: Connection, room: _Room) -> datetime | None:
        """Return the end of a window; of one that rolls, the end of its oldest counter."""
        window = room.window
        if window.expires_after is None:
            return window.ends_at
        values = (*room.counter.key[:4], window.first_bucket)
        oldest = connection.execute(budget_sql.OLDEST_BUCKET, values).fetchone()[0]
        return datetime.fromisoformat(oldest) + window.expires_after if oldest else None
