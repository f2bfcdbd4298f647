"""Read-only connection for one report: a consistent view, also while a proxy writes."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from aibridge_addon.store.errors import NothingRecordedError, StoreError

_READ_SECONDS = 5.0
"""Seconds to wait for a lock."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection inside one read transaction.

    Raises:
        NothingRecordedError: there is no such file.
        StoreError: it cannot be read.
    """
    with connected(path) as connection:
        connection.execute("BEGIN")
        yield connection


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection for several read transactions.

    Raises:
        NothingRecordedError: there is no such file.
        StoreError: it cannot be read.
    """
    if not path.exists():
        raise NothingRecordedError(f"nothing was recorded yet: there is no {path}")
    uri = f"{path.as_uri()}?mode=ro"
    try:
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=_READ_SECONDS, isolation_level=None)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error


@contextlib.contextmanager
def consistent(connection: sqlite3.Connection) -> Iterator[None]:
    """Execute the queries inside in one read transaction."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
