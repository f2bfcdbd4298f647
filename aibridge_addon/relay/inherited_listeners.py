"""Listening sockets that another process has bound, for proxies that share their ports.

This module depends on mitmproxy's internals (`proxy.mode_servers`, 12.2 and 12.3), which can only
bind addresses, and on the readers of asyncio's selector event loop. A socket that several processes
inherit loses no connection when one of them stops listening, as `SO_REUSEPORT` does.
"""

import asyncio
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
        if (selector := getattr(loop, "_selector", None)) is None:  # not asyncio's loop
            return False
        if (key := selector.get_map().get(self.fileno())) is None:  # the port closes
            return False
        reader = key.data[0]
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


def use_inherited(descriptors: Mapping[Address, int], counts: ConnectionCounts, slot: int) -> None:
    """Make mitmproxy listen on inherited sockets instead of binding their addresses.

    It closes them when it stops to listen: a socket that another process holds, but does not read,
    would keep clients waiting.
    """
    unused = dict(descriptors)
    bind = AsyncioServerInstance.listen

    async def listen(self: Any, host: str, port: int) -> list[Any]:
        descriptor = unused.pop((host, port), None)
        if descriptor is None:
            return await bind(self, host, port)

        async def handle(*streams: Any) -> None:
            try:
                await self.handle_stream(*streams)
            finally:
                counts.add(slot, -1)

        listener = _InheritedSocket(fileno=descriptor)
        listener.counts, listener.slot = counts, slot
        return [await asyncio.start_server(handle, sock=listener, backlog=ACCEPTED_PER_TURN)]

    AsyncioServerInstance.listen = listen  # type: ignore[method-assign]
