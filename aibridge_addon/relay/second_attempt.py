"""A second attempt whose answer takes the place of a refused one, piece by piece.

`relay.mitm_layers` feeds the pieces to the client's stream as if its upstream had said them.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from mitmproxy import http

_NOTED = 16 * 1024
"""Bytes of a refusal that are looked at."""

type Piece = http.Response | bytes | str | None
"""The head of an answer, a chunk of its body (an empty one is its end), why it broke off; None:
nothing more comes, since the client has left."""
type Take = Callable[[Piece], None]


class SecondAttempt:
    """The second and last attempt of a request.

    Args:
        flow_id: the flow whose request was refused.
        send: sends the request; gives the pieces of its answer as long as its context is open.
        on_head: told the status of the answer, and the beginning of the refusal.
    """

    def __init__(
        self,
        flow_id: str,
        send: Callable[[Take], AbstractAsyncContextManager[object]],
        on_head: Callable[[int, bytes], None],
    ) -> None:
        self.flow_id = flow_id
        self.piece: Piece = None
        """What has come last."""
        self._send = send
        self._on_head = on_head
        self._refusal = bytearray()
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note_refusal(self, data: bytes) -> None:
        """Look at a chunk of the refused answer, which nobody gets."""
        self._refusal += data[: _NOTED - len(self._refusal)]

    async def advance(self) -> None:
        """Wait for the next piece of the answer."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="aibridge second attempt")
        self.piece = await self._pieces.get()
        if isinstance(self.piece, http.Response):
            self._on_head(self.piece.status_code, bytes(self._refusal))
        elif not self.piece or isinstance(self.piece, str):
            self._ended.set()

    def cancel(self) -> None:
        """Let go of the request: the client has left."""
        self._pieces.put_nowait(None)
        self._ended.set()

    async def _run(self) -> None:
        try:
            async with self._send(self._pieces.put_nowait):
                await self._ended.wait()
        except Exception as error:
            self._pieces.put_nowait(f"the request could not be sent again: {error}")
            raise
