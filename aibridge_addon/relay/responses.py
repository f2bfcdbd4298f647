"""Response helpers: the content coding and length of a head, and the decoding of a whole body.

The same for the client's answer (`exchange.exchange`) and for those to the requests of an inner
loop (`relay.upstream_call`).
"""

from mitmproxy import http

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import WireFormat
from aibridge_addon.formats.decoders.codings import UndecodableError, decode_body


def content_encoding(response: http.Response) -> str:
    """Return how the body is coded; empty if it is not."""
    coding: str = response.headers.get("content-encoding", "")
    return coding


def content_length(response: http.Response) -> int | None:
    """Return how many bytes of body were announced, if they were."""
    value = response.headers.get("content-length", "")
    return int(value) if value.isdecimal() else None


def decoded_body(response: http.Response, *, max_bytes: int) -> bytes:
    """Return the body, decoded; empty if it was not kept.

    Raises:
        UndecodableError: that cannot be done within the bound.
    """
    coding = content_encoding(response)
    return decode_body(response.raw_content or b"", coding, max_bytes=max_bytes)


def read_buffered(
    response: http.Response, wire_format: WireFormat, *, max_bytes: int
) -> ResponseFacts:
    """Read an answer that was not streamed, or an error; what cannot be decoded is counted."""
    try:
        return wire_format.read_answer(decoded_body(response, max_bytes=max_bytes))
    except UndecodableError:
        return ResponseFacts(unreadable=1)
