"""Locks of files for this process; the system releases those of a process however it dies.

Without locks (on Windows), every process assumes that it is alone.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


def lock(path: Path) -> int | None:
    """Lock a file; return its open descriptor, or None if another process has locked it.

    Raises:
        OSError: the file is missing, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR)
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
    return descriptor


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Create a file and hold its lock; wait while another process does.

    Raises:
        OSError: the file cannot be created.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
