"""Holds of calls that were admitted in memory, until the next transaction writes them.

A call that ends before has no row: its end is charged from here. Added on the event loop, written
on the recorder's thread.
"""

import time
from collections import deque
from collections.abc import Collection
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
        self._waiting: deque[UnwrittenHold] = deque()
        self._writing: list[UnwrittenHold] = []
        """Those that the transaction writes or charges."""
        self._due_at: float | None = None

    def add(self, hold: UnwrittenHold) -> None:
        """Add a hold."""
        if self._due_at is None:
            self._due_at = time.monotonic() + _LONGEST_WAIT
        self._waiting.append(hold)

    @property
    def are_due(self) -> bool:
        """True if holds have waited too long for a record to be written."""
        due_at = self._due_at
        return bool(self._waiting) and due_at is not None and time.monotonic() >= due_at

    def write(self, connection: Connection, ended: Collection[str] = ()) -> dict[str, list[Any]]:
        """Write all holds but those of interceptions that end in the transaction.

        Returns:
            The rows of these by interception, as a deletion would return them.
        """
        if not self._waiting:
            return {}
        rows: list[HoldRow] = []
        unneeded: dict[str, list[Any]] = {}
        for hold in self._take():
            self._writing.append(hold)
            row = self._row(hold)
            if hold.call.interception_id in ended:
                of_call = (row[0], *row[2:7], row[10], *row[7:10])
                unneeded.setdefault(hold.call.interception_id, []).append(of_call)
            else:
                rows.append(row)
        execute_rows(connection, budget_sql.HOLDS, rows)
        return unneeded

    def spool(self) -> list[Statement]:
        """Take all holds, as statements for the spool."""
        rows = [self._row(hold) for hold in self._take()]
        return [Statement("budget_hold", dict(zip(BUDGET_HOLD, row, strict=True))) for row in rows]

    def committed(self) -> None:
        """Forget the holds that the transaction has written or charged."""
        self._writing.clear()

    def rolled_back(self) -> None:
        """Write or charge the holds of the transaction in a later one."""
        self._waiting.extendleft(reversed(self._writing))
        self._writing.clear()

    def _take(self) -> list[UnwrittenHold]:
        self._due_at = None
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def _row(self, hold: UnwrittenHold) -> HoldRow:
        return hold_row(
            hold.call,
            hold.counter,
            hold.estimate,
            hold.amount,
            owner=self._owner,
            moment=hold.moment,
        )
