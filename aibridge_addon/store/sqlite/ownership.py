"""Which processes use a database, so that none takes another's open work for a crash's.

Every process holds a shared lock on `<database>.lock`; who gets it exclusively at start is alone,
and may recover what others left. The system releases locks when a process dies, however it dies.
"""

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no advisory locks; every process takes itself for the only one
    fcntl = None  # type: ignore[assignment]


class Ownership:
    """This process's hold on a database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._descriptor: int | None = None
        self.alone = False
        """Whether no other process used the database when this one started."""

    def take(self) -> None:
        """Take the lock, exclusively if that is possible.

        Raises:
            OSError: the lock file cannot be made.
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
        """Keep other processes out until `share`; return False if there are some."""
        if self._descriptor is None:
            return False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def share(self) -> None:
        """Hold it together with others."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
