"""Keys are downloaded directly, within bounds, and from no other host."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from access.jwt.signing import KEYS

from aibridge_addon.access.jwt import download
from aibridge_addon.access.jwt.download import MOST_BYTES, Download
from aibridge_addon.access.jwt.key_set import JWKSError

type Answer = tuple[int, dict[str, str], bytes]

BODY = json.dumps({"keys": [*KEYS, {"kty": "oct", "k": "c2VjcmV0"}, 5]}).encode()
ANSWERS: dict[str, Answer] = {
    "/keys": (200, {"cache-control": "public, max-age=600, must-revalidate"}, BODY),
    "/moved": (302, {"location": "/keys"}, b""),
    "/elsewhere": (302, {"location": "http://localhost:1/keys"}, b""),
    "/other-scheme": (307, {"location": "file:///etc/passwd"}, b""),
    "/lost": (301, {}, b""),
    "/loop": (302, {"location": "/loop"}, b""),
    "/missing": (404, {}, b""),
    "/empty": (200, {}, b'{"keys": []}'),
    "/secret": (200, {}, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'),
    "/page": (200, {}, b"<html>"),
    "/list": (200, {}, b"[]"),
    "/packed": (200, {"content-encoding": "gzip"}, b"\x1f\x8b"),
    "/large": (200, {}, b" " * (MOST_BYTES + 1)),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/drip":
            self._drip()
            return
        status, headers, body = ANSWERS[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        """Send a byte now and then until the client has left."""
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while not Event().wait(0.02):
                self.wfile.write(b" ")

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Serve the answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["/keys", "/moved"])
async def test_keys_and_their_age_are_read(origin: str, path: str) -> None:
    published = await Download()(origin + path)
    assert list(published.keys) == KEYS
    assert published.max_age == 600


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/elsewhere", "another host"),
        ("/other-scheme", "another host"),
        ("/lost", "another host"),
        ("/loop", "too many redirects"),
        ("/missing", "HTTP 404"),
        ("/empty", "no public keys"),
        ("/secret", "no public keys"),
        ("/page", "no public keys"),
        ("/list", "no public keys"),
        ("/packed", "compressed"),
        ("/large", "larger than"),
    ],
)
async def test_answer_that_is_no_key_set_is_an_error(origin: str, path: str, reason: str) -> None:
    with pytest.raises(JWKSError, match=reason):
        await Download()(origin + path)


async def test_server_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(JWKSError):
        await Download()("http://127.0.0.1:1/keys")


async def test_server_that_sends_a_byte_now_and_then_is_given_up(
    origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(JWKSError, match=r"longer than 0\.2 seconds"):
        async with asyncio.timeout(20):
            await Download()(f"{origin}/drip")
