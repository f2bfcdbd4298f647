"""Connection to the database file; detects that it was deleted, replaced or overwritten.

SQLite detects none of these: it goes on writing to a file without a name, or copies its log into
the other content of the file.
"""

import contextlib
import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from aibridge_addon.store.sqlite import vacuum
from aibridge_addon.store.sqlite.schema import migrate

logger = logging.getLogger(__name__)

BUSY_SECONDS = 1.0
"""Seconds that a commit waits for another program's lock."""
_MAGIC = b"SQLite format 3\0"
_WAL_VERSION = 2
"""Version in the header of a database that uses a write-ahead log."""

type _FileId = tuple[int, int]


class DatabaseFile:
    """A database file and its connection; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._descriptor = -1
        """Open file for reading its header. It stays open, since closing it would release the locks
        that SQLite holds on the same file."""
        self._file_id: _FileId | None = None
        self._log_ids: dict[Path, _FileId | None] = {}
        self.generation = 0
        """Number of connections so far; each may be to another file."""
        self._versions = (0, 0, 0)
        """The newest versions read from the header."""

    def connect(self) -> sqlite3.Connection:
        """Return a connection to the file that the path names now.

        Raises:
            OSError, sqlite3.Error, SchemaTooNewError: the file cannot be used.
        """
        if self._connection is not None:
            self._close_if_changed()
        if self._connection is None:
            self._open()
        assert self._connection is not None
        return self._connection

    def _close_if_changed(self) -> None:
        is_log_gone = self._log_is_gone()  # first: whoever moves the file may move the log after it
        if change := self._change():
            logger.warning("aibridge: the database %s was %s while in use", self._path, change)
            self._abandon()
        elif is_log_gone:
            logger.warning("aibridge: the log of the database %s was deleted", self._path)
            self.close()  # writes the content of the log to the file

    def close(self) -> None:
        """Close the connection."""
        if self._connection is None:
            return
        if self._change():
            self._abandon()
            return
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._forget()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)  # it holds prompts
        try:
            self._connection = self._new_connection()
        except BaseException:
            self._forget()
            raise
        self.generation += 1
        self._file_id = _file_id(self._path)
        paths = [self._path.with_name(self._path.name + suffix) for suffix in ("-wal", "-shm")]
        self._log_ids = {path: _file_id(path) for path in paths}
        self._versions = self._read_versions() or (0, 0, 0)

    def _new_connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            vacuum.prepare(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(Database(connection))
        except BaseException:
            connection.close()
            raise
        return connection

    def _change(self) -> str | None:
        """Return how another program changed the file, if it did."""
        if self._file_id != _file_id(self._path):
            return "deleted or replaced"
        versions = self._read_versions()
        if versions is None or any(map(int.__lt__, versions, self._versions)):
            return "overwritten"
        self._versions = versions
        return None

    def _read_versions(self) -> tuple[int, int, int] | None:
        """Return format, change counter and schema version; None if the header is garbage.

        With a log, none of them ever decreases, so that an older copy is detected too.
        """
        head = os.pread(self._descriptor, 100, 0)
        if not head.startswith(_MAGIC):
            return None
        if head[18] != _WAL_VERSION:
            return head[18], 0, 0
        return head[18], int.from_bytes(head[24:28]), int.from_bytes(head[40:44])

    def _log_is_gone(self) -> bool:
        return any(id_ != _file_id(path) for path, id_ in self._log_ids.items())

    def _abandon(self) -> None:
        """Close the connection to a changed file without writing to it.

        Its log is deleted, since SQLite would apply it to the file that the path names now.
        """
        assert self._connection is not None
        self._connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        for path, file_id in self._log_ids.items():
            if file_id is not None and file_id == _file_id(path):
                with contextlib.suppress(OSError):
                    path.unlink()
        self._forget()

    def _forget(self) -> None:
        self._connection = None
        os.close(self._descriptor)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all statements executed inside, or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def is_transient(error: OSError | sqlite3.Error, path: Path) -> bool:
    """Return True if an error may pass without a change of settings.

    A path that never was a database, and cannot become a database, is a mistake in the settings.
    """
    if isinstance(error, OSError):
        return error.errno in _TRANSIENT or (error.errno in _DENIED and path.is_file())
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _TRANSIENT_CODES


_TRANSIENT = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.EBUSY, errno.ESTALE, errno.ETXTBSY),
)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_TRANSIENT_CODES = (
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL),
)


def _file_id(path: Path) -> _FileId | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
