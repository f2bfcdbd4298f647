"""The decoder of AWS event-stream frames, beside botocore's encoder and parser."""

import json
import struct
from base64 import b64encode
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.decoders.aws_frames import (
    FrameParser,
    chunk_frame,
    event_frame,
    exception_frame,
    frame,
    frames_of,
)
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError
from formats.any_json import pieces
from formats.helpers import raw_of, thorough

FRAMES = [
    event_frame("messageStart", b'{"role":"assistant"}'),
    chunk_frame(b'{"type":"ping"}'),
    frame({}, b""),
    exception_frame("throttlingException", "Too many requests"),
    frame({":message-type": "error", ":error-code": "500", ":error-message": "No."}, b""),
]
EVENTS = [
    (b"messageStart", b'{"role":"assistant"}'),
    (b"", b'{"type":"ping"}'),
    (b"", b""),
    (
        b"error",
        b'{"type":"error","error":{"type":"throttlingException","message":"Too many requests"}}',
    ),
    (b"error", b'{"type":"error","error":{"type":"500","message":"No."}}'),
]


def read(chunks: list[bytes]) -> list[Event]:
    parser = FrameParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    rest = parser.close()
    return [*events, rest] if rest else events


def named(events: list[Event]) -> list[tuple[bytes, bytes | None]]:
    return [(event.name, event.data) for event in events]


def test_frames_become_events_with_their_bytes() -> None:
    events = read([b"".join(FRAMES)])
    assert named(events) == EVENTS
    assert [event.raw for event in events] == FRAMES


@thorough
@given(st.data())
def test_any_split_of_frames_gives_the_same_events(data: st.DataObject) -> None:
    stream = b"".join(FRAMES)
    assert named(read(data.draw(pieces(stream)))) == EVENTS


def test_frames_fed_byte_by_byte_give_the_same_events() -> None:
    stream = b"".join(FRAMES)
    assert named(read([stream[i : i + 1] for i in range(len(stream))])) == EVENTS


@thorough
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=99)), st.binary())
def test_botocore_reads_frames_as_they_were_encoded(
    headers: dict[str, str], payload: bytes
) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(frame(headers, payload))
    message = next(buffer)
    assert (message.headers, message.payload) == (headers, payload)


def test_headers_of_every_type_are_skipped() -> None:
    values = [b"\0", b"\1", b"\2x", b"\3xx", b"\4xxxx", b"\5" + b"x" * 8]
    values += [b"\6\0\3abc", b"\x08" + b"x" * 8, b"\x09" + b"x" * 16]
    block = b"".join(b"\1a" + value for value in values)
    kind = b"\x0b:event-type\7\0\4stop"
    assert named(read([encoded(block + kind, b"{}")])) == [(b"stop", b"{}")]


@pytest.mark.parametrize(
    "block",
    [b"\5ab", b"\1a", b"\1a\x0a", b"\1a\7\0", b"\1a\7\0\5ab", b"\1a\x09123"],
    ids=["name", "type", "unknown type", "length", "text", "uuid"],
)
def test_frame_with_broken_headers_becomes_an_event_that_cannot_be_read(block: bytes) -> None:
    assert named(read([encoded(block, b"{}") + FRAMES[0]])) == [(b"", b"\xff"), EVENTS[0]]


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b"{}", b'{"bytes":1}', b'{"bytes":"*"}', b'{"bytes":"a"}', b'{"bytes":"\xff"}'],
)
def test_chunk_that_holds_no_base64_becomes_an_event_that_cannot_be_read(payload: bytes) -> None:
    assert named(read([event_frame("chunk", payload)])) == [(b"", b"\xff")]


def test_padding_of_a_chunk_is_ignored() -> None:
    payload = json.dumps({"bytes": b64encode(b"{}").decode(), "p": "abcdef"}).encode()
    assert named(read([event_frame("chunk", payload)])) == [(b"", b"{}")]


def test_frame_with_a_wrong_checksum_becomes_an_event_that_cannot_be_read() -> None:
    broken = FRAMES[0][:-1] + bytes([FRAMES[0][-1] ^ 1])
    assert named(read([broken + FRAMES[1]])) == [(b"", b"\xff"), EVENTS[1]]


@pytest.mark.parametrize("at", range(12))
def test_broken_prelude_ends_reading_after_the_frames_before_it(at: int) -> None:
    broken = bytearray(FRAMES[0])
    broken[at] ^= 1
    parser = FrameParser()
    assert named(parser.feed(FRAMES[1] + broken)) == [EVENTS[1]]
    with pytest.raises(UndecodableError):
        parser.feed(b"")


@pytest.mark.parametrize(("total", "headers"), [(0, 0), (15, 0), (16, 1), (99, 84)])
def test_prelude_with_impossible_lengths_is_undecodable(total: int, headers: int) -> None:
    lengths = struct.pack("!II", total, headers)
    with pytest.raises(UndecodableError):
        FrameParser().feed(lengths + struct.pack("!I", crc32(lengths)))


def test_frame_beyond_the_bound_is_refused_by_its_prelude() -> None:
    parser = FrameParser(max_frame_bytes=len(FRAMES[0]) - 1)
    assert parser.feed(FRAMES[0][:11]) == []
    with pytest.raises(EventTooLargeError):
        parser.feed(FRAMES[0][11:12])


def test_unfinished_frame_is_pending_and_comes_at_the_end_without_data() -> None:
    parser = FrameParser()
    assert parser.feed(FRAMES[0] + FRAMES[1][:20])[0].raw == FRAMES[0]
    assert parser.pending == 20
    assert parser.close() == Event(b"", None, FRAMES[1][:20])
    assert parser.close() is None


@thorough
@given(st.binary(max_size=200), st.integers(0, 80))
def test_any_bytes_after_frames_are_read_without_other_errors(rest: bytes, cut: int) -> None:
    stream = FRAMES[0] + FRAMES[1][:cut] + rest
    parser = FrameParser()
    events: list[Event] = []
    try:
        events += parser.feed(stream)
        events += parser.feed(b"")
    except (EventTooLargeError, UndecodableError):
        pass
    assert stream.startswith(raw_of(events))
    assert list(frames_of(stream))[: len(events)] == events


def encoded(headers: bytes, payload: bytes) -> bytes:
    """Encode a frame whose headers are given as bytes, broken ones too."""
    lengths = struct.pack("!II", len(headers) + len(payload) + 16, len(headers))
    begun: Any = lengths + struct.pack("!I", crc32(lengths)) + headers + payload
    return bytes(begun + struct.pack("!I", crc32(begun)))


def test_large_frame_in_small_chunks_is_read_in_linear_time() -> None:
    """Bytes are looked at once: the work on each chunk does not grow with what is pending."""
    payload = b'{"x":"' + b"a" * 2_000_000 + b'"}'
    stream = event_frame("metadata", payload)
    parser = FrameParser()
    events = []
    for start in range(0, len(stream), 100):
        events += parser.feed(stream[start : start + 100])
    assert named(events) == [(b"metadata", payload)]
