"""AWS event-stream frames (`application/vnd.amazon.eventstream`), sans-io: bytes in, events out.

A frame is: total length, length of the headers, CRC-32 of these two, headers, payload, CRC-32 of
all before. There is no frame that ends a stream. The format is described in "Event stream encoding"
of the Amazon Transcribe guide.

Time is linear in the bytes fed, and memory is bounded by one frame of at most ``max_frame_bytes``.
"""

import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from zlib import crc32

from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError
from aibridge_addon.raw_json import JSON, encode, mapping, read, text

MEDIA_TYPE = "application/vnd.amazon.eventstream"
MAX_FRAME_BYTES = 24 * 1024 * 1024 + 128 * 1024
"""Largest frame that botocore accepts: 24 MiB of payload, 128 KiB of headers."""

_PRELUDE = struct.Struct("!III")
_CRC = struct.Struct("!I")
_LENGTH = struct.Struct("!H")
_OVERHEAD = _PRELUDE.size + _CRC.size
_STRING = 7
_SIZES: Mapping[int, int] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of the value of a header, by its type; types 6 and 7 state their length."""
_UNREADABLE = b"\xff"
"""Data of an event in place of a frame that cannot be read: no JSON, so that readers count it."""


class FrameParser:
    """Splits a stream of frames into events; chunks may end anywhere.

    `Event.name` is the frame's event type. Payloads of InvokeModel are unwrapped: `Event.data` is
    the model's own event. An exception or error becomes an event `error` in Anthropic's shape.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished frame."""
        return len(self._buffer)

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Read a chunk; return the events that it completes. No event is ever left out.

        Raises:
            EventTooLargeError: a frame is larger than the bound.
            UndecodableError: the lengths of a frame are broken, so that no border is known.
        """
        self._buffer += chunk
        events: list[Event] = []
        start = 0
        try:
            while (end := self._end_of_frame(start)) is not None:
                events.append(_parse(bytes(self._buffer[start:end])))
                start = end
        except (EventTooLargeError, UndecodableError):
            if not events:  # what came before is read first; the next chunk raises again
                raise
        del self._buffer[:start]
        return events

    def close(self) -> Event | None:
        """End the stream; return an unfinished frame as an event without data."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return Event(b"", None, rest) if rest else None

    def _end_of_frame(self, start: int) -> int | None:
        """Return the end of the frame that begins at `start`; None if it has not arrived."""
        if len(self._buffer) - start < _PRELUDE.size:
            return None
        total, headers, crc = _PRELUDE.unpack_from(self._buffer, start)
        if crc32(self._buffer[start : start + 8]) != crc or total < headers + _OVERHEAD:
            raise UndecodableError("the prelude of an event-stream frame is broken")
        if total > self._max_frame_bytes:
            raise EventTooLargeError(f"a frame is larger than {self._max_frame_bytes} bytes")
        end: int = start + total
        return end if end <= len(self._buffer) else None


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Encode a frame, with both checksums."""
    head = b"".join(_encoded_header(name, value) for name, value in headers.items())
    lengths = struct.pack("!II", len(head) + len(payload) + _OVERHEAD, len(head))
    begun = lengths + _CRC.pack(crc32(lengths)) + head + payload
    return begun + _CRC.pack(crc32(begun))


def event_frame(kind: str, payload: bytes) -> bytes:
    """Encode an event of Converse, or of another operation with events of its own."""
    return frame(
        {":event-type": kind, ":content-type": "application/json", ":message-type": "event"},
        payload,
    )


def chunk_frame(data: bytes) -> bytes:
    """Encode an event of the model, as InvokeModelWithResponseStream wraps it."""
    return event_frame("chunk", b'{"bytes":"%b"}' % b64encode(data))


def exception_frame(kind: str, message: str) -> bytes:
    """Encode an exception, which ends a stream."""
    return frame(
        {
            ":exception-type": kind,
            ":content-type": "application/json",
            ":message-type": "exception",
        },
        encode({"message": message}).encode(),
    )


def _encoded_header(name: str, value: str) -> bytes:
    encoded_name, encoded_value = name.encode(), value.encode()
    kind = bytes([_STRING]) + _LENGTH.pack(len(encoded_value))
    return bytes([len(encoded_name)]) + encoded_name + kind + encoded_value


def frames_of(body: bytes) -> Iterator[Event]:
    """Split a complete or truncated body into events, as far as its frames can be read."""
    with suppress(EventTooLargeError, UndecodableError):
        yield from FrameParser(max_frame_bytes=len(body)).feed(body)


def _parse(raw: bytes) -> Event:
    (crc,) = _CRC.unpack_from(raw, len(raw) - _CRC.size)
    if crc32(raw[: -_CRC.size]) != crc:
        return Event(b"", _UNREADABLE, raw)
    payload_at = _PRELUDE.size + int.from_bytes(raw[4:8])
    try:
        headers = dict(_headers(raw[_PRELUDE.size : payload_at]))
    except (IndexError, KeyError, struct.error):
        return Event(b"", _UNREADABLE, raw)
    return Event(*_content(headers, raw[payload_at : -_CRC.size]), raw)


def _headers(block: bytes) -> Iterable[tuple[str, str]]:
    """Yield the text headers of a frame."""
    at = 0
    while at < len(block):
        name_end = at + 1 + block[at]
        name, kind = block[at + 1 : name_end], block[name_end]
        at = name_end + 1
        if (size := _SIZES.get(kind)) is None:
            (size,) = _LENGTH.unpack_from(block, at)
            at += _LENGTH.size
        if at + size > len(block):
            raise IndexError(at)
        if kind == _STRING:
            yield name.decode("utf-8", "replace"), block[at : at + size].decode("utf-8", "replace")
        at += size


def _content(headers: Mapping[str, str], payload: bytes) -> tuple[bytes, bytes]:
    """Return name and data of the event of a frame."""
    match headers.get(":message-type"):
        case "exception":
            stated = mapping(read(payload))
            message = text(stated.get("message")) or text(stated.get("originalMessage"))
            return _error(headers.get(":exception-type"), message)
        case "error":
            return _error(headers.get(":error-code"), headers.get(":error-message"))
    if headers.get(":event-type") == "chunk":
        return b"", _unwrapped(payload)
    return headers.get(":event-type", "").encode(), payload


def _error(kind: str | None, message: str | None) -> tuple[bytes, bytes]:
    error: JSON = {"type": "error", "error": {"type": kind, "message": message}}
    return b"error", encode(error).encode()


def _unwrapped(payload: bytes) -> bytes:
    try:
        return b64decode(mapping(read(payload))["bytes"], validate=True)
    except (KeyError, TypeError, ValueError):
        return _UNREADABLE
