"""Locks that show which processes use a database, so that none recovers the work of a live process.

Every process holds a shared lock on `<database>.lock`. A process that gets an exclusive lock at its
start is alone and may recover. The system releases the locks of a process however it dies.
"""

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no advisory locks: every process assumes that it is alone
    fcntl = None  # type: ignore[assignment]


class Ownership:
    """This process's lock on a database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._descriptor: int | None = None
        self.alone = False
        """True if no other process used the database when this one started."""

    def acquire(self) -> None:
        """Acquire the lock, exclusively if possible.

        Raises:
            OSError: the lock file cannot be created.
        """
        if self._descriptor is not None:
            return
        if fcntl is None:
            self.alone = True
            return
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self.alone = self.exclude()
        if not self.alone:
            self.share()

    def exclude(self) -> bool:
        """Lock exclusively until `share`; return False if other processes hold the lock."""
        if self._descriptor is None:
            return False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def share(self) -> None:
        """Lock together with other processes."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
