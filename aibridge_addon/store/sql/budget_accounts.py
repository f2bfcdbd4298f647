"""Budget accounts, read and reset while proxies write to the database."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from aibridge_addon.budgets.accounts import Account, BudgetAccounts, Entry
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.facts import new_id, now
from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.slices import promised

_CURRENT = """
WITH resets AS (
    SELECT scope, count(*) AS number FROM aibridge_budget_resets WHERE budget = :budget
    GROUP BY scope
), current AS (
    SELECT *, coalesce((SELECT number FROM resets r WHERE r.scope = x.scope), 0)
            + coalesce((SELECT number FROM resets r WHERE r.scope = '*'), 0) AS now_epoch
    FROM ({rows}) x
) SELECT {columns} FROM current WHERE epoch = now_epoch AND bucket >= :first
"""
_ENTRIES = "SELECT * FROM aibridge_budget_entries WHERE budget = :budget AND unit = :unit"
_OF_BUDGET = "WHERE budget = :budget AND unit = :unit"
_TAKEN = f"""
SELECT scope, epoch, bucket, owner, amount AS held, 0 AS owned FROM aibridge_budget_holds
{_OF_BUDGET}
UNION ALL SELECT scope, epoch, bucket, owner, 0, amount FROM aibridge_budget_slices {_OF_BUDGET}
"""  # noqa: S608
_CHARGES = _CURRENT.format(
    rows=_ENTRIES,
    columns=(
        "scope, sum(charge), count(DISTINCT interception_id),"
        " sum(CASE how WHEN 'estimated' THEN charge ELSE 0 END),"
        " sum(CASE how WHEN 'unpriced' THEN 1 ELSE 0 END)"
    ),
)
_SUMS = """
SELECT budget, scope, epoch, unit, bucket, sum(charge) AS spent FROM aibridge_budget_entries
GROUP BY budget, scope, epoch, unit, bucket
"""
_WRONG = f"""
SELECT count(*) FROM ({_SUMS}) s LEFT JOIN aibridge_budget_counters c USING
    (budget, scope, epoch, unit, bucket) WHERE c.spent IS NOT s.spent
"""  # noqa: S608


class SQLBudgetAccounts(BudgetAccounts):
    """Budget accounts in a database."""

    @abstractmethod
    def _connect(self) -> AbstractContextManager[Connection]:
        """Return a connection that may write.

        Raises:
            StoreError: there is no database, or it cannot be used.
        """

    def accounts(self, budgets: Sequence[Budget], moment: datetime) -> list[Account]:
        """Return the accounts with charges or holds."""
        with self._connect() as connection:
            return [
                account for budget in budgets for account in _accounts(connection, budget, moment)
            ]

    def entries(self, budget: Budget, scope: str, moment: datetime, limit: int) -> list[Entry]:
        """Return the newest charges of the current window."""
        query = _CURRENT.format(rows=_ENTRIES, columns="interception_id, charge, how, created_at")
        query += " AND scope = :scope ORDER BY created_at DESC LIMIT :limit"
        values = _values(budget, moment) | {"scope": scope, "limit": limit}
        with self._connect() as connection:
            return [
                Entry(interception_id=row[0], charge=row[1], how=row[2], created_at=row[3])
                for row in connection.execute(query, values)
            ]

    def reset(self, budget: str, scope: str) -> None:
        """Count from zero again in a scope, or in all."""
        with self._connect() as connection, transaction(connection):
            reset(connection, budget, scope)

    def rebuild(self) -> int:
        """Compute the counters from the ledger."""
        with self._connect() as connection, transaction(connection):
            self.lock_counters(connection)
            wrong: int = connection.execute(_WRONG).fetchone()[0]
            connection.execute(budget_sql.DROP_ALL_SLICES, promised())
            connection.execute(budget_sql.WANT_ALL_SLICES)
            connection.execute("DELETE FROM aibridge_budget_counters")
            connection.execute(
                f"INSERT INTO aibridge_budget_counters (budget, scope, epoch, unit, bucket, spent)"
                f" {_SUMS}"
            )
        return wrong

    def lock_counters(self, connection: Connection) -> None:
        """Keep settlements out until the transaction ends; nothing, if there is one writer."""
        return


def reset(connection: Connection, budget: str, scope: str) -> None:
    """Begin a new count in a scope, or in all; slices of the old one admit no more calls."""
    connection.execute(
        "INSERT INTO aibridge_budget_resets (id, budget, scope, created_at) VALUES (?, ?, ?, ?)",
        (new_id(), budget, scope, now()),
    )
    connection.execute(
        "DELETE FROM aibridge_budget_slices WHERE budget = ? AND (scope = ? OR ? = '*')",
        (budget, scope, scope),
    )


def _accounts(connection: Connection, budget: Budget, moment: datetime) -> Iterator[Account]:
    values = _values(budget, moment)
    held: Counter[str] = Counter()
    set_aside: Counter[str] = Counter()
    taken = _CURRENT.format(rows=_TAKEN, columns="scope, sum(held), sum(owned)")
    for scope, holds, owned in connection.execute(f"{taken} GROUP BY scope, owner", values):
        held[scope] += holds
        set_aside[scope] += max(0, owned - holds)
    charges = {row[0]: row[1:] for row in connection.execute(f"{_CHARGES} GROUP BY scope", values)}
    accounts = [
        Account(
            budget=budget,
            scope=scope,
            spent=spent,
            held=held[scope],
            set_aside=set_aside[scope],
            calls=calls,
            estimated=estimated,
            unpriced=unpriced,
            opens_at=budget.window.at(moment).ends_at,
        )
        for scope in charges.keys() | held.keys()
        for spent, calls, estimated, unpriced in [charges.get(scope, (0, 0, 0, 0))]
    ]
    yield from sorted(accounts, key=lambda account: (-account.spent, account.scope))


def _values(budget: Budget, moment: datetime) -> dict[str, str | int]:
    first = budget.window.at(moment).first_bucket
    return {"budget": budget.name, "unit": budget.unit, "first": first}
