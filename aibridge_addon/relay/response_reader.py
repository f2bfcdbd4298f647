"""Reads one answer of a provider as it comes: a stream of events, or one whole body.

The only place that decides which of the two an answer is: by what was asked for, by the head, and
by the first bytes. Hosts answer with valid events and no content type, or with the wrong one.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from itertools import accumulate

from mitmproxy import http
from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import WireFormat
from aibridge_addon.formats.decoders.codings import ContentDecoder, UndecodableError
from aibridge_addon.formats.decoders.sse import Event, SSEParser
from aibridge_addon.raw_json import JSON

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_FIELD = re.compile(rb"(?:event|data|id|retry)[:\r\n]|:")
_FIELD_NAMES = (b"event", b"data", b"id", b"retry")
_MOST_FIRST_BYTES = 4096
"""Bytes of a body that is held after which it is no stream, unless it has shown to be a stream."""
_SMALLEST_SLICE = 16
"""Bytes of a coded body that are decoded on their own."""


type OnUsage = Callable[[ResponseFacts], None]


def ignore_usage(facts: ResponseFacts) -> None:
    """Take notice of nothing."""


class Shape(Enum):
    """The two kinds of answer, and an answer that has not shown its kind yet."""

    EVENTS = "events"
    WHOLE = "whole"
    UNKNOWN = "unknown"


def announces_event_stream(response: http.Response) -> bool:
    """Return whether the content type announces server-sent events."""
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


def may_stream(response: http.Response, *, asked: bool) -> bool:
    """Return whether the head leaves it possible that events come.

    Args:
        response: the head of the answer.
        asked: whether the request asked for a stream.
    """
    return announces_event_stream(response) or (asked and 200 <= response.status_code < 300)


class ShapeDetector:
    """Finds the shape of a body by its first bytes, however they are cut.

    Args:
        announces_stream: whether the head announces events; then only JSON is something else.
    """

    def __init__(self, *, announces_stream: bool) -> None:
        self.shape = Shape.UNKNOWN
        self._says_stream = announces_stream
        self._first = b""
        """The first bytes as far as they matter."""
        self._may_be_bom = True

    def feed(self, data: bytes) -> Shape:
        """Take decoded bytes of the body; return its shape as far as it has shown."""
        if self.shape is Shape.UNKNOWN and data:
            self._first += data
            self.shape = self._judge()
        return self.shape

    def close(self) -> Shape:
        """Settle the shape of a body that has ended without showing it; return it."""
        if self.shape is Shape.UNKNOWN:
            self.shape = Shape.EVENTS if self._says_stream else Shape.WHOLE
        return self.shape

    def _judge(self) -> Shape:
        if self._may_be_bom:
            if self._first != _BOM and _BOM.startswith(self._first):
                return Shape.UNKNOWN
            self._may_be_bom = False
            if self._first.startswith(_BOM):
                self._says_stream = True
                self._first = self._first.removeprefix(_BOM)
        first = self._first.lstrip(_BLANK)
        self._first = first[:8]
        if not first:
            return Shape.UNKNOWN
        if first.startswith((b"{", b"[")):
            return Shape.WHOLE
        if self._says_stream or _FIELD.match(first):
            return Shape.EVENTS
        may_be_field = any(name.startswith(first) for name in _FIELD_NAMES)
        return Shape.UNKNOWN if may_be_field else Shape.WHOLE


class ResponseReader:
    """Reads one answer into facts.

    Args:
        wire_format: the API of the answer.
        announces_stream: whether the head announces events.
        content_encoding: the coding of the body.
        max_bytes: the largest decoded body that is read.
        on_usage: called when a stream has told some of its tokens, before its end.

    Raises:
        UndecodableError: from the constructor for an unknown coding.
    """

    def __init__(
        self,
        wire_format: WireFormat,
        *,
        announces_stream: bool,
        content_encoding: str,
        max_bytes: int,
        on_usage: OnUsage = ignore_usage,
    ) -> None:
        self._decoder = ContentDecoder(content_encoding, max_bytes=max_bytes)
        self._is_coded = not self._decoder.is_identity
        self._wire_format = wire_format
        self._reader = wire_format.response_reader()
        self._reader.on_usage = on_usage
        self._detector = ShapeDetector(announces_stream=announces_stream)
        self._parser = SSEParser()
        self._body = bytearray()
        """The body up to here, unless it is a stream of events."""
        self.body_complete = False
        """Whether the body has come to its end: for its owner to say."""

    @property
    def shape(self) -> Shape:
        """The shape of the answer, as far as it has shown."""
        return self._detector.shape

    @property
    def is_buffered(self) -> bool:
        """Whether the answer is one body, not a stream of events."""
        return self.shape is Shape.WHOLE

    @property
    def body(self) -> bytes:
        """The decoded body of a whole answer."""
        return bytes(self._body)

    @property
    def ended(self) -> bool:
        """Whether the event that ends the answer has come."""
        return self._reader.ended

    def decode(self, data: bytes) -> bytes:
        """Decode a chunk.

        Raises:
            UndecodableError: it is broken, or the body is too large.
        """
        return self._decoder.feed(data)

    def split(self, decoded: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Return the events that decoded bytes complete, for `feed`; none of a whole body.

        Raises:
            EventTooLargeError: an event is too large.
        """
        if self._detector.shape is Shape.EVENTS:
            return self._parser.feed(decoded, unwanted)
        self._body += decoded
        if self._detector.feed(decoded) is not Shape.EVENTS:
            return []
        return self._split_begun(unwanted)

    def feed(self, event: Event) -> JSON:
        """Read an event; return its decoded data."""
        return self._reader.feed(event)

    def read(self, data: bytes) -> int | None:
        """Read a chunk of a body that is relayed as it is.

        Returns the position in the chunk at which the event begins that ends the answer; None if
        the chunk does not complete it. In a coded body, the position is one up to which the decoder
        gives nothing of that event.

        Raises:
            UndecodableError: it is broken, or the body is too large.
            EventTooLargeError: an event is too large.
        """
        if not self._is_coded:
            return self._read_decoded(self._decoder.feed(data))
        slices = _slices(data)
        decoded = [self._decoder.feed(piece) for piece in slices]
        position = self._read_decoded(b"".join(decoded))
        if position is None:
            return None
        ends = accumulate(map(len, decoded))
        begins = accumulate(map(len, slices), initial=0)
        return next(begin for begin, end in zip(begins, ends, strict=False) if end > position)

    def events(self, data: bytes) -> list[tuple[Event, JSON]]:
        """Read a chunk; return the events that it completes, with their decoded data.

        Raises:
            UndecodableError: it is broken, or the body is too large.
            EventTooLargeError: an event is too large.
        """
        return [(event, self.feed(event)) for event in self.split(self.decode(data))]

    def take_rest(self) -> list[Event]:
        """Return the events that no blank line ended, for `feed`: the last, if there is one.

        Raises:
            EventTooLargeError: an event is too large.
        """
        begun: list[Event] = []
        if self.shape is Shape.UNKNOWN and self._detector.close() is Shape.EVENTS:
            begun = self._split_begun(None)
        rest = self._parser.close()
        return begun if rest is None else [*begun, rest]

    def facts(self) -> ResponseFacts:
        """Return what has been read so far."""
        if self.shape is Shape.EVENTS:
            return self._reader.facts()
        # A part of a whole body says nothing.
        whole = self.body_complete and self.shape is Shape.WHOLE
        return self._wire_format.read_answer(self.body) if whole else ResponseFacts()

    def _split_begun(self, unwanted: re.Pattern[bytes] | None) -> list[Event]:
        begun = bytes(self._body)
        self._body.clear()
        return self._parser.feed(begun, unwanted)

    def _read_decoded(self, decoded: bytes) -> int | None:
        reader = self._reader
        had_ended = reader.ended
        events = self.split(decoded, reader.unrecorded)
        last = None
        for number, event in enumerate(events):
            reader.feed(event)
            if last is None and reader.ended:
                last = number
        if last is None or had_ended:
            return None
        after = sum(len(event.raw) for event in events[last:]) + self._parser.pending
        return max(0, len(decoded) - after)


