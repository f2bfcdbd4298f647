"""Holds a response until it is known whether the client receives it."""

import asyncio
from collections.abc import Callable

from mitmproxy import http

from aibridge_addon.formats.decoders.codings import UndecodableError, decode_body
from aibridge_addon.headers import lowered

MOST_BYTES = 1024 * 1024
"""A larger error is passed on without being read."""

type Piece = http.Response | bytes | str | None
"""The head of a response; a chunk of its body, of which an empty one is the end; the reason why it
was truncated; None: nothing follows, since the client has disconnected."""
type Deliver = Callable[[Piece], None]


class HeldAnswer:
    """The pieces of one response: held, then passed on as they come."""

    def __init__(self) -> None:
        self.head: http.Response | None = None
        self.problem = ""
        """The reason why it is missing or truncated."""
        self.is_complete = False
        """True if the end has come."""
        self._pieces: list[Piece] = []
        self._body = bytearray()
        self._deliver: Deliver | None = None
        self._has_head = asyncio.Event()
        self._is_known = asyncio.Event()
        """Set once the body is complete, or too large to wait for."""

    @property
    def body(self) -> bytes:
        """The body so far, as far as it is kept."""
        return bytes(self._body)

    @property
    def headers(self) -> dict[str, str]:
        """The values of the headers, by name in lower case."""
        return dict(lowered(self.head.headers.fields)) if self.head else {}

    def decoded_body(self) -> bytes:
        """Return the body so far without its content coding; empty if it cannot be decoded."""
        coding = self.headers.get("content-encoding", "")
        try:
            return decode_body(self.body, coding, max_bytes=MOST_BYTES) if coding else self.body
        except UndecodableError:
            return b""

    def note(self, piece: Piece) -> None:
        """Take the next piece."""
        if isinstance(piece, http.Response):
            self.head = piece
            self._has_head.set()
        elif isinstance(piece, bytes) and piece:
            self._body += piece[: MOST_BYTES - len(self._body)]
        else:
            self.is_complete = True
            self.problem = piece if isinstance(piece, str) else ""
            self._has_head.set()
            self._is_known.set()
        if len(self._body) >= MOST_BYTES:
            self._is_known.set()
        if self._deliver:
            self._deliver(piece)
        else:
            self._pieces.append(piece)

    async def wait_for_head(self) -> None:
        """Wait until the head has come, or the request has failed."""
        await self._has_head.wait()

    async def wait_for_body(self) -> None:
        """Wait until the body has come, or the request has failed."""
        await self._is_known.wait()

    def release(self, deliver: Deliver) -> None:
        """Pass on what has come, and what follows."""
        for piece in self._pieces:
            deliver(piece)
        self._pieces.clear()
        self._deliver = deliver
