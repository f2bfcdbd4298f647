"""Gives the space of deleted rows back to the disk, in steps so small that no writer waits long.

SQLite can do so only in a database that was made for it. An older one is rebuilt once at the start,
if it is small; a large one keeps its size, and new rows fill the space.
"""

import logging
import sqlite3

logger = logging.getLogger(__name__)

PAGES_AT_ONCE = 256
"""Freed in one step: 1 MiB, about a millisecond."""
REBUILT_BYTES = 256 * 1024 * 1024
"""Size up to which an older database is rebuilt: about a second."""
_NONE, _INCREMENTAL = 0, 2
"""Values of `PRAGMA auto_vacuum`."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make a database that is still empty one that can shrink; the first statement in it."""
    connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")


def rebuild(connection: sqlite3.Connection) -> None:
    """Make an older database one that can shrink, if it is small. Nobody else may use it."""
    if _number(connection, "auto_vacuum") != _NONE:
        return
    if _number(connection, "page_count") * _number(connection, "page_size") > REBUILT_BYTES:
        logger.info(
            "aibridge: the database was made by an older version and is too large to be rebuilt"
            " at the start: it reuses the space of deleted rows, but does not shrink (see the"
            " documentation on retention)"
        )
        return
    try:
        connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:  # it needs room for a copy
        logger.warning("aibridge: the database could not be rebuilt to shrink: %s", error)


def free_some(connection: sqlite3.Connection) -> bool:
    """Free a few pages at the end of the file. Return whether there are more to free."""
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
