"""Looks for a usage object in a response that is not recorded, and relays it unchanged.

It finds out that tokens were billed, not how many. It never raises, and holds no bytes back.
"""

import re
from collections.abc import Callable

from mitmproxy import http

from aibridge_addon.formats.decoders.codings import ContentDecoder
from aibridge_addon.relay.responses import content_encoding

_USAGE = re.compile(rb'"usage"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}\{[ \t\r\n]{0,64}"')
"""Matches members only, since quotes within a JSON string are escaped."""
_LONGEST_MATCH = 128
_MEDIA = ("image/", "audio/", "video/", "font/")


class UsageWatch:
    """Reads the body of one response, up to a limit, until it contains a usage object.

    Args:
        response: the head of the response.
        found: called at most once, when a usage object is found.
        max_bytes: decoded bytes after which reading stops.
    """

    def __init__(
        self, response: http.Response, found: Callable[[], None], *, max_bytes: int
    ) -> None:
        self.hides_body = False
        """True if no flow may hold the body, because it has a key."""
        self._found = found
        self._tail = b""
        self._decoder: ContentDecoder | None = None
        if not response.headers.get("content-type", "").strip().lower().startswith(_MEDIA):
            self._begin(content_encoding(response), max_bytes)

    def __call__(self, data: bytes) -> bytes:
        """Search a chunk; return it."""
        if data and self._decoder is not None:
            try:
                self._search(self._decoder.feed(data))
            except Exception:  # noqa: BLE001 the edge: the bytes are relayed anyway
                self._decoder = None
        return data

    def _begin(self, coding: str, max_bytes: int) -> None:
        try:
            self._decoder = ContentDecoder(coding, max_bytes=max_bytes)
        except Exception:  # noqa: BLE001 likewise
            self._decoder = None

    def _search(self, decoded: bytes) -> None:
        text = self._tail + decoded
        self._tail = text[-_LONGEST_MATCH:]
        if has_usage(text):
            self._decoder = None
            self._found()


def drop_hidden_body(response: http.Response | None) -> None:
    """Remove a body that was relayed, and that no flow may hold."""
    if response and isinstance(response.stream, UsageWatch) and response.stream.hides_body:
        response.data.content = None


def has_usage(data: bytes) -> bool:
    """Return True if JSON contains a usage object."""
    return _USAGE.search(data) is not None
