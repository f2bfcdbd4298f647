"""Decides whether a response is a stream of events or a single body.

The only place that decides: by the request, by the head, and by the first bytes of the body. Some
hosts send valid events without a content type, or with a wrong one.
"""

import re
from contextlib import suppress
from enum import Enum

from mitmproxy import http
from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.formats import Format
from aibridge_addon.formats.decoders.codings import ContentDecoder, UndecodableError
from aibridge_addon.relay.responses import head_of

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_FIELD = re.compile(rb"(?:event|data|id|retry)[:\r\n]|:")
_FIELD_NAMES = (b"event", b"data", b"id", b"retry")
_MAX_PROBED = 4096
"""Bytes of a buffered body that are searched for the start of a stream."""


class Shape(Enum):
    """The shape of a response body."""

    EVENTS = "events"
    BUFFERED = "buffered"
    """A single body, read once it is complete."""
    UNKNOWN = "unknown"
    """Not enough bytes have arrived."""


def announces_event_stream(response: http.Response) -> bool:
    """Return True if the content type announces server-sent events."""
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


def announces_events(response: http.Response, wire_format: Format, *, requested: bool) -> bool:
    """Return True if the head announces events: server-sent ones, or in a framing of the format."""
    head = head_of(response, answers_stream=requested)
    return announces_event_stream(response) or wire_format.decoder(head) is not None


def may_stream(response: http.Response, wire_format: Format, *, requested: bool) -> bool:
    """Return True if the body may be a stream of events, judged by the head.

    Args:
        response: the head of the response.
        wire_format: of the response.
        requested: True if the client requested a stream.
    """
    is_expected = requested and 200 <= response.status_code < 300
    return is_expected or announces_events(response, wire_format, requested=requested)


class ShapeDetector:
    """Detects the shape of a body from its first bytes, in chunks of any size.

    Args:
        announced: True if the head announces events; then everything but JSON is a stream.
    """

    def __init__(self, *, announced: bool) -> None:
        self.shape = Shape.UNKNOWN
        self._announced = announced
        self._first = b""
        """The first bytes, as far as they are needed."""
        self._may_be_bom = True

    def feed(self, data: bytes) -> Shape:
        """Read decoded bytes of the body, and return the shape detected so far."""
        if self.shape is Shape.UNKNOWN and data:
            self._first += data
            self.shape = self._detect()
        return self.shape

    def close(self) -> Shape:
        """Decide the shape of a body that ended before it was detected, and return it."""
        if self.shape is Shape.UNKNOWN:
            self.shape = Shape.EVENTS if self._announced else Shape.BUFFERED
        return self.shape

    def _detect(self) -> Shape:
        if self._may_be_bom:
            if self._first != _BOM and _BOM.startswith(self._first):
                return Shape.UNKNOWN
            self._may_be_bom = False
            if self._first.startswith(_BOM):
                self._announced = True
                self._first = self._first.removeprefix(_BOM)
        first = self._first.lstrip(_BLANK)
        self._first = first[:8]
        if not first:
            return Shape.UNKNOWN
        if first.startswith((b"{", b"[")):
            return Shape.BUFFERED
        if self._announced or _FIELD.match(first):
            return Shape.EVENTS
        may_be_field = any(name.startswith(first) for name in _FIELD_NAMES)
        return Shape.UNKNOWN if may_be_field else Shape.BUFFERED


class StreamProbe:
    """Detects a stream in a body that is being buffered, although its head announces none."""

    def __init__(self, content_encoding: str, *, max_bytes: int) -> None:
        self._detector = ShapeDetector(announced=False)
        self._decoder: ContentDecoder | None = None
        with suppress(UndecodableError):
            self._decoder = ContentDecoder(content_encoding, max_bytes=max_bytes)
        self._seen = 0

    @property
    def found_stream(self) -> bool:
        """True if the first bytes belong to a stream of events."""
        return self._detector.shape is Shape.EVENTS

    def inspect(self, buffer: ReceiveBuffer) -> bool:
        """Inspect the bytes that arrived since the last call; return `found_stream`."""
        if self._decoder and self._detector.shape is Shape.UNKNOWN:
            begun = bytes(buffer)
            new, self._seen = begun[self._seen :], len(begun)
            try:
                self._detector.feed(self._decoder.feed(new))
            except UndecodableError:
                self._decoder = None
            if len(begun) > _MAX_PROBED:
                self._detector.close()
        return self.found_stream
