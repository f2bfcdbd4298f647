"""Response helpers: content coding, content length, and decoding of buffered bodies.

Used for the client's response and for the responses of an inner loop.
"""

from mitmproxy import http

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import Format, ResponseHead
from aibridge_addon.formats.decoders.codings import UndecodableError, decode_body


def content_encoding(response: http.Response) -> str:
    """Return the content coding of the body; empty if it has none."""
    coding: str = response.headers.get("content-encoding", "")
    return coding


def content_length(response: http.Response) -> int | None:
    """Return the announced length of the body in bytes, if any."""
    value = response.headers.get("content-length", "")
    return int(value) if value.isdecimal() else None


def decoded_body(response: http.Response, *, max_bytes: int) -> bytes:
    """Return the buffered body, decoded; empty if mitmproxy has not buffered it.

    Raises:
        UndecodableError: the body is broken, or larger than `max_bytes` once decoded.
    """
    coding = content_encoding(response)
    return decode_body(response.raw_content or b"", coding, max_bytes=max_bytes)


def head_of(response: http.Response, *, answers_stream: bool = False) -> ResponseHead:
    """Return the head of a response, as wire formats read it."""
    return ResponseHead(
        status=response.status_code, headers=response.headers, answers_stream=answers_stream
    )


def read_body(response: http.Response, wire_format: Format, body: bytes) -> ResponseFacts:
    """Read a response that was not streamed, given its decoded body."""
    return wire_format.add_head(wire_format.read_whole(body), head_of(response))


def read_buffered(response: http.Response, wire_format: Format, *, max_bytes: int) -> ResponseFacts:
    """Read a buffered response, which may be an error; count it if it cannot be decoded."""
    try:
        return read_body(response, wire_format, decoded_body(response, max_bytes=max_bytes))
    except UndecodableError:
        return ResponseFacts(unreadable=1)
