"""Writes statements to a database; while it is unavailable, to a spool, or else to memory.

The thread that calls it belongs to the recorder. Whatever is unavailable, statements stay in order,
and each reaches the database once.
"""

import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import batched
from pathlib import Path
from typing import Any

from aibridge_addon.budgets.book import BookUnavailableError
from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.protocol import OnEvent
from aibridge_addon.store.spool import Spool, append, read
from aibridge_addon.store.sql.budget_book import SQLBudgetBook, Work, alone, undo_alone
from aibridge_addon.store.statements import CONTENT_KINDS, Statement

logger = logging.getLogger(__name__)

RETRY_SECONDS = (1.0, 5.0)
"""Seconds between retries while the database is unavailable: the first, and the longest.

A retry at a locked database delays responses by a second, so it must not follow at once."""
MAX_IN_MEMORY = 100_000
"""Most statements held in memory when neither database nor spool can be written."""
_TRANSACTION_SIZE = 1_000
UNAVAILABLE = BookUnavailableError("the database is unavailable")


class RecordWriter[C: Connection](ABC):
    """The database, the spool, and memory as the last resort; used by one thread at a time.

    A subclass connects to its database, and executes statements there.
    """

    unavailable: tuple[type[Exception], ...]
    """Errors of a database that cannot be used; those of a rejected statement may be among them."""
    rejections: tuple[type[Exception], ...]
    """Errors caused by a statement itself, not by the database."""

    def __init__(self, path: Path, on_event: OnEvent, budgets: SQLBudgetBook) -> None:
        self.available = True
        self._budgets = budgets
        self._path = path
        """Beginning of the paths of the files beside the database."""
        self._on_event = on_event
        self._spool = Spool(path)
        self._in_memory: deque[Statement] = deque()
        self._has_lost = False
        """True if statements were lost or rejected."""
        self._retry_at = 0.0
        self._reason = ""
        """Why the database is unavailable, as it was logged."""
        self._retry_seconds = RETRY_SECONDS[0]
        self._spool_failed = False

    @abstractmethod
    def start(self) -> None:
        """Open the database, or go on without it if the error is transient.

        Nothing here is logged as an error: mitmproxy exits if an error is logged at its start.

        Raises:
            RecorderError: the database cannot be used with these settings.
        """

    @abstractmethod
    def may_have_lost(self) -> bool:
        """Return True if what was written before may be missing now, since the last call."""

    @abstractmethod
    def housekeep(self) -> None:
        """Execute the next step of retention, if it is due."""

    @abstractmethod
    def close_database(self) -> None:
        """Close the connection."""

    @abstractmethod
    def connection(self) -> C:
        """Return the connection, which may have to be opened."""

    @abstractmethod
    def recover(self, connection: C) -> None:
        """Ingest the spools of ended processes, and close their open interceptions, once."""

    @abstractmethod
    def commit(self, connection: C, statements: list[Statement]) -> None:
        """Execute statements and settle their budgets, in one transaction."""

    @abstractmethod
    def execute_accepted(self, connection: C, statements: list[Statement]) -> list[Statement]:
        """Execute statements inside a transaction; return those that the database rejects."""

    def finish(self, connection: C) -> None:
        """Execute what comes at the end of each transaction; nothing, unless overridden."""
        return

    def write(self, statements: list[Statement]) -> bool:
        """Write statements, after those that still wait; return True if they survive a crash."""
        if self.is_worth_trying and self.write_database(statements):
            return True
        return self.write_spool(statements)

    @property
    def is_empty(self) -> bool:
        """True if no statement waits for the database."""
        return self._spool.is_empty and not self._in_memory

    @property
    def is_worth_trying(self) -> bool:
        """True unless the database was unavailable a moment ago."""
        return time.monotonic() >= self._retry_at

    def execute(self, works: Sequence[Work]) -> list[Any] | None:
        """Execute works in one transaction; return their results, None if the database fails.

        A work that fails by itself has its exception as result, and does not fail the others.
        """
        if not works or not self.available:
            return None
        try:
            connection = self.connection()
            with self.in_time(connection), transaction(connection):
                self._budgets.before(connection, works)
                results = [self.try_work(connection, work) for work in works]
            self._budgets.committed()
        except self.unavailable as error:
            self._budgets.rolled_back()
            self.note_unavailable(error)
            return None
        return results

    def write_and_execute(
        self, statements: list[Statement], works: Sequence[Work]
    ) -> tuple[bool, list[Any] | None]:
        """Write statements and execute works: in two transactions, unless overridden."""
        kept = self.write(statements)
        results = self.execute(works)
        if works and results is None:
            results = self._execute_alone(works)
        return kept, results

    def _execute_alone(self, works: Sequence[Work]) -> list[Any]:
        """Execute works without the database, as far as they can; return None or their errors."""
        done = [self._try_alone(work) for work in works]
        is_spooled = self.write_spool([each for made in done for each in made or ()])
        if not is_spooled:
            done_works = [work for work, made in zip(works, done, strict=True) if made is not None]
            self._hold_in_memory([each for work in done_works for each in undo_alone(work)])
        return [UNAVAILABLE if made is None or not is_spooled else None for made in done]

    def _try_alone(self, work: Work) -> list[Statement] | None:
        try:
            return alone(work)
        except Exception:  # the edge: other works must not be lost with it
            logger.exception("aibridge: internal error while the database is unavailable")
            return None

    def try_work(self, connection: C, work: Work) -> Any:
        connection.execute("SAVEPOINT work")
        try:
            result = work(connection)
        except self.unavailable:
            raise
        except Exception as error:  # the edge: other works must not be lost with it
            logger.exception("aibridge: internal error in work on the database")
            connection.execute("ROLLBACK TO SAVEPOINT work")
            self._budgets.rolled_back()
            result = error
        connection.execute("RELEASE SAVEPOINT work")
        return result

    def in_time(self, connection: C) -> contextlib.AbstractContextManager[None]:
        """Bound the time of the work inside; not at all, unless overridden."""
        return contextlib.nullcontext()

    def tidy(self) -> None:
        """Execute the next steps of retention and of budgets, if they are due."""
        if self.available and (work := self._budgets.due):
            self.execute([work])
        if self.available:
            self.housekeep()

    def close(self) -> None:
        """Close the database, after a last attempt to write what is only in memory."""
        if holds := self._budgets.spooled([]):
            self.write(holds)
        if self._in_memory and not (self.write_database([]) or self.write_spool([])):
            self._note_lost(len(self._in_memory))
        self.close_database()
        self._spool.release()

    def write_database(self, statements: list[Statement]) -> bool:
        """Write what waits, and then statements, to the database; return False if it fails."""
        try:
            connection = self.connection()
            self.recover(connection)
            if not self._spool.is_empty:
                self._ingest(connection, self._spool.read(), then=self._spool.clear)
            if self._in_memory:
                self._ingest(connection, list(self._in_memory), then=self._in_memory.clear)
            if statements:
                self._commit(connection, statements)
        except self.unavailable as error:
            self._budgets.rolled_back()
            self.note_unavailable(error)
            return False
        self.note_available()
        return True

    def write_spool(self, statements: list[Statement]) -> bool:
        """Append statements to the spool; return False if they are in memory only."""
        statements = [*self._budgets.spooled(statements), *statements]
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

    def ingest_file(self, connection: C, path: Path) -> None:
        """Write the spool of another process to the database, and delete it."""
        try:
            self._ingest(connection, read(path), then=path.unlink)
        except OSError as error:
            logger.warning("aibridge: cannot ingest %s, so it stays: %s", path, error)

    def _ingest(
        self, connection: C, statements: Iterable[Statement], *, then: Callable[[], object]
    ) -> None:
        ingested = 0
        for batch in batched(statements, _TRANSACTION_SIZE, strict=False):
            self._commit(connection, list(batch))
            ingested += len(batch)
        then()
        if ingested:
            logger.info("aibridge: %d deferred statements are now in the database", ingested)
            self._on_event("recovered", ingested)

    def _commit(self, connection: C, statements: list[Statement]) -> None:
        try:
            self.commit(connection, statements)
            self._budgets.committed()
        except self.rejections as error:
            self._budgets.rolled_back()
            logger.warning("aibridge: the database rejects a statement: %s", error)
            self._commit_accepted(connection, statements)

    def _commit_accepted(self, connection: C, statements: list[Statement]) -> None:
        """Commit all statements but those that the database rejects, which go to a file."""
        with transaction(connection):
            rejected = self.execute_accepted(connection, statements)
            self.settle(connection, statements)
            self.finish(connection)
        self._budgets.committed()
        append(self._path.with_name(f"{self._path.name}.rejected.jsonl"), rejected)
        self._has_lost = True
        self._on_event("rejected", len(rejected))

    def settle(self, connection: C, statements: list[Statement]) -> None:
        """Settle the budgets of the interceptions that end with statements."""
        try:
            self._budgets.settle(connection, statements)
        except self.unavailable:
            raise  # then nothing of the transaction is committed
        except Exception:  # a bug in budgets must not cost records; `sweep` settles later
            self._budgets.rolled_back()
            logger.exception("aibridge: internal error: budgets are not settled")

    def note_unavailable(self, error: Exception) -> None:
        """Write to the spool for a while."""
        if (reason := str(error)) != self._reason:
            logger.warning("aibridge: the database is unavailable, facts are spooled: %s", reason)
        self._reason = reason
        self.available = False
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(self._retry_seconds * 2, RETRY_SECONDS[1])

    def note_available(self) -> None:
        if not self.available:
            logger.warning("aibridge: the database is available again")
        self.available = True
        self._reason = ""
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS[0]
