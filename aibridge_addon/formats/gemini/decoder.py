"""Splits streamed responses of the Gemini API into events. Sans-io.

With `alt=sse` they are server-sent events, among which an error may stand as plain JSON over
several lines; otherwise they are one JSON array. The first byte of the body decides.
"""

import re

from aibridge_addon.formats.decoders.json_array import JSONArrayParser
from aibridge_addon.formats.decoders.sse import MAX_EVENT_BYTES, Event, SSEParser

_BLANK = b"\xef\xbb\xbf \t\r\n"
_STARTS_OF_JSON = (b"{", b"[")
_BARE_JSON = re.compile(rb"(?:\A|[\r\n])[ \t]*(?=[{\[])")
"""The start of a line that begins with JSON, and not with the name of a field."""


class StreamParser:
    """Splits a stream into events; chunks may end anywhere."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._blanks = b""
        """Blanks before the first byte that decides."""
        self._parser: SSEParser | JSONArrayParser | None = None
        self._is_sse = False

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished event."""
        return self._parser.pending if self._parser else len(self._blanks)

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Read a chunk; return the events that it completes. None is left out.

        Raises:
            EventTooLargeError: the unfinished event is larger than the bound.
        """
        if self._parser is None:
            chunk = self._blanks + chunk
            if not (begun := chunk.lstrip(_BLANK)):
                self._blanks = chunk
                return []
            self._is_sse = begun[:1] not in _STARTS_OF_JSON
            self._parser = self._sse() if self._is_sse else self._json()
        return self._feed_sse(chunk) if self._is_sse else self._parser.feed(chunk)

    def _feed_sse(self, chunk: bytes) -> list[Event]:
        """Read a chunk of events; plain JSON among them is complete with its last brace."""
        assert self._parser is not None
        events = self._parser.feed(chunk)
        if isinstance(self._parser, SSEParser):
            events = _with_bare_json(events)
            if self._parser.first_pending.lstrip(_BLANK)[:1] in _STARTS_OF_JSON:
                events += self._continue_with(self._json())
        elif events:
            events += self._continue_with(self._sse())
        return events

    def _continue_with(self, parser: SSEParser | JSONArrayParser) -> list[Event]:
        """Pass the bytes of the unfinished event to another parser."""
        assert self._parser is not None
        rest, self._parser = self._parser.close(), parser
        return self._feed_sse(rest.raw) if rest else []

    def _sse(self) -> SSEParser:
        return SSEParser(max_event_bytes=self._max_event_bytes)

    def _json(self) -> JSONArrayParser:
        return JSONArrayParser(max_event_bytes=self._max_event_bytes)

    def close(self) -> Event | None:
        """End the stream; return the unfinished event at its end, if there is one."""
        if self._parser is None:
            blanks, self._blanks = self._blanks, b""
            return Event(b"", None, blanks) if blanks else None
        last = self._parser.close()
        if last is None or isinstance(self._parser, JSONArrayParser):
            return last
        return _with_bare_json([last])[0]


def _with_bare_json(events: list[Event]) -> list[Event]:
    """Return the events with plain JSON in their blocks as data."""
    return [
        event if (found := _BARE_JSON.search(event.raw)) is None else _joined(event, found.end())
        for event in events
    ]


def _joined(event: Event, position: int) -> Event:
    """Return an event with the plain JSON that begins at a position of its block.

    Where it follows data without a blank line, both become elements of an array.
    """
    bare = event.raw[position:].strip()
    data = bare if not event.data else b"[%b,%b]" % (event.data, bare)
    return event._replace(data=data)
