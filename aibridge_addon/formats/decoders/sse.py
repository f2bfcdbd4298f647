"""Server-sent events, sans-io: bytes in, events out.

Not a client: no retry, no last-event-id. Every byte fed is in the `Event.raw` of exactly one event,
in order, so that a stream can be cut at event borders without loss. Runs of events that the caller
need not read are joined to one.

Time is linear in the bytes fed (it remembers how far it has looked), and memory is bounded by one
event of at most ``max_event_bytes``. The format is the WHATWG HTML standard's "Server-sent events".
"""

import re
from typing import Any, NamedTuple

MAX_EVENT_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
# Atomic, so that the CR LF of one line is never taken for two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLargeError(ValueError):
    """An event grew beyond the parser's bound."""


class Event(NamedTuple):
    """One block of a stream, up to and including the blank line that ends it."""

    name: bytes
    """The `event` field; empty if there was none."""
    data: bytes | None
    """The `data` lines joined by LF; None for a block without any (a comment, a keep-alive)."""
    raw: bytes
    """The block as it was on the wire."""
    is_run: bool = False
    """True for a run of events that the caller need not read, joined unread."""


def typed(data: Any, event: Event) -> Any:
    """Return an event's decoded data with its type, which some hosts give by its name only."""
    if isinstance(data, dict) and event.name and "type" not in data:
        return {"type": event.name.decode("utf-8", "replace"), **data}
    return data


class SSEParser:
    """Splits a stream into events; chunks may end anywhere."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished event."""
        return len(self._buffer)

    @property
    def first_pending(self) -> bytes:
        """The first bytes of an unfinished event."""
        return bytes(self._buffer[:16])

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Read a chunk; return the events that it completes.

        `unwanted` matches runs of whole events, each of which may become a single event without
        data.

        Raises:
            EventTooLargeError: the unfinished event is larger than the bound.
        """
        if unwanted and not self._buffer and (run := unwanted.match(chunk)):
            events = [Event(b"", None, run[0], True)]
            return events + self.feed(rest, unwanted) if (rest := chunk[run.end() :]) else events
        if not self._buffer and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            return _parse_whole(chunk, unwanted)  # the usual chunk of a live stream
        # Two line ends are at most four bytes: the border may be up to three bytes back.
        search_from = max(0, len(self._buffer) - 3)
        self._buffer += chunk
        return self._take_events(search_from)

    def close(self) -> Event | None:
        """End the stream; return an event without a blank line at its end, if there is one."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return _parse(rest) if rest else None

    def _take_events(self, search_from: int) -> list[Event]:
        events = []
        start = 0
        for match in _BLANK_LINE.finditer(self._buffer, search_from):
            events.append(_parse(bytes(self._buffer[start : match.end()])))
            start = match.end()
        if start:
            del self._buffer[:start]
        if not events and len(self._buffer) > self._max_event_bytes:
            raise EventTooLargeError(f"an event is larger than {self._max_event_bytes} bytes")
        return events


def _parse_whole(chunk: bytes, unwanted: re.Pattern[bytes] | None) -> list[Event]:
    """Parse complete events without CR; after each, join a run of unwanted ones unread."""
    events = []
    start, size = 0, len(chunk)
    while start < size:
        end = chunk.find(b"\n\n", start) + 2
        if end == 1:  # a further line end after the last event
            end = size
        events.append(_parse_plain(chunk[start:end]))
        start = end
        if unwanted and start < size and (run := unwanted.match(chunk, start)):
            events.append(Event(b"", None, run[0], True))
            start = run.end()
    return events


def _parse_plain(raw: bytes) -> Event:
    """Parse a block without CR that ends in its only blank line, quickly if its shape is usual."""
    if raw.startswith(b"event: "):
        line_end = raw.find(b"\n")
        data_at = line_end + 7
        if raw.startswith(b"data: ", line_end + 1) and raw.find(b"\n", data_at) == len(raw) - 2:
            return Event(raw[7:line_end], raw[data_at:-2], raw)
    elif raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return Event(b"", raw[6:-2], raw)
    return _parse(raw)


def _parse(raw: bytes) -> Event:
    name = b""
    data: list[bytes] = []
    # The LF of a CR LF that was cut in two precedes the next event.
    for line in _LINE_END.split(raw.lstrip(b"\r\n").removeprefix(_BOM)):
        field, colon, value = line.partition(b":")
        if not colon and not field:
            continue
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(name, b"\n".join(data) if data else None, raw)
