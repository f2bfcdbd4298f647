"""Numbers of open connections of several processes, in memory that they share.

The processes inherit one listening socket. The kernel wakes all of them for a new connection, in
the same order each time, so that the first would accept most of them.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_FREE = -1
_STOPPED = -2
_ITEM_BYTES = 4


class ConnectionCounts:
    """The number of each process that accepts connections, by slot."""

    def __init__(self, descriptor: int) -> None:
        mapped = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._counts = memoryview(mapped).cast("i")

    def take_slot(self) -> int:
        """Return a free slot; it stays taken until `free`."""
        slot = list(self._counts).index(_FREE)
        self._counts[slot] = 0
        return slot

    def stop(self, slot: int) -> None:
        """Note that a process accepts no more connections."""
        self._counts[slot] = _STOPPED

    def free(self, slot: int) -> None:
        """Free the slot of a process that has ended."""
        self._counts[slot] = _FREE

    def add(self, slot: int, change: int) -> None:
        """Change the number of a process, unless it accepts no more connections."""
        if self._counts[slot] >= 0:
            self._counts[slot] = max(0, self._counts[slot] + change)

    def has_fewest(self, slot: int) -> bool:
        """Return True if no other process has fewer connections."""
        return self._counts[slot] <= min((n for n in self._counts if n >= 0), default=0)


@contextmanager
def shared_counts(processes: int) -> Iterator[BinaryIO]:
    """Make the memory for a number of processes, which inherit its descriptor."""
    is_linux = hasattr(os, "memfd_create")
    with (
        open(os.memfd_create("aibridge connections"), "r+b", buffering=0)
        if is_linux
        else tempfile.TemporaryFile(buffering=0)
    ) as file:
        file.write(_FREE.to_bytes(_ITEM_BYTES, "little", signed=True) * processes)
        yield file
