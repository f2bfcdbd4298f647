"""Writes statements to a PostgreSQL database, in batches without waiting for each statement.

Nothing waits for a connection: without it, statements go to the spool, and `tidy` connects again
when nobody waits. The spool is in the user's data folder, since the database has no folder.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
from platformdirs import user_data_path

from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.errors import RecorderError, StoreError
from aibridge_addon.store.postgres import errors, partitions, schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.budget_book import PostgresBudgetBook
from aibridge_addon.store.postgres.connection import PostgresConnection, connect
from aibridge_addon.store.postgres.deadline import deadline
from aibridge_addon.store.postgres.housekeeping import Housekeeping
from aibridge_addon.store.postgres.reconnection import Reconnection
from aibridge_addon.store.postgres.sql import SQL
from aibridge_addon.store.postgres.sweeper import Sweeper
from aibridge_addon.store.protocol import OnEvent, Retention
from aibridge_addon.store.record_writer import RecordWriter
from aibridge_addon.store.spool import abandoned
from aibridge_addon.store.statements import Statement

WRITE_SECONDS = 1.5
"""Longest time that a commit may take before its statements go to the spool. Must be shorter than
responses wait for it."""
_STATEMENT_SECONDS = 0.01
"""Time of each statement of a large batch."""
_SAFE_COMMITS = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)
"""A commit must survive a crash of the server, whatever other programs want."""
_SHARED_KINDS = ("part", "search_text", "rate_limits")
"""Kinds whose rows several processes may write: in an order, so that none waits for another that
waits for it."""
_ATTEMPTS = 3


class Writer(RecordWriter[PostgresConnection]):
    """Writer of a database."""

    unavailable = errors.UNAVAILABLE
    rejections = errors.REJECTIONS

    def __init__(
        self,
        address: Address,
        on_event: OnEvent,
        retention: Retention,
        budgets: PostgresBudgetBook,
    ) -> None:
        super().__init__(spool_path(address), on_event, budgets)
        self._address = address
        self._book = budgets
        self._housekeeping = Housekeeping(
            self._open, Sweeper(retention, lambda number: on_event("forgotten", number))
        )
        self._connection: PostgresConnection | None = None
        self._generation = 0
        """Number of connections so far: each may be to another server."""
        self._seen_generation = 0
        self._has_recovered = False
        self._reconnection: Reconnection | None = None

    def start(self) -> None:
        """Open and migrate the database, or go on without it if the error is transient."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.recover(self.connection())
        except errors.UNAVAILABLE as error:
            if errors.is_permanent(error):
                reason = self._address.without_secrets(error)
                raise RecorderError(f"{self._address.public}: {reason}") from None
            self.note_unavailable(error)

    def write(self, statements: list[Statement]) -> bool:
        """Write statements, to the spool while there is no connection."""
        if self._connection is not None and self.write_database(statements):
            return True
        return self.write_spool(statements)

    def tidy(self) -> None:
        """Connect again if it is time to, or execute the next steps of housekeeping."""
        if self._connection is not None:
            super().tidy()
        elif self._reconnection is None:
            if self.is_worth_trying:
                self._reconnection = Reconnection(self._open)
        elif self._reconnection.is_done:
            reconnection, self._reconnection = self._reconnection, None
            try:
                self._adopt(reconnection.result())
                self.write_database([])
            except errors.UNAVAILABLE as error:
                self.note_unavailable(error)

    def may_have_lost(self) -> bool:
        """Return True if what was written before may be missing now, since the last call."""
        before, self._seen_generation = self._seen_generation, self._generation
        has_lost, self._has_lost = self._has_lost, False
        return has_lost or before != self._generation

    def note_unavailable(self, error: Exception) -> None:
        """Drop the connection, whose state is unknown, and write to the spool for a while."""
        self.close_database()
        super().note_unavailable(StoreError(self._address.without_secrets(error)))

    def close(self) -> None:
        """Close the database, after a last attempt to write what is only in memory."""
        if self._reconnection is not None:
            self._reconnection.abandon()
        self._housekeeping.close()
        super().close()

    def close_database(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def connection(self) -> PostgresConnection:
        """Return the connection to the migrated database."""
        return self._connection or self._adopt(self._open())

    def _open(self) -> PostgresConnection:
        """Return a new connection; also called on a thread of its own."""
        connection = connect(self._address, "aibridge recorder")
        try:
            connection.execute(_SAFE_COMMITS)
            schema.migrate(connection)
            partitions.ensure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _adopt(self, connection: PostgresConnection) -> PostgresConnection:
        self._connection = connection
        self._generation += 1
        self._has_recovered = False
        return connection

    def recover(self, connection: PostgresConnection) -> None:
        """Ingest the spools of ended processes of this machine, once per connection."""
        if self._has_recovered:
            return
        self._has_recovered = True
        for path in abandoned(self._path):
            self.ingest_file(connection, path)

    def in_time(self, connection: PostgresConnection) -> contextlib.AbstractContextManager[None]:
        """Cut the connection if the work inside takes too long."""
        return deadline(connection, WRITE_SECONDS)

    def commit(self, connection: PostgresConnection, statements: list[Statement]) -> None:
        """Execute statements and settle their budgets, in one transaction."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                # What was spooled comes in large batches, and nobody waits for it.
                seconds = max(WRITE_SECONDS, len(statements) * _STATEMENT_SECONDS)
                with deadline(connection, seconds):
                    self._commit_once(connection, statements)
            except errors.COLLISIONS:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _commit_once(self, connection: PostgresConnection, statements: list[Statement]) -> None:
        with transaction(connection):
            self._book.keep_lease(connection)
            with connection.raw.pipeline():
                for statement in in_order(statements):
                    execute(connection, statement)
                touched = self._book.find(connection, statements)
            if touched is not None and touched.fetchone():
                self.settle(connection, statements)

    def execute_accepted(
        self, connection: PostgresConnection, statements: list[Statement]
    ) -> list[Statement]:
        """Execute statements; return those that the database rejects."""
        rejected = []
        for statement in in_order(statements):
            try:
                with _savepoint(connection):
                    execute(connection, statement)
            except errors.REJECTIONS:
                rejected.append(statement)
        return rejected

    def housekeep(self) -> None:
        """Start a round of housekeeping, if it is due."""
        self._housekeeping.start_if_due()


def spool_path(address: Address) -> Path:
    """Return the beginning of the paths of spools for a database."""
    digest = hashlib.blake2b(address.public.encode(), digest_size=8).hexdigest()
    return user_data_path("aibridge", appauthor=False) / "postgresql" / digest


def in_order(statements: list[Statement]) -> list[Statement]:
    """Return statements with those of shared rows at the end, in an order of their own."""
    own = [statement for statement in statements if statement.kind not in _SHARED_KINDS]
    shared = [statement for statement in statements if statement.kind in _SHARED_KINDS]
    return own + sorted(shared, key=_shared_key)


def _shared_key(statement: Statement) -> tuple[str, str]:
    kind, values = statement
    match kind:
        case "part":
            digest = values["digest"]
            assert isinstance(digest, bytes)
            return kind, digest.hex()
        case "search_text":
            return kind, str(values["source"])
    names = ("provider_name", "credential_kind", "credential_hint", "initiator_id", "seen_at")
    return kind, "/".join(str(values[name]) for name in names)


def execute(connection: Connection, statement: Statement) -> None:
    """Execute a statement, for one row or many."""
    assert isinstance(connection, PostgresConnection)
    kind, values = statement
    if isinstance(rows := values.get("rows"), list):
        connection.raw.cursor().executemany(SQL[kind], rows)
    else:
        connection.raw.execute(SQL[kind], values)


@contextlib.contextmanager
def _savepoint(connection: PostgresConnection) -> Iterator[None]:
    connection.execute("SAVEPOINT statement")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK TO SAVEPOINT statement")
        raise
    connection.execute("RELEASE SAVEPOINT statement")
