"""Returns the space of deleted rows to the disk, in steps so small that no writer waits long.

SQLite can do so only in a database that was created for it. An older small database is rebuilt once
at the start; an older large database keeps its size, and new rows fill the space.
"""

import logging
import sqlite3

logger = logging.getLogger(__name__)

PAGES_AT_ONCE = 256
"""Pages freed in one step: 1 MiB, about a millisecond."""
REBUILT_BYTES = 256 * 1024 * 1024
"""Largest size at which an older database is rebuilt, which takes about a second."""
_NONE, _INCREMENTAL = 0, 2
"""Values of `PRAGMA auto_vacuum`."""


def prepare(connection: sqlite3.Connection) -> None:
    """Let an empty database shrink later. Must be its first statement."""
    connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")


def rebuild(connection: sqlite3.Connection) -> None:
    """Rebuild an older database, if it is small, so that it can shrink. Nobody else may use it."""
    if _number(connection, "auto_vacuum") != _NONE:
        return
    if _number(connection, "page_count") * _number(connection, "page_size") > REBUILT_BYTES:
        logger.info(
            "aibridge: an older version created the database, and it is too large to be rebuilt"
            " at the start: it reuses the space of deleted rows, but does not shrink (see the"
            " documentation on retention)"
        )
        return
    try:
        connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:  # VACUUM needs space for a copy
        logger.warning("aibridge: the database could not be rebuilt to shrink: %s", error)


def free_some(connection: sqlite3.Connection) -> bool:
    """Free a few pages at the end of the file; return True if there are more to free."""
    if _number(connection, "auto_vacuum") != _INCREMENTAL:
        return False
    free = _number(connection, "freelist_count")
    if not free:
        return False
    connection.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
    if free > PAGES_AT_ONCE:
        return True
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # now the file itself shrinks
    return False


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)
