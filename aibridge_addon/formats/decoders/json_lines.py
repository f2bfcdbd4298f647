"""JSON lines, sans-io: bytes in, an event for each line out.

Time is linear in the bytes fed, and memory is bounded by a line of at most `max_line_bytes`.
"""

import re

from aibridge_addon.formats.decoders.sse import MAX_EVENT_BYTES, Event, EventTooLargeError

END = b"end of the body"
"""Name of the last event, whose data is a line that no line feed has ended, if there is one."""


class JSONLines:
    """Splits a body into its lines; chunks may end anywhere."""

    def __init__(self, *, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []
        """The pieces of an unfinished line."""
        self._size = 0

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished line."""
        return self._size

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Read a chunk; return the lines that it completes.

        Raises:
            EventTooLargeError: the unfinished line is larger than the bound.
        """
        first, *more = chunk.split(b"\n")
        self._keep(first)
        events = []
        for piece in more:
            events.append(_event(b"", self._take(), b"\n"))
            self._keep(piece)
        if self._size > self._max_line_bytes:
            raise EventTooLargeError(f"a line is larger than {self._max_line_bytes} bytes")
        return events

    def close(self) -> Event | None:
        """Return the event of the end."""
        return _event(END, self._take(), b"")

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    def _take(self) -> bytes:
        line = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return line


def _event(name: bytes, line: bytes, end: bytes) -> Event:
    return Event(name, line.strip() or None, line + end)
