"""JSON documents in a stream, sans-io: bytes in, events out.

Splits an array whose elements are objects (`[{…},\n{…}]`), or objects that follow each other, as
they arrive. Every byte fed is in the `Event.raw` of exactly one event, in order: what stands before
an object belongs to its event, what follows the last to an event without data.

Time is linear in the bytes fed, and memory is bounded by one element of at most `max_event_bytes`.
"""

import re

from aibridge_addon.formats.decoders.sse import MAX_EVENT_BYTES, Event, EventTooLargeError

_STRUCTURE = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')


class _ObjectEnd:
    """Finds the end of a JSON object in bytes that arrive in chunks."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def find(self, data: bytes | bytearray, position: int) -> int | None:
        """Return the position after the object; None if it ends after the data.

        Args:
            data: the bytes so far.
            position: the first byte that was not searched before.
        """
        while position < len(data):
            if self._is_escaped:
                self._is_escaped = False
                position += 1
                continue
            found = (_IN_STRING if self._in_string else _STRUCTURE).search(data, position)
            if found is None:
                return None
            position = found.end()
            if self._ends_with(found[0]):
                return position
        return None

    def _ends_with(self, sign: bytes) -> bool:
        """Note a sign; return True if it ends the object."""
        if sign == b"\\":
            self._is_escaped = True
        elif sign == b'"':
            self._in_string = not self._in_string
        else:
            self._depth += 1 if sign in b"{[" else -1
            return self._depth == 0
        return False


class JSONArrayParser:
    """Splits a streamed JSON array into its elements; chunks may end anywhere."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        """Bytes of the buffer that were searched."""
        self._start: int | None = None
        """Position of the object that has begun; None between objects."""
        self._end = _ObjectEnd()

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished element."""
        return len(self._buffer)

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Read a chunk; return the elements that it completes. None is left out.

        Raises:
            EventTooLargeError: the unfinished element is larger than the bound.
        """
        self._buffer += chunk
        events = []
        taken = 0
        while (end := self._find_end()) is not None:
            assert self._start is not None
            raw = bytes(self._buffer[taken:end])
            events.append(Event(b"", raw[self._start - taken :], raw))
            taken = self._searched = end
            self._start, self._end = None, _ObjectEnd()
        if taken:
            del self._buffer[:taken]
            self._searched -= taken
            self._start = None if self._start is None else self._start - taken
        if not events and len(self._buffer) > self._max_event_bytes:
            raise EventTooLargeError(f"an element is larger than {self._max_event_bytes} bytes")
        return events

    def close(self) -> Event | None:
        """End the stream; return its last bytes, with an unfinished element as their data."""
        rest = bytes(self._buffer)
        data = None if self._start is None else rest[self._start :]
        self._buffer.clear()
        self._start, self._searched = None, 0
        return Event(b"", data, rest) if rest else None

    def _find_end(self) -> int | None:
        """Return the end of the next object; remember its start, and how far it was searched."""
        if self._start is None:
            start = self._buffer.find(b"{", self._searched)
            if start < 0:
                self._searched = len(self._buffer)
                return None
            self._start = self._searched = start
        end = self._end.find(self._buffer, self._searched)
        if end is None:
            self._searched = len(self._buffer)
        return end
