"""Connection of a command that writes to the database file, beside a proxy that may write too."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aibridge_addon.store.errors import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database

_WRITE_SECONDS = 5.0
"""Seconds to wait for a lock."""


@contextlib.contextmanager
def writing(path: Path) -> "Iterator[Database]":
    """Open and migrate the database, which is created if it does not exist; commit at the end.

    Raises:
        StoreError: the database cannot be written.
    """
    # Imported late: `aibridge env` in shell profiles only reads, and must start fast.
    from sqlite_utils import Database

    from aibridge_addon.store.sqlite.schema import SchemaTooNewError, migrate

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=_WRITE_SECONDS)
        with contextlib.closing(connection):
            db = Database(connection)
            db.enable_wal()
            migrate(db)
            with connection:
                yield db
    except (sqlite3.Error, SchemaTooNewError, OSError) as error:
        raise StoreError(f"{path}: {error}") from error
