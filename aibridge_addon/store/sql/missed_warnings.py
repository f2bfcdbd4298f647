"""Finds thresholds of budgets that were crossed without a warning.

A process that admits calls from a slice does not check the thresholds that the slice spans. If it
ends before it gives the slice back, this check finds them.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from aibridge_addon.budgets.book import BudgetWarning
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.charges import crossed
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql


def missed_warnings(
    connection: Connection, budgets: Iterable[Budget], moment: datetime
) -> Iterator[BudgetWarning]:
    """Yield the warnings that are missing in the windows of a moment; each is stored once."""
    for budget in budgets:
        if not budget.warn_at:
            continue
        window = budget.window.at(moment)
        least = -(-min(budget.warn_at) * budget.limit // 100)
        values = (budget.name, budget.unit, window.first_bucket, least)
        for scope, epoch, spent in connection.execute(budget_sql.NEAR_LIMIT, values).fetchall():
            key = {"budget": budget.name, "scope": scope, "epoch": epoch, "bucket": window.bucket}
            for percent in crossed(budget.warn_at, budget.limit, -1, int(spent)):
                more = {"percent": percent, "first": window.first_bucket}
                if connection.execute(budget_sql.MISSED_WARNING, key | more).rowcount:
                    yield BudgetWarning(
                        budget=budget, scope=scope, percent=percent, spent=int(spent)
                    )
