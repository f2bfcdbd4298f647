"""Writes statements to the database; while it is unavailable, to a spool, or else to memory.

The thread that calls it belongs to the recorder. Whatever is unavailable, statements stay in order,
and each reaches the database once.
"""

import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import batched
from pathlib import Path
from typing import Any

from aibridge_addon.facts import now
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.errors import RecorderError
from aibridge_addon.store.protocol import OnEvent, Retention
from aibridge_addon.store.spool import Spool, append, read
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.budget_book import SQLiteBudgetBook, Work
from aibridge_addon.store.sqlite.database_file import DatabaseFile, is_transient
from aibridge_addon.store.sqlite.housekeeping import CLOSE_INTERRUPTED
from aibridge_addon.store.sqlite.ownership import Ownership
from aibridge_addon.store.sqlite.schema import SchemaTooNewError
from aibridge_addon.store.sqlite.search_index import Indexer
from aibridge_addon.store.sqlite.sql import SQL
from aibridge_addon.store.sqlite.sweeper import Sweeper
from aibridge_addon.store.statements import CONTENT_KINDS, Statement

logger = logging.getLogger(__name__)

RETRY_SECONDS = (1.0, 30.0)
"""Seconds between retries while the database is unavailable: the first, and the longest."""
MAX_IN_MEMORY = 100_000
"""Most statements held in memory when neither database nor spool can be written."""
_TRANSACTION_SIZE = 1_000
_END_OF_TIME = "9999-12-31"


