"""Usage watch: finds usage in unrecorded responses, in any chunks."""

import gzip
import zlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http

from aibridge_addon.relay.usage_watch import UsageWatch, has_usage

BODY = b'{"data": [{"embedding": [0.1, 0.2]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}}'
PRETTY = b'{\n  "usage" :\n  {\n    "prompt_tokens": 8\n  }\n}'
STREAM = b'event: done\r\ndata: {"type":"done","usage":{"input_tokens":1}}\r\n\r\n'


def found_in(chunks: Iterable[bytes], max_bytes: int = 1_000_000, **headers: str) -> int:
    """Return how often a watch finds usage, and assert that it returns each chunk unchanged."""
    found = []
    response = http.Response.make(200)
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    watch = UsageWatch(response, lambda: found.append(1), max_bytes=max_bytes)
    assert [watch(chunk) for chunk in chunks] == chunks
    return len(found)


@pytest.mark.parametrize("body", [BODY, PRETTY, STREAM, BODY * 3], ids=range(4))
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "", "x/y"])
def test_usage_is_found_once_in_a_response_of_any_type(body: bytes, content_type: str) -> None:
    assert found_in([body, b""], content_type=content_type) == 1
    assert found_in([body[i : i + 1] for i in range(len(body))], content_type=content_type) == 1


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_usage_is_found_in_a_compressed_body(coding: str) -> None:
    coded = gzip.compress(BODY) if coding == "gzip" else zlib.compress(BODY)
    assert found_in([coded[:20], coded[20:]], content_encoding=coding) == 1


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_usage_is_found_in_any_chunks_of_a_body(cuts: set[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]
    assert found_in([STREAM[a:b] for a, b in pairwise(ends)]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"usage": null}',
        b'{"usage": {}}',
        b'{"usage": "none"}',
        b'{"usage_by_day": {"a": 1}}',
        rb'{"text": "it says \"usage\": {\"input_tokens\": 1}"}',
        b'{"input_tokens": 4}',
        b"",
    ],
)
def test_other_json_is_not_taken_for_a_usage_object(body: bytes) -> None:
    assert not has_usage(body)
    assert found_in([body]) == 0


def test_undecodable_and_media_bodies_are_relayed_unread() -> None:
    assert found_in([BODY], content_type="image/png") == 0
    assert found_in([BODY], content_encoding="gzip") == 0
    assert found_in([BODY], content_encoding="of-tomorrow") == 0
    assert found_in([b" " * 100, BODY], max_bytes=100) == 0


def test_usage_watch_buffers_only_the_length_of_a_match() -> None:
    watch = UsageWatch(http.Response.make(200), lambda: None, max_bytes=10**9)
    for _ in range(100):
        watch(b" " * 10_000)
    assert len(watch._tail) < 1000
