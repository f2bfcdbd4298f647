"""Keeps facts in SQLite: one thread writes, and commits whatever has gathered in one transaction.

Recording is an append to a queue. `kept` wakes the writer; all who wait during one commit share the
next. The start of an interception wakes nobody: it is written with what comes next, at the latest
after `LINGER` seconds.

When the database is away (locked, full, read-only, replaced), statements go to the spool in order,
and back from it, once, when it has returned; if not even the spool can be written, they wait in
memory, bounded, and `kept` says False.
"""

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from itertools import batched
from pathlib import Path

from sqlite_utils import Database

from aibridge_addon.facts import (
    Fact,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    TokenUsage,
    ToolUsage,
    UserPrompt,
    now,
)
from aibridge_addon.recorder import Recorder, RecorderError
from aibridge_addon.recorder.ownership import Ownership
from aibridge_addon.recorder.schema import SchemaTooNewError, migrate
from aibridge_addon.recorder.spool import Spool, append, read
from aibridge_addon.recorder.statements import (
    CLOSE_INTERRUPTED,
    FIND_HIDDEN_TURNS,
    SQL,
    Statement,
    statements,
)

logger = logging.getLogger(__name__)

LINGER = 0.25
"""Seconds that a fact nobody waits for may stay unwritten."""
BUSY_SECONDS = 1.0
"""Seconds that a commit waits for another program's lock."""
RETRY_SECONDS = (1.0, 30.0)
"""Seconds between tries while the database is away: the first, and the most."""
MAX_IN_MEMORY = 100_000
"""Statements kept in memory when neither database nor spool can be written."""
_TRANSACTION_SIZE = 5_000

type OnEvent = Callable[[str, int], None]
"""Told of `spooled`, `recovered`, `rejected` and `lost` statements, with their number; called on
the writer's thread."""


class _Mark:
    """Somebody waits until everything before this is kept."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bool] = self.loop.create_future()


class SQLiteRecorder(Recorder):
    """The default recorder."""

    def __init__(self, path: Path, *, on_event: OnEvent = lambda name, count: None) -> None:
        self.path = path.expanduser().absolute()
        self._on_event = on_event
        self._queue: deque[Fact | HiddenTurns | _Mark] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="aibridge recorder", daemon=True)
        self._store = _Store(self.path, on_event)

    def start(self) -> None:
        """Open and migrate the database, take in what an earlier process left, start to write."""
        try:
            self._store.start()
        except BaseException:
            self._store.close()
            raise
        self._thread.start()

    def record_interception(self, fact: Interception) -> None:
        """Keep the start of an interception."""
        self._queue.append(fact)

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        """Keep the end of an interception."""
        self._queue.append(fact)

    def record_token_usage(self, fact: TokenUsage) -> None:
        """Keep what a response cost."""
        self._queue.append(fact)

    def record_prompt_usage(self, fact: UserPrompt) -> None:
        """Keep what the person said."""
        self._queue.append(fact)

    def record_tool_usage(self, fact: ToolUsage) -> None:
        """Keep a tool call."""
        self._queue.append(fact)

    def record_model_thought(self, fact: ModelThought) -> None:
        """Keep a thought."""
        self._queue.append(fact)

    def record_hidden_turns(self, turns: HiddenTurns) -> None:
        """Keep turns that a client did not see."""
        self._queue.append(turns)

    async def find_hidden_turns(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        """Look hidden turns up, on a thread of their own."""
        return await asyncio.to_thread(self._find_hidden_turns, scope, list(keys))

    def _find_hidden_turns(self, scope: str, keys: list[str]) -> dict[str, str]:
        uri = f"{self.path.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as reader:
            values = {"scope": scope, "keys": json.dumps(keys)}
            return dict(reader.execute(FIND_HIDDEN_TURNS, values).fetchall())

    def kept(self) -> Awaitable[bool]:
        """Wait for the commit, or the spool, of all that was recorded before."""
        mark = _Mark()
        self._queue.append(mark)
        self._wake.set()
        return mark.future

    @property
    def available(self) -> bool:
        """Whether the last write reached the database."""
        return self._store.available

    def close(self) -> None:
        """Write what is left, and end."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while True:
            self._wake.wait(LINGER)
            self._wake.clear()
            closing = self._closing
            self._write_queue()
            if closing:
                return

    def _write_queue(self) -> None:
        entries = [self._queue.popleft() for _ in range(len(self._queue))]
        facts = [entry for entry in entries if not isinstance(entry, _Mark)]
        kept = False
        try:
            kept = self._store.write(statements(facts))
        except Exception:
            logger.exception("aibridge: the recorder failed; some facts are lost")
            self._on_event("lost", len(facts))
        _settle([entry for entry in entries if isinstance(entry, _Mark)], kept)


def _settle(marks: list[_Mark], kept: bool) -> None:
    """Wake those who wait, each loop once."""
    for loop in {mark.loop for mark in marks}:
        futures = [mark.future for mark in marks if mark.loop is loop]
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(_set_results, futures, kept)


def _set_results(futures: list[asyncio.Future[bool]], kept: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(kept)


class _Store:
    """The database, the spool and the memory behind them; used by one thread at a time."""

    def __init__(self, path: Path, on_event: OnEvent) -> None:
        self.available = True
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
def _transaction(connection: sqlite3.Connection):  # type: ignore[no-untyped-def]
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


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
