"""Connections for readers and commands, which stay open and are opened again if they break."""

import contextlib
import threading
import weakref
from collections.abc import Iterator

from aibridge_addon.store.errors import NothingRecordedError, StoreError
from aibridge_addon.store.postgres import schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import (
    PostgresConnection,
    connect,
    errors_of,
    import_psycopg,
)

MOST_IDLE = 2
"""Connections that stay open, for each kind of use."""
STATEMENT_SECONDS = 60
"""Longest duration of a statement of a report."""
_READ_ONLY = (
    "SET default_transaction_isolation = 'repeatable read'",
    "SET default_transaction_read_only = on",
    f"SET statement_timeout = '{STATEMENT_SECONDS}s'",
    "SET work_mem = '32MB'",
    # The lists of spans in a report hide how few rows they choose: without these, the planner reads
    # and sorts whole tables. Every report has the indexes that it needs.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
)


class Pool:
    """Connections to a database; for any thread."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[PostgresConnection] = []
        self._lock = threading.Lock()
        self._is_checked = False
        weakref.finalize(self, close_all, self._idle)

    @contextlib.contextmanager
    def reading(self) -> Iterator[PostgresConnection]:
        """Return a connection whose transactions are consistent and change nothing.

        Raises:
            NothingRecordedError: there are no tables of ours.
            StoreError: the database cannot be read.
        """
        with errors_of(self._address):
            connection = self._idle_connection() or self._new_connection()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._keep(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator[PostgresConnection]:
        """Return a new connection to the newest schema, for a command.

        Raises:
            StoreError: the database cannot be written.
        """
        with errors_of(self._address), contextlib.closing(connect(self._address)) as connection:
            schema.migrate(connection)
            yield connection

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            close_all(self._idle)

    def _idle_connection(self) -> PostgresConnection | None:
        """Return a connection that works, if there is any."""
        psycopg = import_psycopg()
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            try:
                connection.execute("SELECT 1")
            except psycopg.Error:
                connection.close()
            else:
                return connection

    def _new_connection(self) -> PostgresConnection:
        connection = connect(self._address)
        try:
            if not self._is_checked:
                self._check(connection)
            for statement in _READ_ONLY:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: PostgresConnection) -> None:
        if not schema.applied_migrations(connection):
            raise NothingRecordedError(
                f"nothing was recorded yet: {self._address.public} has no tables of aibridge"
            )
        try:
            schema.migrate(connection)
        except import_psycopg().Error as error:
            raise StoreError(
                f"{self._address.public} was recorded by an earlier version and cannot be updated:"
                f" {self._address.without_secrets(error)}"
            ) from None
        self._is_checked = True

    def _keep(self, connection: PostgresConnection) -> None:
        with self._lock:
            if len(self._idle) < MOST_IDLE and not connection.raw.closed:
                self._idle.append(connection)
                return
        connection.close()


def close_all(connections: list[PostgresConnection]) -> None:
    """Close connections, and empty the list of them."""
    while connections:
        with contextlib.suppress(Exception):
            connections.pop().close()
