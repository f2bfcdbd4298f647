"""Stream detection: a response is a stream or a single body by its first bytes."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.proxy.utils import ReceiveBuffer
from standin.codings import encode

from aibridge_addon.formats import FORMATS
from aibridge_addon.relay.stream_detection import (
    Shape,
    ShapeDetector,
    StreamProbe,
    announces_event_stream,
    may_stream,
)

STREAMS = [
    b"event: message_start\ndata: {}\n\n",
    b"data: {}\n\n",
    b"data:{}\n\n",
    b"data\n\n",
    b"id: 1\ndata: {}\n\n",
    b"retry: 3000\n\n",
    b": a comment\n\n",
    b":\n\n",
    b"\n\r\ndata: {}\n\n",
    b"\xef\xbb\xbfdata: {}\n\n",
    b"\xef\xbb\xbf: a comment\n\n",
    b"\xef\xbb\xbf",
]
SINGLE = [
    b"{}",
    b'[{"id": 1}]',
    b" \t\r\n {}",
    b"\xef\xbb\xbf{}",
    b"<html></html>",
    b"an error page",
    b"database is down",
    b"eventually",
    b"error: overloaded",
    b"dat",
    b"",
    b"\xef\xbb",
    b"\x1f\x8b\x08",
]


def head(content_type: str | None = None, status: int = 200) -> http.Response:
    """Return the head of a response."""
    headers = {} if content_type is None else {"content-type": content_type}
    return http.Response.make(status, b"", headers)


def shape_of(pieces: Iterable[bytes], *, announced: bool = False) -> Shape:
    detector = ShapeDetector(announced=announced)
    for piece in pieces:
        detector.feed(piece)
    return detector.close()


@pytest.mark.parametrize(
    ("content_type", "says_so"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream ; charset=utf-8", True),
        ("text/event-stream-of-others", False),
        ("application/json; of=text/event-stream", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_media_type_announces_a_stream(content_type: str | None, says_so: bool) -> None:
    assert announces_event_stream(head(content_type)) is says_so


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json", "x/y"])
def test_response_may_stream_with_any_content_type_if_a_stream_was_requested(
    content_type: str | None,
) -> None:
    assert may_stream(head(content_type), FORMATS["anthropic_messages"], requested=True)
    assert not may_stream(head(content_type), FORMATS["anthropic_messages"], requested=False)
    assert not may_stream(
        head(content_type, status=429), FORMATS["anthropic_messages"], requested=True
    )


@pytest.mark.parametrize("status", [200, 429])
def test_announced_stream_may_stream_although_none_was_requested(status: int) -> None:
    assert may_stream(
        head("text/event-stream", status), FORMATS["anthropic_messages"], requested=False
    )


@pytest.mark.parametrize(
    ("body", "shape"),
    [(body, Shape.EVENTS) for body in STREAMS] + [(body, Shape.BUFFERED) for body in SINGLE],
)
def test_shape_is_detected_from_the_first_bytes_in_any_chunks(body: bytes, shape: Shape) -> None:
    assert shape_of([body]) is shape
    assert shape_of([body[n : n + 1] for n in range(len(body))]) is shape
    for border in range(len(body)):
        assert shape_of([body[:border], body[border:]]) is shape


@pytest.mark.parametrize("body", [*STREAMS, b"anything: 1\n\n", b"", b" ", b"dat"])
def test_announced_stream_needs_no_known_field(body: bytes) -> None:
    assert shape_of([body], announced=True) is Shape.EVENTS


@pytest.mark.parametrize("body", [b"{}", b"\n[1]", b"\xef\xbb\xbf{}"])
def test_json_is_a_single_body_even_if_a_stream_is_announced(body: bytes) -> None:
    assert shape_of([body], announced=True) is Shape.BUFFERED


@given(body=st.binary(max_size=30), borders=st.sets(st.integers(1, 29)))
def test_shape_of_any_bytes_does_not_depend_on_the_chunks(body: bytes, borders: set[int]) -> None:
    places = [0, *sorted(border for border in borders if border < len(body)), len(body)]

    assert shape_of([body[a:b] for a, b in itertools.pairwise(places)]) is shape_of([body])


def test_long_run_of_blanks_is_inspected_once() -> None:
    detector = ShapeDetector(announced=False)

    for _ in range(1000):
        assert detector.feed(b" " * 1000) is Shape.UNKNOWN
        assert len(detector._first) < 10

    assert detector.feed(b"{") is Shape.BUFFERED


CHUNK = b'data: {"id":"1","model":"m","choices":[],"usage":{"prompt_tokens":1}}\n\n'


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize(("body", "streams"), [(CHUNK, True), (b'{"id": 1}', False)])
def test_probe_detects_a_stream_in_a_buffered_body(coding: str, body: bytes, streams: bool) -> None:
    probe = StreamProbe(coding, max_bytes=10**6)
    held = ReceiveBuffer()

    for byte in encode(body, coding):
        held += bytes([byte])
        seen = probe.inspect(held)

    assert seen is streams
    assert probe.found_stream is streams


@pytest.mark.parametrize("coding", ["gzip", "x-unknown"])
def test_probe_finds_no_stream_in_an_undecodable_body(coding: str) -> None:
    held = ReceiveBuffer()
    held += CHUNK

    assert not StreamProbe(coding, max_bytes=10**6).inspect(held)


def test_probe_stops_after_a_long_run_of_blanks() -> None:
    probe = StreamProbe("", max_bytes=10**6)
    held = ReceiveBuffer()

    for piece in (b" " * 5000, CHUNK):
        held += piece
        assert not probe.inspect(held)