class Writer:
    """The database, the spool, and memory as the last resort; used by one thread at a time."""

    def __init__(
        self, path: Path, on_event: OnEvent, retention: Retention, budgets: SQLiteBudgetBook
    ) -> None:
        self.available = True
        self._budgets = budgets
        self._path = path
        self._on_event = on_event
        self._sweeper = Sweeper(retention, lambda number: on_event("forgotten", number))
        self._spool = Spool(path)
        self._in_memory: deque[Statement] = deque()
        self._ownership = Ownership(path)
        self._database = DatabaseFile(path)
        self._indexer = Indexer()
        self._generation = 0
        self._has_lost = False
        """True if statements were lost or rejected."""
        self._recovered = False
        self._started_at = now()
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS[0]
        self._spool_failed = False

    def start(self) -> None:
        """Open the database, or go on without it if the error is transient.

        Nothing here is logged as an error: mitmproxy exits if an error is logged at its start.

        Raises:
            RecorderError: the path or the database cannot be used with these settings.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._recover(self._connection())
        except SchemaTooNewError as error:
            raise RecorderError(f"{self._path}: {error}; update aibridge_addon") from error
        except (OSError, sqlite3.Error) as error:
            if not is_transient(error, self._path):
                raise RecorderError(_permanent_error(error, self._path)) from error
            self._note_unavailable(error)
        finally:
            self._ownership.share()

    def write(self, statements: list[Statement]) -> bool:
        """Write statements, after those that still wait; return True if they survive a crash."""
        if time.monotonic() >= self._retry_at and self._write_database(statements):
            return True
        return self._write_spool(statements)

    def execute(self, works: Sequence[Work]) -> list[Any] | None:
        """Execute works in one transaction; return their results, None if the database fails."""
        if not works or not self.available:
            return None
        try:
            connection = self._connection()
            with transaction(connection):
                return [work(connection) for work in works]
        except (sqlite3.DatabaseError, SchemaTooNewError, OSError) as error:
            self._note_unavailable(error)
            return None

    def may_have_lost(self) -> bool:
        """Return True if what was written before may be missing now, since the last call."""
        with contextlib.suppress(sqlite3.Error, SchemaTooNewError, OSError):
            if self.available:
                self._database.connect()
        before, self._generation = self._generation, self._database.generation
        has_lost, self._has_lost = self._has_lost, False
        return has_lost or before != self._generation

    def tidy(self) -> None:
        """Execute the next steps of retention and of budgets, if they are due."""
        if self.available and self._budgets.is_due:
            self.execute([self._budgets.sweep])
            self._budgets.committed()
        if not (self.available and self._sweeper.is_due):
            return
        try:
            self._sweeper.step(self._connection())
        except (sqlite3.Error, SchemaTooNewError, OSError) as error:
            self._note_unavailable(error)

    def close(self) -> None:
        """Close the database, after a last attempt to write what is only in memory."""
        if self._in_memory and not (self._write_database([]) or self._write_spool([])):
            self._note_lost(len(self._in_memory))
        self._database.close()
        self._ownership.release()

    def _connection(self) -> sqlite3.Connection:
        self._ownership.acquire()
        return self._database.connect()

    def _write_database(self, statements: list[Statement]) -> bool:
        try:
            connection = self._connection()
            self._recover(connection)
            if not self._spool.is_empty:
                self._ingest(connection, self._spool.read(), then=self._spool.clear)
            if self._in_memory:
                self._ingest(connection, list(self._in_memory), then=self._in_memory.clear)
            if statements:
                self._commit(connection, statements)
        except (sqlite3.DatabaseError, SchemaTooNewError, OSError) as error:
            self._note_unavailable(error)
            return False
        self._note_available()
        return True

    def _write_spool(self, statements: list[Statement]) -> bool:
        if not statements and not self._in_memory:
            return True
        try:
            self._spool.append([*self._in_memory, *statements])
        except OSError as error:
            if not self._spool_failed:
                logger.warning("aibridge: the spool cannot be written either: %s", error)
            self._spool_failed = True
            self._hold_in_memory(statements)
            return False
        self._spool_failed = False
        self._on_event("spooled", len(self._in_memory) + len(statements))
        self._in_memory.clear()
        return True

    def _hold_in_memory(self, statements: list[Statement]) -> None:
        # Contents could fill the memory: only the rest of the record waits in it.
        held = [statement for statement in statements if statement.kind not in CONTENT_KINDS]
        self._has_lost = self._has_lost or len(held) < len(statements)
        self._in_memory.extend(held)
        overflow = len(self._in_memory) - MAX_IN_MEMORY
        if overflow > 0:
            for _ in range(overflow):
                self._in_memory.popleft()
            self._note_lost(overflow)

    def _note_lost(self, number: int) -> None:
        self._has_lost = True
        logger.error("aibridge: lost %d statements: neither database nor spool is writable", number)
        self._on_event("lost", number)

    def _recover(self, connection: sqlite3.Connection) -> None:
        """Ingest the spools of ended processes, and close their open interceptions.

        If this runs late, processes may have started meanwhile: then only spools and interceptions
        from before this process, by the clock, are touched.
        """
        if self._recovered or not self._ownership.alone:
            return
        alone = self._ownership.exclude()
        try:
            for path in self._spool.others(older=not alone):
                self._ingest_file(connection, path)
            before = _END_OF_TIME if alone else self._started_at
            with transaction(connection):
                connection.execute(CLOSE_INTERRUPTED, {"now": now(), "before": before})
            if alone:
                vacuum.rebuild(connection)
        finally:
            self._ownership.share()
        self._recovered = True

    def _ingest_file(self, connection: sqlite3.Connection, path: Path) -> None:
        try:
            self._ingest(connection, read(path), then=path.unlink)
        except OSError as error:
            logger.warning("aibridge: cannot ingest %s, so it stays: %s", path, error)

    def _ingest(
        self,
        connection: sqlite3.Connection,
        statements: Iterable[Statement],
        *,
        then: Callable[[], object],
    ) -> None:
        ingested = 0
        for batch in batched(statements, _TRANSACTION_SIZE, strict=False):
            self._commit(connection, list(batch))
            ingested += len(batch)
        then()
        if ingested:
            logger.info("aibridge: %d deferred statements are now in the database", ingested)
            self._on_event("recovered", ingested)

    def _commit(self, connection: sqlite3.Connection, statements: list[Statement]) -> None:
        try:
            with transaction(connection):
                for statement in statements:
                    execute(connection, statement)
                self._settle(connection, statements)
                self._indexer.index(connection)
            self._budgets.committed()
        except _REJECTIONS as error:
            logger.warning("aibridge: the database rejects a statement: %s", error)
            self._commit_accepted(connection, statements)

    def _commit_accepted(self, connection: sqlite3.Connection, statements: list[Statement]) -> None:
        """Commit all statements but those that the database rejects, which go to a file."""
        rejected = []
        with transaction(connection):
            for statement in statements:
                try:
                    execute(connection, statement)
                except _REJECTIONS:
                    rejected.append(statement)
            self._settle(connection, statements)
            self._indexer.index(connection)
        self._budgets.committed()
        append(self._path.with_name(f"{self._path.name}.rejected.jsonl"), rejected)
        self._has_lost = True
        self._on_event("rejected", len(rejected))

    def _settle(self, connection: sqlite3.Connection, statements: list[Statement]) -> None:
        try:
            self._budgets.settle(connection, statements)
        except sqlite3.Error:
            raise  # then nothing of the transaction is committed
        except Exception:  # a bug in budgets must not cost records; `sweep` settles later
            logger.exception("aibridge: budgets are not settled, by a bug of ours")

    def _note_unavailable(self, error: Exception) -> None:
        if self.available:
            logger.warning("aibridge: the database is unavailable, facts are spooled: %s", error)
        self.available = False
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(self._retry_seconds * 2, RETRY_SECONDS[1])

    def _note_available(self) -> None:
        if not self.available:
            logger.warning("aibridge: the database is available again")
        self.available = True
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS[0]


def execute(connection: sqlite3.Connection, statement: Statement) -> None:
    """Execute a statement, for one row or many."""
    kind, values = statement
    if isinstance(rows := values.get("rows"), list):
        connection.executemany(SQL[kind], rows)
    else:
        connection.execute(SQL[kind], values)


_REJECTIONS = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    OverflowError,
    UnicodeError,
)
"""Errors caused by a statement itself, not by the database."""


def _permanent_error(error: OSError | sqlite3.Error, path: Path) -> str:
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}"
    if isinstance(error, sqlite3.OperationalError):
        return f"{path}: {error}"
    return f"{path} is not an aibridge database: {error}"
