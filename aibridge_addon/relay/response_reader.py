"""Reads one response chunk by chunk: decodes it, splits it into events, and reads them into facts.

Used for a body that a tap relays and for a response of the inner loop. It relays nothing itself.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from mitmproxy import http

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import EventDecoder, Format, ResponseHead
from aibridge_addon.formats.decoders.codings import ContentDecoder
from aibridge_addon.formats.decoders.sse import Event, SSEParser
from aibridge_addon.raw_json import JSON
from aibridge_addon.relay.responses import content_encoding, head_of
from aibridge_addon.relay.stream_detection import Shape, ShapeDetector, announces_event_stream

_SMALLEST_SLICE = 16
"""Bytes of a coded body that are decoded on their own."""

type OnUsage = Callable[[ResponseFacts], None]


def ignore_usage(facts: ResponseFacts) -> None:
    """Ignore a report of usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderOptions:
    """The settings of a `ResponseReader`."""

    wire_format: Format
    announces_stream: bool
    """True if the head announces events."""
    content_encoding: str
    max_bytes: int
    """The largest decoded body that is read."""
    head: ResponseHead | None = None
    """The head of the response, from which the format chooses a decoder."""
    on_usage: OnUsage = ignore_usage
    """Called when a stream has reported some of its tokens, before its end."""
    keeps_content: bool = False
    """True if `ResponseReader.content` is needed of a stream."""

    @classmethod
    def of_response(
        cls,
        response: http.Response,
        wire_format: Format,
        *,
        max_bytes: int,
        on_usage: OnUsage,
        answers_stream: bool,
        keeps_content: bool = False,
    ) -> "ReaderOptions":
        """Return the options for a response with this head."""
        return cls(
            wire_format=wire_format,
            announces_stream=announces_event_stream(response),
            content_encoding=content_encoding(response),
            max_bytes=max_bytes,
            head=head_of(response, answers_stream=answers_stream),
            on_usage=on_usage,
            keeps_content=keeps_content,
        )


