"""Looks for a usage object in an answer that is not recorded, while its bytes go on untouched.

Not a reader: it finds that tokens were billed, not how many. It never raises and holds nothing.
"""

import re
from collections.abc import Callable

from mitmproxy import http

from aibridge_addon.formats.decoders.codings import ContentDecoder
from aibridge_addon.relay.responses import content_encoding

_USAGE = re.compile(rb'"usage"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}\{[ \t\r\n]{0,64}"')
"""Quotes in a string of JSON are escaped, so that only a member matches."""
_LONGEST_MATCH = 128
_MEDIA = ("image/", "audio/", "video/", "font/")


class UsageWatch:
    """Reads the body of one answer, up to a bound, until it tells usage.

    Args:
        response: the head of the answer.
        found: called at most once, when there is a usage object.
        max_bytes: decoded bytes up to which the body is read.
    """

    def __init__(
        self, response: http.Response, found: Callable[[], None], *, max_bytes: int
    ) -> None:
        self._found = found
        self._tail = b""
        self._decoder: ContentDecoder | None = None
        if not response.headers.get("content-type", "").strip().lower().startswith(_MEDIA):
            self._begin(content_encoding(response), max_bytes)

    def __call__(self, data: bytes) -> bytes:
        """Look at a chunk; return it."""
        if data and self._decoder is not None:
            try:
                self._look(self._decoder.feed(data))
            except Exception:  # noqa: BLE001 the edge: whatever it is, the bytes go on
                self._decoder = None
        return data

    def _begin(self, coding: str, max_bytes: int) -> None:
        try:
            self._decoder = ContentDecoder(coding, max_bytes=max_bytes)
        except Exception:  # noqa: BLE001 likewise
            self._decoder = None

    def _look(self, decoded: bytes) -> None:
        text = self._tail + decoded
        self._tail = text[-_LONGEST_MATCH:]
        if has_usage(text):
            self._decoder = None
            self._found()


def has_usage(data: bytes) -> bool:
    """Whether JSON holds a usage object."""
    return _USAGE.search(data) is not None
