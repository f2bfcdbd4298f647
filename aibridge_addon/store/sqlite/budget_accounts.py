"""Budget accounts in a SQLite file."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from aibridge_addon.store.errors import NothingRecordedError, StoreError
from aibridge_addon.store.sql.budget_accounts import SQLBudgetAccounts
from aibridge_addon.store.sqlite.reports.reader import update

_WAIT_SECONDS = 5.0
"""Seconds to wait for a lock."""


class SQLiteBudgetAccounts(SQLBudgetAccounts):
    """Budget accounts in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            raise NothingRecordedError(f"nothing was recorded yet: there is no {self._path}")
        try:
            with contextlib.closing(
                sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
            ) as connection:
                update(self._path, connection)
                yield connection
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