class ResponseReader:
    """Reads one response into facts.

    Raises:
        UndecodableError: from the constructor, for an unknown content coding.
    """

    def __init__(self, options: ReaderOptions) -> None:
        self._decoder = ContentDecoder(options.content_encoding, max_bytes=options.max_bytes)
        self._is_coded = not self._decoder.is_identity
        self._wire_format = options.wire_format
        self._reader = options.wire_format.reader()
        self._reader.on_usage = options.on_usage
        self._detector = ShapeDetector(announced=options.announces_stream)
        self._head = options.head
        decoder = options.wire_format.decoder(options.head) if options.head else None
        if decoder:
            self._detector.shape = Shape.EVENTS
        self._parser: EventDecoder = decoder or SSEParser()
        self._body = bytearray()
        """The body so far, unless it is a stream of events."""
        self._streamed: list[bytes] | None = [] if options.keeps_content else None
        """The decoded stream so far, if it is needed."""
        self._has_begun = False
        self.is_complete = False
        """True if the body has ended; set by the owner."""

    @property
    def shape(self) -> Shape:
        """The shape of the response, as far as it is known."""
        return self._detector.shape

    @property
    def is_buffered(self) -> bool:
        """True if the response is a single body, not a stream of events."""
        return self.shape is Shape.BUFFERED

    @property
    def body(self) -> bytes:
        """The decoded body of a buffered response."""
        return bytes(self._body)

    def content(self) -> bytes:
        """Return the decoded body so far, a stream or a single body, if the options ask for it."""
        if self._streamed is None:
            return b""
        return b"".join(self._streamed) or self.body

    @property
    def ended(self) -> bool:
        """True if the terminal event has been read."""
        return self._reader.ended

    @property
    def skippable(self) -> re.Pattern[bytes] | None:
        """Pattern of runs of events that change nothing in the facts, for `split`."""
        return self._reader.skippable

    def decode(self, data: bytes) -> bytes:
        """Decode a chunk.

        Raises:
            UndecodableError: it is broken, or the body is too large.
        """
        return self._decoder.feed(data)

    def skip(self, decoded: bytes) -> bool:
        """Take decoded bytes that are a run of events that need not be read, the usual chunk.

        Returns False for any others, which are for `split`.
        """
        if not self._is_run(decoded):
            return False
        self._keep(decoded)
        return True

    def is_skippable(self, data: bytes) -> bool:
        """Return whether a chunk, neither decoded nor the first one, is for `skip_chunk`."""
        return not self._is_coded and self._is_run(data) and len(data) <= self._decoder.left

    def skip_chunk(self, data: bytes) -> None:
        """Take a chunk that `is_skippable`."""
        self._decoder.left -= len(data)
        self._keep(data)

    def _is_run(self, decoded: bytes) -> bool:
        pattern = self._reader.skippable
        return (
            pattern is not None
            and self._detector.shape is Shape.EVENTS
            and not self._parser.pending
            and pattern.fullmatch(decoded) is not None
        )

    def split(self, decoded: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Return the events that decoded bytes complete, to be passed to `feed`.

        Args:
            decoded: the next bytes of the body.
            unwanted: matches runs of events that need not be read; each may become one event.

        Raises:
            EventTooLargeError: an event is too large.
        """
        if self._detector.shape is Shape.EVENTS:
            return self._split_stream(decoded, unwanted)
        self._body += decoded
        if self._detector.feed(decoded) is not Shape.EVENTS:
            return []
        return self._split_buffered(unwanted)

    def feed(self, event: Event) -> JSON:
        """Read an event; return its decoded data."""
        return self._reader.feed(event)

    def read(self, data: bytes) -> int | None:
        """Read a chunk of a body that is relayed unchanged.

        Returns the position of the terminal event in the chunk; None if the chunk does not complete
        it. In a coded body, it is a position up to which the decoder yields nothing of that event.

        Raises:
            UndecodableError: the chunk is broken, or the body is too large.
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
        starts = accumulate(map(len, slices), initial=0)
        return next(start for start, end in zip(starts, ends, strict=False) if end > position)

    def events(self, data: bytes) -> list[tuple[Event, JSON]]:
        """Read a chunk; return the events that it completes, with their decoded data.

        Raises:
            UndecodableError: the chunk is broken, or the body is too large.
            EventTooLargeError: an event is too large.
        """
        return [(event, self.feed(event)) for event in self.split(self.decode(data))]

    def unterminated(self) -> list[Event]:
        """Return the events before the end of the body that no blank line has ended, for `feed`.

        Raises:
            EventTooLargeError: an event is too large.
        """
        events: list[Event] = []
        if self.shape is Shape.UNKNOWN and self._detector.close() is Shape.EVENTS:
            events = self._split_buffered(None)
        last = self._parser.close()
        return events if last is None else [*events, last]

    def facts(self) -> ResponseFacts:
        """Return the facts read so far; of a single body, only once it is complete."""
        facts = ResponseFacts()
        if self.shape is Shape.EVENTS:
            facts = self._reader.facts()
        elif self.is_buffered and self.is_complete:
            facts = self._wire_format.read_whole(self.body)
        return self._wire_format.add_head(facts, self._head) if self._head else facts

    def _split_buffered(self, unwanted: re.Pattern[bytes] | None) -> list[Event]:
        buffered = bytes(self._body)
        self._body.clear()
        return self._split_stream(buffered, unwanted)

    def _split_stream(self, decoded: bytes, unwanted: re.Pattern[bytes] | None) -> list[Event]:
        self._keep(decoded)
        return self._parser.feed(decoded, unwanted)

    def _keep(self, decoded: bytes) -> None:
        """Keep a piece of the stream for `content`, if the options ask for it."""
        if self._streamed is not None:
            self._streamed.append(decoded)

    def _read_decoded(self, decoded: bytes) -> int | None:
        if decoded and not self._has_begun:
            return self._read_first(decoded)
        if self.skip(decoded):
            return None
        reader = self._reader
        had_ended = reader.ended
        events = self.split(decoded, reader.skippable)
        last = None
        for number, event in enumerate(events):
            if event.is_run:
                continue
            reader.feed(event)
            if last is None and reader.ended:
                last = number
        if last is None or had_ended:
            return None
        after = sum(len(event.raw) for event in events[last:]) + self._parser.pending
        return max(0, len(decoded) - after)

    def _read_first(self, decoded: bytes) -> int | None:
        """Read the first event by itself, since it often tells which others may be skipped."""
        self._has_begun = True
        size = decoded.find(b"\n\n") + 2 if b"\n\n" in decoded else len(decoded)
        position = self._read_decoded(decoded[:size])
        later = self._read_decoded(decoded[size:])
        if position is None and later is not None:
            return size + later
        return position


def _slices(data: bytes) -> list[bytes]:
    """Cut a chunk into pieces that shrink towards its end, where a response usually ends."""
    pieces = []
    while len(data) > 2 * _SMALLEST_SLICE:
        half = len(data) // 2
        pieces.append(data[:half])
        data = data[half:]
    return [*pieces, data]
