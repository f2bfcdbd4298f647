"""The database, and where statements wait while it is away: a spool beside it, then memory.

Not the thread that uses it, which is `recorder.sqlite`'s. Whatever is away, the order of statements
is kept, and each gets into the database once.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path

from sqlite_utils import Database

from aibridge_addon.facts import now
from aibridge_addon.store.ownership import Ownership
from aibridge_addon.store.recorder import RecorderError
from aibridge_addon.store.schema import SchemaTooNewError, migrate
from aibridge_addon.store.spool import Spool, append, read
from aibridge_addon.store.statements import (
    CLOSE_INTERRUPTED,
    FORGET_HIDDEN_TURNS,
    FORGET_INTERCEPTIONS,
    SQL,
    Statement,
)

logger = logging.getLogger(__name__)

BUSY_SECONDS = 1.0
"""Seconds that a commit waits for another program's lock."""
RETRY_SECONDS = (1.0, 30.0)
"""Seconds between tries while the database is away: the first, and the most."""
MAX_IN_MEMORY = 100_000
"""Statements kept in memory when neither database nor spool can be written."""
_TRANSACTION_SIZE = 5_000

type OnEvent = Callable[[str, int], None]
"""Told of `spooled`, `recovered`, `rejected` and `lost` statements, and of `forgotten`
interceptions, with their number; called on the writer's thread."""
_FORGET_SECONDS = 3600.0
"""Between times that what is too old is deleted."""
_FORGET_AT_ONCE = 500
"""Interceptions deleted in one transaction, so that no answer waits long behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days rows are kept; None is for ever."""

    interceptions: int | None = None
    hidden_turns: int | None = None


class Store:
    """The database, the spool and the memory behind them; used by one thread at a time."""

    def __init__(self, path: Path, on_event: OnEvent, retention: Retention) -> None:
        self.available = True
        self._retention = retention
        self._forget_at = 0.0
        self._path = path
        self._on_event = on_event
        self._spool = Spool(path)
        self._in_memory: deque[Statement] = deque()
        self._ownership = Ownership(path)
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        self._side_files: dict[Path, tuple[int, int] | None] = {}
        self._recovered = False
        self._started_at = now()
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS[0]

    def start(self) -> None:
        """Open the database if that is possible now, or say what is wrong for good."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._ownership.take()
            self._connect()
            self._recover()
        except OSError as error:
            raise RecorderError(f"{self._path}: {error.strerror or error}") from error
        except SchemaTooNewError as error:
            raise RecorderError(f"{self._path}: {error}; update aibridge_addon") from error
        except sqlite3.OperationalError as error:
            if not _is_passing(error):
                raise RecorderError(f"{self._path}: {error}") from error
            self._note_away(error)
        except sqlite3.DatabaseError as error:
            raise RecorderError(f"{self._path} is no database of ours: {error}") from error
        finally:
            self._ownership.share()

    def write(self, work: list[Statement]) -> bool:
        """Keep statements, behind those that still wait. Return whether they are kept."""
        if time.monotonic() >= self._retry_at and self._write_database(work):
            return True
        return self._write_spool(work)

    def close(self) -> None:
        """Let go of the database, after a last try for what is in memory only."""
        if self._in_memory and not (self._write_database([]) or self._write_spool([])):
            self._note_lost(len(self._in_memory))
        self._disconnect()
        self._ownership.release()

    def _write_database(self, work: list[Statement]) -> bool:
        try:
            self._ensure_connected()
            self._recover()
            if not self._spool.is_empty:
                self._take_in(self._spool.take(), then=self._spool.clear)
            if self._in_memory:
                self._take_in(list(self._in_memory), then=self._in_memory.clear)
            if work:
                self._commit(work)
            else:
                self._forget()
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
            logger.error("aibridge: the spool cannot be written either: %s", error)
            self._keep_in_memory(work)
            return False
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

    def _ensure_connected(self) -> None:
        # SQLite goes on writing to a file that was deleted or replaced: nobody would ever see it.
        if self._connection is None or self._file_id != _file_id(self._path):
            self._disconnect()
            self._connect()

    def _connect(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)  # it holds prompts
        os.close(descriptor)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(Database(connection))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._file_id = _file_id(self._path)
        paths = [self._path.with_name(self._path.name + suffix) for suffix in ("-wal", "-shm")]
        self._side_files = {path: _file_id(path) for path in paths}

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            if self._file_id != _file_id(self._path):
                self._remove_side_files()
        self._connection = None

    def _remove_side_files(self) -> None:
        """Remove the log of a database that was deleted or replaced.

        SQLite leaves it behind, and would play it into the database that now has this name.
        """
        for path, file_id in self._side_files.items():
            if file_id is not None and file_id == _file_id(path):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _recover(self) -> None:
        """Take in what earlier processes left, and close what they left open.

        Only what is older than this process: it may run late, with others started meanwhile.
        """
        if self._recovered or not self._ownership.alone:
            return
        for path in self._spool.abandoned():
            self._take_in(read(path), then=path.unlink)
        assert self._connection is not None
        with _transaction(self._connection):
            self._connection.execute(CLOSE_INTERRUPTED, {"now": now(), "before": self._started_at})
        self._recovered = True

    def _take_in(self, work: Iterable[Statement], *, then: Callable[[], object]) -> None:
        taken = 0
        for batch in batched(work, _TRANSACTION_SIZE, strict=False):
            self._commit(list(batch))
            taken += len(batch)
        then()
        if taken:
            logger.info("aibridge: %d statements that had waited are in the database", taken)
            self._on_event("recovered", taken)

    def _commit(self, work: list[Statement]) -> None:
        assert self._connection is not None
        try:
            with _transaction(self._connection):
                for kind, values in work:
                    self._connection.execute(SQL[kind], values)
        except _OURS as error:
            logger.error("aibridge: a statement does not fit the database: %s", error)
            self._commit_what_fits(work)

    def _commit_what_fits(self, work: list[Statement]) -> None:
        """Keep one statement that cannot be run from holding up all others."""
        assert self._connection is not None
        rejected = []
        with _transaction(self._connection):
            for statement in work:
                try:
                    self._connection.execute(SQL[statement.kind], statement.values)
                except _OURS:
                    rejected.append(statement)
        append(self._path.with_name(f"{self._path.name}.rejected.jsonl"), rejected)
        self._on_event("rejected", len(rejected))

    def _forget(self) -> None:
        """Delete what is too old, a little at a time, while there is nothing else to do."""
        if time.monotonic() < self._forget_at:
            return
        assert self._connection is not None
        deleted = 0
        with _transaction(self._connection):
            if self._retention.hidden_turns is not None:
                before = _days_ago(self._retention.hidden_turns)
                self._connection.execute(FORGET_HIDDEN_TURNS, {"before": before})
            if self._retention.interceptions is not None:
                values = {
                    "before": _days_ago(self._retention.interceptions),
                    "limit": _FORGET_AT_ONCE,
                }
                for statement in FORGET_INTERCEPTIONS:
                    deleted = self._connection.execute(statement, values).rowcount
        if deleted:
            self._on_event("forgotten", deleted)
        if deleted < _FORGET_AT_ONCE:
            self._forget_at = time.monotonic() + _FORGET_SECONDS

    def _note_away(self, error: Exception) -> None:
        if self.available:
            logger.error("aibridge: the database is away, facts are spooled: %s", error)
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


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_passing(error: sqlite3.OperationalError) -> bool:
    """Whether this may be over by itself: somebody holds a lock, or the disk is full."""
    return error.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
    )
