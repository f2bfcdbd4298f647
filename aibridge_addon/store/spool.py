"""Where statements wait while the database is away: append-only files of JSON lines beside it.

Each process appends to a file of its own, made when it is first needed. A line that a crash tore is
left out when a spool is read: its facts were never said to be kept.
"""

import contextlib
import glob
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from aibridge_addon.facts import new_id
from aibridge_addon.store.statements import KINDS, Statement, completed

logger = logging.getLogger(__name__)


class Spool:
    """The spool of one process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.path = database.with_name(f"{database.name}.spool-{new_id()}.jsonl")
        self.is_empty = True

    def append(self, work: Iterable[Statement]) -> None:
        """Add statements; when this returns, they survive a crash.

        Raises:
            OSError: they could not be written.
        """
        # Set first: a write that failed half-way may have left whole lines.
        self.is_empty = False
        append(self.path, work)

    def take(self) -> Iterator[Statement]:
        """Read the statements in order; they stay until `clear`."""
        return read(self.path)

    def clear(self) -> None:
        """Forget what was taken in."""
        self.path.unlink(missing_ok=True)
        self.is_empty = True

    def others(self, *, older: bool) -> list[Path]:
        """Return the spools of other processes by age, or only those made before this one's.

        Names tell the age by the clock, which may have gone back since a spool was made.
        """
        pattern = f"{glob.escape(self._database.name)}.spool-*.jsonl"
        paths = sorted(self._database.parent.glob(pattern))
        return [path for path in paths if (path < self.path if older else path != self.path)]


def append(path: Path, work: Iterable[Statement]) -> None:
    """Add statements to a file; when this returns, they survive a crash.

    Raises:
        OSError: they could not be written.
    """
    lines = "".join(json.dumps({"statement": s.kind, "values": s.values}) + "\n" for s in work)
    # Not inherited by children, not readable by others: it holds prompts.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _write_all(descriptor, b"\n" + lines.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def read(path: Path) -> Iterator[Statement]:
    """Read a spool file. Incomplete lines are skipped and logged; a missing file is empty."""
    # A person may have deleted the file, and that must not keep the database away.
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            if line.strip() and (statement := _parse(line, path)):
                yield statement


def _parse(line: bytes, path: Path) -> Statement | None:
    try:
        record = json.loads(line)
        kind, values = record["statement"], dict(record["values"])
        if kind in KINDS:
            return completed(Statement(kind, values))
    except (ValueError, KeyError, TypeError, RecursionError):
        logger.warning("aibridge: skipped an incomplete line of %s", path)
    else:
        logger.warning("aibridge: skipped a statement of %s: unknown kind %r", path, kind)
    return None
