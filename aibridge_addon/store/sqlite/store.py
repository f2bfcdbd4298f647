"""`SQLiteStore`: access tokens, reports, and a recorder, all in one SQLite file.

It opens a connection for each call, so that it can be used while a proxy writes to the file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.budgets.accounts import BudgetAccounts
from aibridge_addon.findings import Finding
from aibridge_addon.report.protocol import Reports
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import OnEvent, Retention, Store
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.store.repriced import PriceCall, Repriced
from aibridge_addon.store.sqlite import inspection, token_table


class SQLiteStore(Store):
    """Store in a SQLite file, which need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser().absolute()

    @property
    def location(self) -> str:
        """The absolute path of the file."""
        return str(self._path)

    def make_recorder(
        self, retention: Retention, on_event: OnEvent, preparation: Preparation
    ) -> Recorder:
        """Return a recorder that writes on a thread of its own."""
        from aibridge_addon.store.sqlite.recorder import SQLiteRecorder

        return SQLiteRecorder(
            self._path, on_event=on_event, retention=retention, preparation=preparation
        )

    def access_tokens(self) -> Mapping[str, AccessToken]:
        """Return all access tokens by id; none without a file, or without our table in it."""
        return token_table.read(self._path)

    def add_access_token(self, token: AccessToken) -> None:
        """Store an access token; creates the file if it does not exist."""
        token_table.add(self._path, token)

    def revoke_access_tokens(self, name: str) -> list[AccessToken]:
        """Revoke the access token with an id, or all of an actor."""
        return token_table.revoke(self._path, name) if self._path.exists() else []

    def reports(self) -> Reports:
        """Return the reports, which open a read-only connection for each query."""
        from aibridge_addon.store.sqlite.reports.reports import SQLiteReports

        return SQLiteReports(self._path)

    def reprice(self, since: str, price: PriceCall, *, write: bool) -> Iterator[Repriced]:
        """Price the recorded calls since a time again."""
        from aibridge_addon.store.sqlite.repricing import reprice_file

        return reprice_file(self._path, since, price, write=write)

    def budget_accounts(self) -> BudgetAccounts:
        """Return the accounts of budgets, which open a connection for each call."""
        from aibridge_addon.store.sqlite.budget_accounts import SQLiteBudgetAccounts

        return SQLiteBudgetAccounts(self._path)

    def inspect(self) -> list[Finding]:
        """Inspect the file, its spool and its rejected statements."""
        return inspection.inspect(self._path)
