"""A second attempt at a refused request, whose response replaces the refusal piece by piece.

`relay.mitm_layers` feeds the pieces to the client's stream as if its upstream had sent them.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from mitmproxy import http

_MAX_REFUSAL = 16 * 1024
"""Bytes of a refusal that are recorded."""

type Piece = http.Response | bytes | str | None
"""The head of a response; a chunk of its body, of which an empty one is the end; the reason why it
was truncated; None: nothing follows, since the client has disconnected."""
type Deliver = Callable[[Piece], None]


class SecondAttempt:
    """The second and last attempt at a request.

    Args:
        flow_id: the flow whose request was refused.
        send: sends the request, and delivers its response while its context is open.
        on_head: called with the status of the response and the beginning of the refusal.
    """

    def __init__(
        self,
        flow_id: str,
        send: Callable[[Deliver], AbstractAsyncContextManager[object]],
        on_head: Callable[[int, bytes], None],
    ) -> None:
        self.flow_id = flow_id
        self.piece: Piece = None
        """The last piece that has arrived."""
        self._send = send
        self._on_head = on_head
        self._refusal = bytearray()
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note_refusal(self, data: bytes) -> None:
        """Record a chunk of the refusal, which the client does not receive."""
        self._refusal += data[: _MAX_REFUSAL - len(self._refusal)]

    async def advance(self) -> None:
        """Wait for the next piece of the response."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="aibridge second attempt")
        self.piece = await self._pieces.get()
        if isinstance(self.piece, http.Response):
            self._on_head(self.piece.status_code, bytes(self._refusal))
        elif not self.piece or isinstance(self.piece, str):
            self._ended.set()

    def cancel(self) -> None:
        """Cancel the request: the client has disconnected."""
        self._pieces.put_nowait(None)
        self._ended.set()

    async def _run(self) -> None:
        try:
            async with self._send(self._pieces.put_nowait):
                await self._ended.wait()
        except Exception as error:
            self._pieces.put_nowait(f"the request could not be sent again: {error}")
            raise