def _slices(data: bytes) -> list[bytes]:
    """Cut a chunk into pieces that grow smaller towards its end, where an answer usually ends."""
    pieces = []
    while len(data) > 2 * _SMALLEST_SLICE:
        half = len(data) // 2
        pieces.append(data[:half])
        data = data[half:]
    return [*pieces, data]


class FirstBytes:
    """Tells from the first bytes of a body that is held whether it is a stream."""

    def __init__(self, content_encoding: str, *, max_bytes: int) -> None:
        self._detector = ShapeDetector(announces_stream=False)
        self._decoder: ContentDecoder | None = None
        with suppress(UndecodableError):
            self._decoder = ContentDecoder(content_encoding, max_bytes=max_bytes)
        self._seen = 0

    @property
    def show_a_stream(self) -> bool:
        """Whether they have shown a stream."""
        return self._detector.shape is Shape.EVENTS

    def are_a_stream(self, body: ReceiveBuffer) -> bool:
        """Look at what has come of the body since the last time."""
        if self._decoder and self._detector.shape is Shape.UNKNOWN:
            begun = bytes(body)
            new, self._seen = begun[self._seen :], len(begun)
            try:
                self._detector.feed(self._decoder.feed(new))
            except UndecodableError:
                self._decoder = None
            if len(begun) > _MOST_FIRST_BYTES:
                self._detector.close()
        return self.show_a_stream
