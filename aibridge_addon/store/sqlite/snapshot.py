"""A consistent view of a database file, while proxies write to it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from aibridge_addon.store.connection import Connection
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sqlite.schema import SchemaTooNewError, migrate


@contextmanager
def snapshot(path: Path) -> Iterator[Connection]:
    """Return a connection to a file, migrated to the newest schema, that sees no later changes.

    Raises:
        StoreError: it is not a database of this addon.
    """
    if not path.is_file():
        raise StoreError(f"{path} does not exist")
    try:
        with closing(Database(path)) as db:
            migrate(db)
    except (sqlite3.DatabaseError, SchemaTooNewError) as error:
        raise StoreError(f"{path}: {error}") from error
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield connection
