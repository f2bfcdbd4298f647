"""Append-only files of JSON lines that hold statements while the database is unavailable.

Each process appends to a file of its own, which is created on first use. A line that a crash cut
off is skipped when a spool is read: nobody was told that its facts are stored.
"""

import base64
import contextlib
import glob
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aibridge_addon.facts import new_id
from aibridge_addon.file_locks import lock
from aibridge_addon.store.statements import KINDS, Statement, with_new_columns

_BYTES = "base64"
"""Name of the only member of an object that stands for bytes."""

logger = logging.getLogger(__name__)


class Spool:
    """The spool of one process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.path = database.with_name(f"{database.name}.spool-{new_id()}.jsonl")
        self.is_empty = True
        self._lock: int | None = None
        """Open file whose lock shows that this process lives."""

    def append(self, statements: Iterable[Statement]) -> None:
        """Append statements; when this returns, they survive a crash.

        Raises:
            OSError: the file cannot be written.
        """
        # Set first: a write that failed half-way may have written complete lines.
        self.is_empty = False
        append(self.path, statements)
        if self._lock is None:
            self._lock = lock(self.path)

    def read(self) -> Iterator[Statement]:
        """Read the statements in order; they stay in the file until `clear`."""
        return read(self.path)

    def clear(self) -> None:
        """Delete the file, after the database has its statements."""
        self.path.unlink(missing_ok=True)
        self.release()
        self.is_empty = True

    def release(self) -> None:
        """Leave the file to other processes."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def others(self, *, older: bool) -> list[Path]:
        """Return the spools of other processes by age.

        `older` restricts them to spools from before this one. The names hold the age by the clock,
        which may have been set back since.
        """
        pattern = f"{glob.escape(self._database.name)}.spool-*.jsonl"
        paths = sorted(self._database.parent.glob(pattern))
        return [path for path in paths if (path < self.path if older else path != self.path)]


def append(path: Path, statements: Iterable[Statement]) -> None:
    """Append statements to a file; when this returns, they survive a crash.

    Raises:
        OSError: the file cannot be written.
    """
    lines = "".join(
        json.dumps({"statement": s.kind, "values": s.values}, default=_encoded) + "\n"
        for s in statements
    )
    # Not readable by other users: it holds prompts.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _write_fully(descriptor, b"\n" + lines.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def abandoned(database: Path) -> Iterator[Path]:
    """Yield the spools of processes that have ended, by age; each is locked meanwhile."""
    for path in sorted(database.parent.glob(f"{glob.escape(database.name)}.spool-*.jsonl")):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if (descriptor := lock(path)) is not None:
                try:
                    yield path
                finally:
                    os.close(descriptor)


def _write_fully(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def read(path: Path) -> Iterator[Statement]:
    """Read a spool file. Incomplete lines are skipped and logged; a missing file is empty."""
    # A person may have deleted the file, and that must not keep the database away.
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            if line.strip() and (statement := _parse(line, path)):
                yield statement


def _encoded(value: bytes) -> dict[str, str]:
    return {_BYTES: base64.b64encode(value).decode()}


def _decoded(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[_BYTES]) if value.keys() == {_BYTES} else value


def _parse(line: bytes, path: Path) -> Statement | None:
    try:
        record = json.loads(line, object_hook=_decoded)
        kind, values = record["statement"], dict(record["values"])
        if kind in KINDS:
            return with_new_columns(Statement(kind, values))
    except (ValueError, KeyError, TypeError, RecursionError):
        logger.warning("aibridge: skipped an incomplete line of %s", path)
    else:
        logger.warning("aibridge: skipped a statement of %s: unknown kind %r", path, kind)
    return None
