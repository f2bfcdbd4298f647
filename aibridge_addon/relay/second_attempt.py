"""Further attempts at a request, whose response replaces the first one piece by piece.

`relay.mitm_layers` feeds the pieces to the client's stream as if its upstream had sent them.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from aibridge_addon.relay.held_answer import Deliver, HeldAnswer, Piece

type Send = Callable[[Deliver], AbstractAsyncContextManager[object]]
"""Sends a request, and delivers its response while its context is open."""


class SecondAttempt:
    """Further attempts at a request; the first response is held meanwhile.

    Args:
        flow_id: the flow of the request.
        send: makes the attempts, and delivers the response that the client receives.
        first: receives the response of the first upstream.
    """

    def __init__(self, flow_id: str, send: Send, first: HeldAnswer) -> None:
        self.flow_id = flow_id
        self.piece: Piece = None
        """The last piece that has arrived."""
        self.note = first.note
        """Takes a piece of the first response."""
        self._send = send
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_delivering = False

    async def advance(self) -> None:
        """Wait for the next piece of the response."""
        if self._task is None and not self._ended.is_set():
            self._task = asyncio.create_task(self._run(), name="aibridge second attempt")
        self.piece = await self._pieces.get()
        if not self.piece or isinstance(self.piece, str):
            self._ended.set()

    def cancel(self) -> None:
        """Cancel the request: the client has disconnected."""
        self._pieces.put_nowait(None)
        self._ended.set()
        if self._task and not self._is_delivering:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            async with self._send(self._pieces.put_nowait):
                self._is_delivering = True
                await self._ended.wait()
        except Exception as error:
            self._pieces.put_nowait(f"the request could not be sent again: {error}")
            raise
