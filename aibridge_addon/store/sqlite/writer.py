"""The database, and where statements wait while it is away: a spool beside it, then memory.

Not the thread that uses it, which is `recorder.sqlite`'s. Whatever is away, the order of statements
is kept, and each gets into the database once.
"""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import batched
from pathlib import Path

from aibridge_addon.facts import now
from aibridge_addon.store.errors import RecorderError
from aibridge_addon.store.protocol import OnEvent, Retention
from aibridge_addon.store.spool import Spool, append, read
from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.database_file import DatabaseFile, may_pass, transaction
from aibridge_addon.store.sqlite.housekeeping import CLOSE_INTERRUPTED
from aibridge_addon.store.sqlite.ownership import Ownership
from aibridge_addon.store.sqlite.schema import SchemaTooNewError
from aibridge_addon.store.sqlite.sql import SQL
from aibridge_addon.store.sqlite.sweeper import Sweeper
from aibridge_addon.store.statements import Statement

logger = logging.getLogger(__name__)

RETRY_SECONDS = (1.0, 30.0)
"""Seconds between tries while the database is away: the first, and the most."""
MAX_IN_MEMORY = 100_000
"""Statements kept in memory when neither database nor spool can be written."""
_TRANSACTION_SIZE = 5_000
_END_OF_TIME = "9999-12-31"


class Writer:
    """The database, the spool and the memory behind them; used by one thread at a time."""

    def __init__(self, path: Path, on_event: OnEvent, retention: Retention) -> None:
        self.available = True
        self._path = path
        self._on_event = on_event
        self._sweeper = Sweeper(retention, lambda number: on_event("forgotten", number))
        self._spool = Spool(path)
        self._in_memory: deque[Statement] = deque()
        self._ownership = Ownership(path)
        self._database = DatabaseFile(path)
        self._recovered = False
        self._started_at = now()
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS[0]
        self._spool_failed = False

    def start(self) -> None:
        """Open the database if that is possible now, or say what is wrong for good.

        Nothing here is logged as an error, since mitmproxy ends itself over one at its start.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._recover(self._connection())
        except SchemaTooNewError as error:
            raise RecorderError(f"{self._path}: {error}; update aibridge_addon") from error
        except (OSError, sqlite3.Error) as error:
            if not may_pass(error, self._path):
                raise RecorderError(_wrong_for_good(error, self._path)) from error
            self._note_away(error)
        finally:
            self._ownership.share()

    def write(self, work: list[Statement]) -> bool:
        """Keep statements, behind those that still wait. Return whether they are kept."""
        if time.monotonic() >= self._retry_at and self._write_database(work):
            return True
        return self._write_spool(work)

    def tidy(self) -> None:
        """Delete a little of what is too old, if it is time to."""
        if not (self.available and self._sweeper.is_due):
            return
        try:
            self._sweeper.step(self._connection())
        except (sqlite3.Error, SchemaTooNewError, OSError) as error:
            self._note_away(error)

    def close(self) -> None:
        """Let go of the database, after a last try for what is in memory only."""
        if self._in_memory and not (self._write_database([]) or self._write_spool([])):
            self._note_lost(len(self._in_memory))
        self._database.close()
        self._ownership.release()

    def _connection(self) -> sqlite3.Connection:
        self._ownership.take()
        return self._database.connect()

    def _write_database(self, work: list[Statement]) -> bool:
        try:
            connection = self._connection()
            self._recover(connection)
            if not self._spool.is_empty:
                self._take_in(connection, self._spool.take(), then=self._spool.clear)
            if self._in_memory:
                self._take_in(connection, list(self._in_memory), then=self._in_memory.clear)
            if work:
                self._commit(connection, work)
        except (sqlite3.DatabaseError, SchemaTooNewError, OSError) as error:
            self._note_away(error)
            return False
        self._note_back()
        return True

    def _write_spool(self, work: list[Statement]) -> bool:
        if not work and not self._in_memory:
            return True
        try:
            self._spool.append([*self._in_memory, *work])
        except OSError as error:
            if not self._spool_failed:
                logger.warning("aibridge: the spool cannot be written either: %s", error)
            self._spool_failed = True
            self._keep_in_memory(work)
            return False
        self._spool_failed = False
        self._on_event("spooled", len(self._in_memory) + len(work))
        self._in_memory.clear()
        return True

    def _keep_in_memory(self, work: list[Statement]) -> None:
        self._in_memory.extend(work)
        overflow = len(self._in_memory) - MAX_IN_MEMORY
        if overflow > 0:
            for _ in range(overflow):
                self._in_memory.popleft()
            self._note_lost(overflow)

    def _note_lost(self, number: int) -> None:
        logger.error("aibridge: %d statements are lost: no place to keep them", number)
        self._on_event("lost", number)

    def _recover(self, connection: sqlite3.Connection) -> None:
        """Take in what earlier processes left, and close what they left open.

        If this runs late, processes may have started meanwhile: then only what is older than this
        one by the clock.
        """
        if self._recovered or not self._ownership.alone:
            return
        alone = self._ownership.exclude()
        try:
            for path in self._spool.others(older=not alone):
                self._take_in_from(connection, path)
            before = _END_OF_TIME if alone else self._started_at
            with transaction(connection):
                connection.execute(CLOSE_INTERRUPTED, {"now": now(), "before": before})
            if alone:
                vacuum.rebuild(connection)
        finally:
            self._ownership.share()
        self._recovered = True

    def _take_in_from(self, connection: sqlite3.Connection, path: Path) -> None:
        try:
            self._take_in(connection, read(path), then=path.unlink)
        except OSError as error:
            logger.warning("aibridge: %s cannot be taken in, and stays: %s", path, error)

    def _take_in(
        self,
        connection: sqlite3.Connection,
        work: Iterable[Statement],
        *,
        then: Callable[[], object],
    ) -> None:
        taken = 0
        for batch in batched(work, _TRANSACTION_SIZE, strict=False):
            self._commit(connection, list(batch))
            taken += len(batch)
        then()
        if taken:
            logger.info("aibridge: %d statements that had waited are in the database", taken)
            self._on_event("recovered", taken)

    def _commit(self, connection: sqlite3.Connection, work: list[Statement]) -> None:
        try:
            with transaction(connection):
                for kind, values in work:
                    connection.execute(SQL[kind], values)
        except _OURS as error:
            logger.warning("aibridge: a statement does not fit the database: %s", error)
            self._commit_what_fits(connection, work)

    def _commit_what_fits(self, connection: sqlite3.Connection, work: list[Statement]) -> None:
        """Keep one statement that cannot be run from holding up all others."""
        rejected = []
        with transaction(connection):
            for statement in work:
                try:
                    connection.execute(SQL[statement.kind], statement.values)
                except _OURS:
                    rejected.append(statement)
        append(self._path.with_name(f"{self._path.name}.rejected.jsonl"), rejected)
        self._on_event("rejected", len(rejected))

    def _note_away(self, error: Exception) -> None:
        if self.available:
            logger.warning("aibridge: the database is away, facts are spooled: %s", error)
        self.available = False
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(self._retry_seconds * 2, RETRY_SECONDS[1])

    def _note_back(self) -> None:
        if not self.available:
            logger.warning("aibridge: the database is back")
        self.available = True
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS[0]


_OURS = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    OverflowError,
    UnicodeError,
)
"""What a statement itself is to blame for, not the database."""


def _wrong_for_good(error: OSError | sqlite3.Error, path: Path) -> str:
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}"
    if isinstance(error, sqlite3.OperationalError):
        return f"{path}: {error}"
    return f"{path} is no database of ours: {error}"
