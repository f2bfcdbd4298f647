"""`PostgresStore`: access tokens, reports, and a recorder, in a PostgreSQL database."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aibridge_addon.access.limits.book import LimitBook
from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.budgets.accounts import BudgetAccounts
from aibridge_addon.facts import this_process_id
from aibridge_addon.findings import Finding
from aibridge_addon.report.protocol import Reports
from aibridge_addon.store.postgres import token_table
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.pool import Pool
from aibridge_addon.store.postgres.token_table import TokenReader
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import OnEvent, Retention, Store
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.store.repriced import PriceCall, Repriced

if TYPE_CHECKING:
    from aibridge_addon.store.postgres.copying import Copied


class PostgresStore(Store):
    """Store in a PostgreSQL database, which must exist; its tables need not."""

    def __init__(self, dsn: str) -> None:
        self._address = Address(dsn)
        self._pool = Pool(self._address)
        self._tokens = TokenReader(self._address)

    @property
    def location(self) -> str:
        """The address without passwords."""
        return self._address.public

    def make_recorder(
        self, retention: Retention, on_event: OnEvent, preparation: Preparation
    ) -> Recorder:
        """Return a recorder that writes on a thread of its own."""
        from aibridge_addon.store.postgres.connection import import_psycopg

        import_psycopg()
        from aibridge_addon.store.postgres.recorder import PostgresRecorder

        return PostgresRecorder(
            self._address, on_event=on_event, retention=retention, preparation=preparation
        )

    def access_tokens(self) -> Mapping[str, AccessToken]:
        """Return all access tokens by id; none without our table."""
        return self._tokens.read()

    def add_access_token(self, token: AccessToken) -> None:
        """Store an access token; creates the tables if they do not exist."""
        with self._pool.writing() as connection:
            token_table.add(connection, token)

    def revoke_access_tokens(self, name: str) -> list[AccessToken]:
        """Revoke the access token with an id, or all of an actor."""
        with self._pool.writing() as connection:
            return token_table.revoke(connection, name)

    def copy_file(self, path: Path, on_copied: "Callable[[Copied], None]") -> None:
        """Copy a SQLite database into this one; call `on_copied` after each table.

        Raises:
            StoreError: a database cannot be used, or the copy differs.
        """
        from aibridge_addon.store.postgres.copying import copy_file

        with self._pool.writing() as connection:
            copy_file(path, connection, on_copied)
        self.budget_accounts().rebuild()

    def reports(self) -> Reports:
        """Return the reports."""
        from aibridge_addon.store.postgres.reports.reports import PostgresReports

        return PostgresReports(self._pool)

    def reprice(self, since: str, price: PriceCall, *, write: bool) -> Iterator[Repriced]:
        """Price the recorded calls since a time again."""
        from aibridge_addon.store.sql.repricing import reprice

        with self._pool.writing() as connection:
            yield from reprice(connection, since, price, write=write)

    def budget_accounts(self) -> BudgetAccounts:
        """Return the accounts of budgets."""
        from aibridge_addon.store.postgres.budget_accounts import PostgresBudgetAccounts

        return PostgresBudgetAccounts(self._pool)

    def limit_book(self) -> LimitBook:
        """Return the book of shared limits of this process."""
        from aibridge_addon.store.postgres.limit_book import PostgresLimitBook
        from aibridge_addon.store.postgres.limit_counts import LimitCounts

        return PostgresLimitBook(LimitCounts(self._address, this_process_id()))

    def inspect(self) -> list[Finding]:
        """Inspect the database, its spool and its rejected statements."""
        from aibridge_addon.store.postgres.inspection import inspect

        return inspect(self._address)
