"""Inspects a SQLite store for `aibridge doctor`: the file, its schema, and what waits beside it."""

import contextlib
import os
import sqlite3
from pathlib import Path

from aibridge_addon.findings import Finding
from aibridge_addon.store.waiting_files import inspect_disk, inspect_files

_LARGE_MIB = 4096
_LOCK_MS = 3000
"""Milliseconds to wait for a lock."""
_MAKE_WRITABLE = "make the file writable for your user"


def inspect(path: Path) -> list[Finding]:
    """Return the state of the database and of the files beside it. Changes nothing."""
    return [_inspect_file(path), *inspect_disk(path), *inspect_files(path)]


def _inspect_file(path: Path) -> Finding:
    if not path.exists():
        return _inspect_parent(path)
    try:
        count = _count_requests(path)
    except _NewerSchemaError as error:
        todo = "use the newer version, or name another database with --db"
        return Finding(about="database", level="bad", what=f"{path}: {error}", to_do=todo)
    except (sqlite3.Error, OSError) as error:
        what = f"{path}: {getattr(error, 'strerror', None) or error}"
        return Finding(about="database", level="bad", what=what, to_do=_cure_of(str(error)))
    size = path.stat().st_size / 2**20
    what = f"{path}, {count:,} request{'s' * (count != 1)}, {size:,.1f} MiB"
    if size > _LARGE_MIB:
        todo = "delete old records: see aibridge_retention_days"
        return Finding(about="database", level="note", what=what, to_do=todo)
    return Finding(about="database", level="ok", what=what)


def _cure_of(message: str) -> str:
    if "locked" in message:
        return f"end the program that has locked it for {_LOCK_MS / 1000:g} seconds or longer"
    do = "move the file away" if "not a database" in message else _MAKE_WRITABLE
    return f"{do}, or name another database with --db"


def _inspect_parent(path: Path) -> Finding:
    parent = next(folder for folder in path.parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Finding(about="database", level="ok", what=f"{path} will be created")
    todo = f"make {parent} writable for your user, or name another database with --db"
    return Finding(about="database", level="bad", what=f"{path} cannot be created", to_do=todo)


class _NewerSchemaError(Exception):
    pass


def _count_requests(path: Path) -> int:
    """Return the number of interceptions, after a check that the database can be written.

    Raises:
        _NewerSchemaError: a newer version has migrated it.
        sqlite3.Error, OSError: it cannot be used.
    """
    from sqlite_utils import Database

    from aibridge_addon.store.sqlite.schema import migrations, unknown_migrations

    with path.open("r+b"):  # SQLite opens a file that cannot be written for reading
        pass
    with contextlib.closing(sqlite3.connect(path.as_uri() + "?mode=rw", uri=True)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {_LOCK_MS}")
        if unknown := unknown_migrations(Database(connection)):
            raise _NewerSchemaError(f"a newer version has migrated it: {', '.join(unknown)}")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        if not list(migrations.applied(Database(connection))):
            return 0
        (count,) = connection.execute("SELECT count(*) FROM aibridge_interceptions").fetchone()
        return int(count)
