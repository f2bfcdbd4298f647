"""Budget accounts in PostgreSQL."""

from contextlib import AbstractContextManager

from aibridge_addon.store.connection import Connection
from aibridge_addon.store.postgres.pool import Pool
from aibridge_addon.store.sql.budget_accounts import SQLBudgetAccounts


class PostgresBudgetAccounts(SQLBudgetAccounts):
    """Budget accounts in a PostgreSQL database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def _connect(self) -> AbstractContextManager[Connection]:
        return self._pool.writing()

    def lock_counters(self, connection: Connection) -> None:
        """Keep settlements out until the transaction ends."""
        connection.execute("LOCK TABLE aibridge_budget_counters IN EXCLUSIVE MODE")
