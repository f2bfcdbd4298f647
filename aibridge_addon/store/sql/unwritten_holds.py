"""Holds of calls that were admitted in memory, until a transaction writes them.

Most calls end before, and never have a row: their ends are charged from here. Added on the event
loop, written on the recorder's thread.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aibridge_addon.budgets.book import BudgetedCall
from aibridge_addon.budgets.budget import Estimate
from aibridge_addon.store.columns import BUDGET_HOLD
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.counters import Counter
from aibridge_addon.store.sql.holds import HoldRow, hold_row
from aibridge_addon.store.sql.rows import execute_rows
from aibridge_addon.store.statements import Statement

_LONGEST_WAIT = 0.25
"""Seconds after which holds are written although no record is."""


@dataclass(frozen=True, slots=True)
class UnwrittenHold:
    """The hold of a call in a counter."""

    call: BudgetedCall
    counter: Counter
    estimate: Estimate | None
    amount: int
    moment: datetime


class UnwrittenHolds:
    """The holds of a process that are in no transaction yet."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._waiting: dict[str, list[UnwrittenHold]] = {}
        """By interception; none has two calls here."""
        self._writing: dict[str, list[UnwrittenHold]] = {}
        """Those that the transaction writes or charges."""
        self._due_at: float | None = None

    def add(self, holds: list[UnwrittenHold]) -> None:
        """Add the holds of a call; at least one."""
        is_first = not self._waiting
        self._waiting[holds[0].call.interception_id] = holds
        # After that, or the other thread could clear the time and not see the holds.
        if is_first or self._due_at is None:
            self._due_at = time.monotonic() + _LONGEST_WAIT

    @property
    def are_due(self) -> bool:
        """True if some holds have waited for so long that all should be written."""
        due_at = self._due_at
        return bool(self._waiting) and due_at is not None and time.monotonic() >= due_at

    def take(self, ended: Iterable[str]) -> dict[str, list[Any]]:
        """Take the holds of interceptions that end in the transaction, which are never written.

        Returns:
            Their rows by interception, as a deletion would return them.
        """
        found: dict[str, list[Any]] = {}
        for id_ in ended if self._waiting else ():
            if holds := self._waiting.pop(id_, None):
                self._writing[id_] = holds
                rows = map(self._row, holds)
                found[id_] = [(row[0], *row[2:7], row[10], *row[7:10]) for row in rows]
        return found

    def write(self, connection: Connection) -> None:
        """Write all holds that wait."""
        if not self._waiting:
            return
        taken = self._take()
        self._writing |= taken
        rows = [self._row(hold) for holds in taken.values() for hold in holds]
        execute_rows(connection, budget_sql.HOLDS, rows)

    def spool(self) -> list[Statement]:
        """Take all holds, as statements for the spool."""
        rows = [self._row(hold) for holds in self._take().values() for hold in holds]
        return [Statement("budget_hold", dict(zip(BUDGET_HOLD, row, strict=True))) for row in rows]

    def committed(self) -> None:
        """Forget the holds that the transaction has written or charged."""
        self._writing.clear()

    def rolled_back(self) -> None:
        """Write or charge the holds of the transaction in a later one."""
        self._due_at = time.monotonic() if self._writing else self._due_at
        self._waiting |= self._writing
        self._writing.clear()

    def _take(self) -> dict[str, list[UnwrittenHold]]:
        self._due_at = None
        # The event loop may add some meanwhile.
        return {id_: self._waiting.pop(id_) for id_ in list(self._waiting)}

    def _row(self, hold: UnwrittenHold) -> HoldRow:
        return hold_row(
            hold.call,
            hold.counter,
            hold.estimate,
            hold.amount,
            owner=self._owner,
            moment=hold.moment,
        )
