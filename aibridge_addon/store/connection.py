"""The connection that shared SQL runs on: the part of DB-API that `sqlite3` offers.

Shared SQL is the dialect of SQLite, as far as PostgreSQL can follow: `postgres.dialect` has the
rest. It aliases subqueries, names the target of `ON CONFLICT … DO UPDATE`, and uses no
comparison as a number.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

ALL = 2**63 - 1
"""Limit that leaves out no row."""


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """Number of changed rows."""

    @property
    def description(self) -> Any:
        """A tuple for each column, which begins with its name."""

    def fetchone(self) -> Any:
        """Return the next row, or None after the last."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows."""


class Connection(Protocol):
    """A connection in autocommit mode."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Cursor:
        """Execute a statement; parameters are `:name` with a mapping, or `?` with a sequence."""

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        """Execute a statement for each set of parameters."""


@runtime_checkable
class _Walkable(Protocol):
    def walk(self, sql: str, parameters: Any, /) -> Iterator[Any]: ...


def walk(connection: Connection, sql: str, parameters: Any) -> Iterator[Any]:
    """Yield the rows of a query that need not be read to its end, in bounded memory."""
    if isinstance(connection, _Walkable):
        return connection.walk(sql, parameters)
    return iter(connection.execute(sql, parameters))


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit all statements executed inside, or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # The error inside is the one to report; a connection that is lost has no transaction.
        with contextlib.suppress(Exception):
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def consistent(connection: Connection) -> Iterator[None]:
    """Execute the queries inside in one read transaction."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
