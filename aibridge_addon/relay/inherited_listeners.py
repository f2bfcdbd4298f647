"""Listening sockets that another process has bound, for proxies that share their ports.

This module depends on mitmproxy's internals (`proxy.mode_servers`, 12.2 and 12.3), which can only
bind addresses, and on the readers of asyncio's selector event loop. A socket that several processes
inherit loses no connection when one of them stops listening, as `SO_REUSEPORT` does.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

from mitmproxy.proxy.mode_servers import AsyncioServerInstance

from aibridge_addon.relay.connection_counts import ConnectionCounts

type Address = tuple[str, int]

ACCEPTED_PER_TURN = 2
"""Connections that a process accepts per turn of its loop, so that a burst spreads over all."""
HOLD_BACK_S = 0.002
"""Time in which a process with fewer connections may accept one before this process does."""


class _InheritedSocket(socket.socket):
    """A listening socket that leaves connections to processes that have fewer."""

    counts: ConnectionCounts
    slot: int
    _has_held_back = False

    def listen(self, backlog: int = 0, /) -> None:
        """Do nothing: it listens, and another `backlog` would change the queue of all processes."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, unless another process should."""
        if not (self._has_held_back or self.counts.has_fewest(self.slot)) and self._hold_back():
            raise BlockingIOError
        accepted = super().accept()
        self.counts.add(self.slot, 1)
        return accepted

    def close(self) -> None:
        """Stop listening."""
        self.counts.stop(self.slot)
        super().close()

    def _hold_back(self) -> bool:
        """Let the event loop look away for a moment; return False if that is not possible."""
        loop = asyncio.get_running_loop()
        if (selector := getattr(loop, "_selector", None)) is None:  # uvloop
            return False
        reader = selector.get_key(self.fileno()).data[0]
        callback, arguments = reader._callback, reader._args
        loop.remove_reader(self)

        def look_again() -> None:
            if self.fileno() >= 0:
                loop.add_reader(self, callback, *arguments)
                self._has_held_back = True
                callback(*arguments)  # accepts what the others have left
                self._has_held_back = False

        loop.call_later(HOLD_BACK_S, look_again)
        return True


class _Listening:
    """A server of asyncio that loses no connection when it is closed.

    asyncio drops a connection that it has accepted in the same turn of the loop.
    """

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that accept connections."""
        return self._server.sockets

    def close(self) -> None:
        """Accept no more connections."""
        loop = asyncio.get_running_loop()
        if hasattr(loop, "_selector"):  # not in uvloop
            for listener in self.sockets:
                loop.remove_reader(listener.fileno())
        loop.call_soon(self._server.close)


def use_inherited(descriptors: Mapping[Address, int], counts: ConnectionCounts, slot: int) -> None:
    """Make mitmproxy listen on inherited sockets instead of binding their addresses."""
    bind = AsyncioServerInstance.listen

    async def listen(self: Any, host: str, port: int) -> list[Any]:
        descriptor = descriptors.get((host, port))
        if descriptor is None:
            return await bind(self, host, port)

        async def handle(*streams: Any) -> None:
            try:
                await self.handle_stream(*streams)
            finally:
                counts.add(slot, -1)

        # A duplicate: mitmproxy closes it when it stops to listen, and may listen again.
        listener = _InheritedSocket(fileno=os.dup(descriptor))
        listener.counts, listener.slot = counts, slot
        server = await asyncio.start_server(handle, sock=listener, backlog=ACCEPTED_PER_TURN)
        return [_Listening(server)]

    AsyncioServerInstance.listen = listen  # type: ignore[method-assign]
