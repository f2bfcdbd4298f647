"""Lines of JSON in a stream (NDJSON), sans-io: bytes in, events out.

Every byte fed is in the `Event.raw` of exactly one event, in order; a blank line has no data.
Time is linear in the bytes fed, and memory is bounded by a line of `max_event_bytes`.
"""

import re

from aibridge_addon.formats.decoders.sse import MAX_EVENT_BYTES, Event, EventTooLargeError

_BLANK = b"\xef\xbb\xbf \t\r\n"


class LineParser:
    """Splits a stream into lines; chunks may end anywhere."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished line."""
        return len(self._buffer)

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Read a chunk; return the lines that it completes. None is left out.

        Raises:
            EventTooLargeError: the unfinished line is larger than the bound.
        """
        first, end, rest = chunk.partition(b"\n")
        self._buffer += first
        if not end:
            if len(self._buffer) > self._max_event_bytes:
                raise EventTooLargeError(f"a line is larger than {self._max_event_bytes} bytes")
            return []
        events = [_event(bytes(self._buffer) + end)]
        *lines, last = rest.split(b"\n")
        events += (_event(line + b"\n") for line in lines)
        self._buffer = bytearray(last)
        return events

    def close(self) -> Event | None:
        """End the stream; return its last line, if it has no end."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return _event(rest) if rest else None


def _event(line: bytes) -> Event:
    return Event(b"", line.strip(_BLANK) or None, line)
