"""Response helpers: content coding, content length, and decoding."""

import gzip

import pytest
from mitmproxy import http

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import anthropic_messages
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.relay.responses import (
    content_encoding,
    content_length,
    decoded_body,
    read_buffered,
)

UNREADABLE = ResponseFacts(unreadable=1)
MESSAGE = b'{"type":"message","id":"msg_1","content":[]}'


def response_of(content: bytes | None = b"", **headers: str) -> http.Response:
    """Return a response with these headers only."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    response = http.Response.make(200)
    response.headers = http.Headers(fields)
    response.raw_content = content
    return response


def test_head_without_coding_and_length_announces_none() -> None:
    assert content_encoding(response_of()) == ""
    assert content_length(response_of()) is None


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("17", 17), ("-1", None), ("1, 1", None)])
def test_only_a_plain_number_is_a_content_length(value: str, length: int | None) -> None:
    assert content_length(response_of(content_length=value)) == length


def test_buffered_body_is_decoded_up_to_a_limit() -> None:
    response = response_of(gzip.compress(MESSAGE), content_encoding="gzip")

    assert decoded_body(response, max_bytes=len(MESSAGE)) == MESSAGE
    with pytest.raises(UndecodableError):
        decoded_body(response, max_bytes=len(MESSAGE) - 1)


def test_decodable_response_is_read() -> None:
    facts = read_buffered(response_of(MESSAGE), anthropic_messages.FORMAT, max_bytes=1000)

    assert facts.response_id == "msg_1"
    assert facts.complete


@pytest.mark.parametrize(
    "response",
    [
        response_of(MESSAGE, content_encoding="nobody-knows"),
        response_of(MESSAGE * 100),
        response_of(None),
    ],
    ids=["an unknown coding", "more than the bound", "not kept"],
)
def test_undecodable_response_is_counted_as_unreadable(response: http.Response) -> None:
    assert read_buffered(response, anthropic_messages.FORMAT, max_bytes=1000) == UNREADABLE
