"""Read-only connection for one report: a consistent view, also while a proxy writes."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from aibridge_addon.store.connection import consistent
from aibridge_addon.store.errors import NothingRecordedError, StoreError
from aibridge_addon.store.sqlite.reports.top_models import TopModels

_READ_SECONDS = 5.0
"""Seconds to wait for a lock."""
_current: set[Path] = set()
"""Databases that have the newest schema."""
_HAS_MIGRATIONS = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
_APPLIED = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'aibridge'"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection inside one read transaction.

    Raises:
        NothingRecordedError: there is no such file, or it has no tables of ours.
        StoreError: it cannot be read.
    """
    with connected(path) as connection, consistent(connection):
        yield connection


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection for several read transactions.

    Raises:
        NothingRecordedError: there is no such file, or it has no tables of ours.
        StoreError: it cannot be read.
    """
    if not path.exists():
        raise NothingRecordedError(f"nothing was recorded yet: there is no {path}")
    uri = f"{path.as_uri()}?mode=ro"
    try:
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=_READ_SECONDS, isolation_level=None)
        ) as connection:
            update(path, connection)
            define_functions(connection)
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return True if a database has a table."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [name]).fetchone()
    return found is not None


def define_functions(connection: sqlite3.Connection) -> None:
    """Define the functions that the SQL of reports calls."""
    connection.create_aggregate("top_models", 2, TopModels)  # type: ignore[arg-type]


def update(path: Path, connection: sqlite3.Connection) -> None:
    """Migrate a database that an earlier version recorded, as a proxy does when it starts.

    This is done once in a process.

    Raises:
        NothingRecordedError: it has no tables of ours.
        StoreError: it cannot be written.
    """
    if path in _current:
        return
    from sqlite_utils import Database

    from aibridge_addon.store.sqlite.schema import SchemaTooNewError, known_migrations, migrate

    applied = set()
    if connection.execute(_HAS_MIGRATIONS).fetchone():
        applied = {name for (name,) in connection.execute(_APPLIED)}
    if not applied:
        raise NothingRecordedError(f"nothing was recorded yet: {path} has no tables of aibridge")
    if known_migrations() - applied:
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=_READ_SECONDS)) as writer:
                migrate(Database(writer))
        except (sqlite3.Error, SchemaTooNewError) as error:
            raise StoreError(
                f"{path} was recorded by an earlier version and cannot be updated: {error}"
            ) from error
    _current.add(path)
