"""Budgets in SQL: admission and settlement, each within a transaction of the writer.

An admission must see all holds and charges of all processes: SQLite has one writer at a time, and
in PostgreSQL a lock on each counter precedes it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from aibridge_addon.budgets.admission import Decision, decide
from aibridge_addon.budgets.book import BudgetedCall, BudgetRefusal, BudgetWarning
from aibridge_addon.budgets.budget import Budget, Standing
from aibridge_addon.budgets.windows import Window, as_text
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.settlements import Clock, Settlement

LEASE = timedelta(seconds=60)
"""Time after which the holds of a process that does not renew its lease are settled by others."""


class SQLBudgets:
    """Executes admissions and settlements on the writer's connection."""

    def __init__(self, owner: str, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._owner = owner
        self._clock = clock
        self._renew_at = datetime.min.replace(tzinfo=UTC)
        self._renewed_at: datetime | None = None
        """Time of a renewal that is not committed yet."""
        self.known: dict[str, Budget] = {}
        """Budgets by name, as configured: for the thresholds of warnings."""

    def admit(self, connection: Connection, call: BudgetedCall) -> BudgetRefusal | None:
        """Hold a call in all of its budgets, or return the refusal of the first without room."""
        moment = self._clock()
        self._renew(connection, moment)
        call.remaining.clear()
        holds = []
        for budget, scope in call.scopes:
            self.known[budget.name] = budget
            window = budget.window.at(moment)
            epoch = connection.execute(budget_sql.EPOCH, (budget.name, scope)).fetchone()[0]
            standing = self._standing(connection, budget, scope, epoch, window)
            estimate = call.estimate(budget.unit)
            decision = decide(budget, standing, estimate)
            if decision.verdict != "hold":
                if not call.must_hold:
                    opens_at = self._opens_at(connection, budget, scope, epoch, window)
                    return _refusal(budget, scope, decision, standing, opens_at)
                decision = Decision(verdict="hold", hold=estimate.likely if estimate else 0)
            if budget.shows_remaining:
                room = budget.limit - standing.spent - standing.held
                call.remaining.append(max(0, room - decision.hold))
            holds.append(
                {
                    "id": call.id,
                    "interception_id": call.interception_id,
                    "budget": budget.name,
                    "scope": scope,
                    "epoch": epoch,
                    "bucket": window.bucket,
                    "unit": budget.unit,
                    "amount": decision.hold,
                    "likely": estimate.likely if estimate else 0,
                    "input": estimate.input if estimate else 0,
                    "owner": self._owner,
                    "created_at": as_text(moment),
                }
            )
        connection.executemany(budget_sql.HOLD, holds)
        return None

    def release(self, connection: Connection, call_id: str) -> None:
        """Remove the holds of a call that is not sent."""
        connection.execute("DELETE FROM aibridge_budget_holds WHERE id = ?", (call_id,))

    def settle(
        self, connection: Connection, interception_ids: Iterable[str]
    ) -> list[BudgetWarning]:
        """Replace the holds of ended interceptions by their charges, exactly once."""
        settlement = Settlement(connection, self._clock)
        for interception_id in interception_ids:
            settlement.settle(interception_id)
        return settlement.finish(self.known)

    def settle_so_far(self, connection: Connection, interception_id: str) -> list[BudgetWarning]:
        """Charge the upstream requests of an inner loop that are complete, before its next one."""
        settlement = Settlement(connection, self._clock)
        settlement.settle_so_far(interception_id)
        return settlement.finish(self.known)

    def is_lease_due(self) -> bool:
        """Return whether the lease must be renewed soon."""
        return self._clock() >= self._renew_at

    def sweep(self, connection: Connection) -> list[BudgetWarning]:
        """Renew the own lease, and settle the holds of ended processes and interceptions."""
        moment = self._clock()
        self._renew(connection, moment)
        return self.settle(connection, self.orphans(connection))

    def orphans(self, connection: Connection) -> list[str]:
        """Return the interceptions with holds that have ended, or whose processes have."""
        return [row[0] for row in connection.execute(budget_sql.ORPHANS, (as_text(self._clock()),))]

    def _renew(self, connection: Connection, moment: datetime) -> None:
        if moment >= self._renew_at:
            connection.execute(budget_sql.RENEW, (self._owner, as_text(moment + LEASE)))
            self._renewed_at = moment

    def committed(self) -> None:
        """Note that the last transaction was not rolled back, and a renewed lease with it."""
        if self._renewed_at:
            self._renew_at = self._renewed_at + LEASE / 3
            self._renewed_at = None

    def _standing(
        self,
        connection: Connection,
        budget: Budget,
        scope: str,
        epoch: int,
        window: Window,
    ) -> Standing:
        values = {
            "budget": budget.name,
            "scope": scope,
            "epoch": epoch,
            "unit": budget.unit,
            "first": window.first_bucket,
        }
        spent, held = connection.execute(budget_sql.STANDING, values).fetchone()
        return Standing(spent=spent, held=held)

    def _opens_at(
        self,
        connection: Connection,
        budget: Budget,
        scope: str,
        epoch: int,
        window: Window,
    ) -> datetime | None:
        """Return the end of a window; of one that rolls, the end of its oldest counter."""
        if window.expires_after is None:
            return window.ends_at
        values = (budget.name, scope, epoch, budget.unit, window.first_bucket)
        oldest = connection.execute(budget_sql.OLDEST_BUCKET, values).fetchone()[0]
        return datetime.fromisoformat(oldest) + window.expires_after if oldest else None


def _refusal(
    budget: Budget,
    scope: str,
    decision: Decision,
    standing: Standing,
    opens_at: datetime | None,
) -> BudgetRefusal:
    return BudgetRefusal(
        verdict=decision.verdict,
        budget=budget,
        scope=scope,
        standing=standing,
        opens_at=opens_at,
    )
