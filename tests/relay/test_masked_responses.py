"""A flow holds the head of a response without secrets; the client receives it as it came."""

import pytest
from mitmproxy import http

from aibridge_addon.relay.masked_responses import as_received, mask_response, masked_copy

SECRET = b"0123456789-secret-0123456789"
UPLOAD = (
    b"https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=%b&upload_protocol=x"
)
HEADERS = [
    (b"Set-Cookie", b"__cf_bm=%b; Path=/; HttpOnly" % SECRET),
    (b"X-Goog-Upload-URL", UPLOAD % SECRET),
    (b"location", b"/files/1?X-Amz-Credential=a&X-Amz-Signature=%b" % SECRET),
    (b"Location", b"https://x.blob.core.windows.net/c?se=2027&sig=%b#part" % SECRET),
    (b"Location", b"https://auth.example/cb#access_token=%b&state=1" % SECRET),
    (b"location", b"https://user:%b@host.example/" % SECRET),
    (b"link", b'<https://h.example/1?token=%b>; rel="next", <https://h.example/2?sig=%b>; rel="a"'
     % (SECRET, SECRET)),
    (b"operation-location", b"https://h.example/?Code=%b" % SECRET),
    (b"openai-ephemeral-user-key", SECRET),
    (b"X-Session-Token", b"Bearer " + SECRET),
    (b"sec-websocket-protocol", b"realtime, openai-insecure-api-key." + SECRET),
]  # fmt: skip


def response(*fields: tuple[bytes, bytes]) -> http.Response:
    """Return a response with some headers."""
    made = http.Response.make(200, b"x")
    made.headers = http.Headers(fields)
    return made


@pytest.mark.parametrize("field", HEADERS, ids=[name.decode() for name, _ in HEADERS])
def test_secret_of_a_response_is_masked_in_the_flow_and_sent_to_the_client(
    field: tuple[bytes, bytes],
) -> None:
    fields = ((b"x-request-id", b"1"), field, (b"content-length", b"1"))
    held = response(*fields)

    mask_response(held)

    assert SECRET not in repr(held.get_state()).encode()
    assert held.headers.fields[::2] == fields[::2]
    assert as_received(held).headers.fields == fields
    mask_response(held)  # as when it is handed to the flow of the client
    assert as_received(masked_copy(held)).headers.fields == fields


def test_every_secret_of_equal_hints_is_restored() -> None:
    fields = (
        *((b"set-cookie", b"session=%d-%b; path=/" % (n, SECRET)) for n in range(3)),
        (b"location", b"/?sig=...&a=1"),
        (b"location", b"/?sig=abc&a=1"),
    )
    held = response(*fields)

    mask_response(held)

    assert as_received(held).headers.fields == fields


def test_header_that_is_added_to_a_masked_response_is_sent() -> None:
    held = response(HEADERS[0])

    mask_response(held)
    held.headers["x-aibridge-served-by"] = "other"
    held.headers.pop("content-length", None)

    received = as_received(held).headers.fields
    assert received == (HEADERS[0], (b"x-aibridge-served-by", b"other"))


@pytest.mark.parametrize(
    "value", [b"https://docs.example/errors?page=2#top", b"/v1/files?limit=1", b"W/abc; a=b", b""]
)
def test_response_without_secrets_stays_as_it_is(value: bytes) -> None:
    held = response((b"location", value), (b"x-ratelimit-remaining-tokens", b"12345678"))
    before = held.headers

    mask_response(held)

    assert held.headers is before
    assert as_received(held) is held
