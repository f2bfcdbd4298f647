"""Keeps runs of text deltas that were relayed unread, until their text is needed. Sans-io.

Most responses are never asked for their text; decoding a run at once costs a fraction of decoding
each event when it arrives.
"""

import re
from collections.abc import Callable

from aibridge_addon.raw_json import JSON, decode, read

_MAX_UNREAD = 64 * 1024
"""Bytes that are kept: a run takes about ten times the memory of its text."""

_DATA = re.compile(rb"^data: (.*)$", re.MULTILINE)
"""The data of each event of a run: `formats.skippable` has one such line per event."""


class TextRuns:
    """The unread runs of one response.

    Args:
        on_delta: is called for each delta, in order, with its decoded data.
    """

    def __init__(self, on_delta: Callable[[dict[str, JSON]], None]) -> None:
        self._on_delta = on_delta
        self._unread: list[bytes] = []
        self._size = 0

    def add(self, run: bytes) -> None:
        """Keep a run."""
        self._unread.append(run)
        self._size += len(run)
        if self._size > _MAX_UNREAD:
            self.read()

    def read(self) -> None:
        """Read the runs kept so far."""
        if not self._unread:
            return
        data = _DATA.findall(b"".join(self._unread))
        self._unread.clear()
        self._size = 0
        for delta in _decoded(data):
            if isinstance(delta, dict):  # not one whose bytes are no UTF-8
                self._on_delta(delta)


def last_delta(run: bytes) -> JSON:
    """Return the decoded data of the last event of a run."""
    return read(run.rstrip(b"\n").rpartition(b"\n")[2].removeprefix(b"data: "))


def _decoded(data: list[bytes]) -> list[JSON]:
    try:
        return list(decode(b"[" + b",".join(data) + b"]"))
    except ValueError:  # not UTF-8 somewhere
        return [read(each) for each in data]
