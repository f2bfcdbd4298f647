"""Writes statements to the database file."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aibridge_addon.facts import now
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.errors import RecorderError
from aibridge_addon.store.protocol import OnEvent, Retention
from aibridge_addon.store.record_writer import RecordWriter
from aibridge_addon.store.sql.budget_book import SQLBudgetBook, Work
from aibridge_addon.store.sql.housekeeping import CLOSE_INTERRUPTED
from aibridge_addon.store.sql.sweeper import Sweeper
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.database_file import DatabaseFile, is_transient
from aibridge_addon.store.sqlite.ownership import Ownership
from aibridge_addon.store.sqlite.schema import SchemaTooNewError
from aibridge_addon.store.sqlite.search_index import Indexer
from aibridge_addon.store.statements import Statement

_END_OF_TIME = "9999-12-31"


class Writer(RecordWriter[sqlite3.Connection]):
    """Writer of a database file."""

    unavailable = (sqlite3.DatabaseError, SchemaTooNewError, OSError)
    rejections = (
        sqlite3.IntegrityError,
        sqlite3.InterfaceError,
        sqlite3.ProgrammingError,
        sqlite3.DataError,
        OverflowError,
        UnicodeError,
    )

    def __init__(
        self, path: Path, on_event: OnEvent, retention: Retention, budgets: SQLBudgetBook
    ) -> None:
        super().__init__(path, on_event, budgets)
        self._sweeper = Sweeper(
            retention, lambda number: on_event("forgotten", number), vacuum.free_some
        )
        self._ownership = Ownership(path)
        self._database = DatabaseFile(path)
        self._indexer = Indexer()
        self._generation = 0
        self._checked: sqlite3.Connection | None = None
        """Connection to the file that the path named at the beginning of this write."""
        self._recovered = False
        self._started_at = now()

    def start(self) -> None:
        """Open the database, or go on without it if the error is transient."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.recover(self.connection())
        except SchemaTooNewError as error:
            raise RecorderError(f"{self._path}: {error}; update aibridge_addon") from error
        except (OSError, sqlite3.Error) as error:
            if not is_transient(error, self._path):
                raise RecorderError(_permanent_error(error, self._path)) from error
            self.note_unavailable(error)
        finally:
            self._ownership.share()

    def may_have_lost(self) -> bool:
        """Return True if what was written before may be missing now, since the last call."""
        with contextlib.suppress(sqlite3.Error, SchemaTooNewError, OSError):
            if self.available:
                self._checked = self._database.connect()
        before, self._generation = self._generation, self._database.generation
        has_lost, self._has_lost = self._has_lost, False
        return has_lost or before != self._generation

    def housekeep(self) -> None:
        """Execute the next step of retention, if it is due."""
        if not self._sweeper.is_due:
            return
        try:
            self._sweeper.step(self.connection())
        except (sqlite3.Error, SchemaTooNewError, OSError) as error:
            self.note_unavailable(error)

    def close_database(self) -> None:
        """Close the file and release the lock on it."""
        self._database.close()
        self._ownership.release()

    def connection(self) -> sqlite3.Connection:
        """Return the connection to the file that the path names now, checked once in a write."""
        if checked := self._checked:
            self._checked = None
            return checked
        self._ownership.acquire()
        return self._database.connect()

    def recover(self, connection: sqlite3.Connection) -> None:
        """Ingest the spools of ended processes, and close their open interceptions.

        If this runs late, processes may have started meanwhile: then only spools and interceptions
        from before this process, by the clock, are touched.
        """
        if self._recovered or not self._ownership.alone:
            return
        alone = self._ownership.exclude()
        try:
            for path in self._spool.others(older=not alone):
                self.ingest_file(connection, path)
            before = _END_OF_TIME if alone else self._started_at
            with transaction(connection):
                connection.execute(CLOSE_INTERRUPTED, {"now": now(), "before": before})
            if alone:
                vacuum.rebuild(connection)
        finally:
            self._ownership.share()
        self._recovered = True

    def write_and_execute(
        self, statements: list[Statement], works: Sequence[Work]
    ) -> tuple[bool, list[Any] | None]:
        """Write statements and execute works in one transaction, if both can be done now."""
        if works and self.available and self.is_empty:
            try:
                return True, self._commit_both(statements, works)
            except Exception as error:  # noqa: BLE001 what fails by itself fails alone the next time
                self._budgets.rolled_back()
                if isinstance(error, self.unavailable) and not isinstance(error, self.rejections):
                    self.note_unavailable(error)
        return super().write_and_execute(statements, works)

    def _commit_both(self, statements: list[Statement], works: Sequence[Work]) -> list[Any]:
        connection = self.connection()
        self.recover(connection)
        with transaction(connection):
            for statement in statements:
                execute(connection, statement)
            self.settle(connection, statements)
            self._budgets.before(connection, works)
            results = [work(connection) for work in works]
            if statements:
                self.finish(connection)
        self._budgets.committed()
        self.note_available()
        return results

    def commit(self, connection: sqlite3.Connection, statements: list[Statement]) -> None:
        """Execute statements and settle their budgets, in one transaction."""
        with transaction(connection):
            for statement in statements:
                execute(connection, statement)
            self.settle(connection, statements)
            self.finish(connection)

    def execute_accepted(
        self, connection: sqlite3.Connection, statements: list[Statement]
    ) -> list[Statement]:
        """Execute statements; return those that the database rejects."""
        rejected = []
        for statement in statements:
            try:
                execute(connection, statement)
            except self.rejections:
                rejected.append(statement)
        return rejected

    def finish(self, connection: sqlite3.Connection) -> None:
        """Index the texts that a transaction adds."""
        self._indexer.index(connection)


def execute(connection: sqlite3.Connection, statement: Statement) -> None:
    """Execute a statement, for one row or many."""
    kind, values = statement
    if isinstance(rows := values.get("rows"), list):
        connection.executemany(SQL[kind], rows)
    else:
        connection.execute(SQL[kind], values)


def _permanent_error(error: OSError | sqlite3.Error, path: Path) -> str:
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}"
    if isinstance(error, sqlite3.OperationalError):
        return f"{path}: {error}"
    return f"{path} is not an aibridge database: {error}"
