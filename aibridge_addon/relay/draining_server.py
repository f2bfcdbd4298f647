"""Lets mitmproxy close its ports without losing a connection.

This module depends on mitmproxy's `proxy.mode_servers` (12.2 and 12.3) and on the internals of
asyncio's selector event loop; with other event loops, it only defers the close.
"""

import asyncio
import selectors
import socket
from collections.abc import Sequence
from typing import Any

from mitmproxy.proxy.mode_servers import AsyncioServerInstance

_LONGEST_DRAIN = 1000
"""Turns of the event loop. More connections than the kernel's queue holds are not waited for."""


class DrainingServer:
    """A server of asyncio that serves all connections that are established when it is closed.

    asyncio drops a connection that it has accepted in the same turn of the loop. The kernel resets
    those that wait to be accepted, although their clients may have sent a request.
    """

    def __init__(self, server: asyncio.Server) -> None:
        self._server: Any = server

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that accept connections."""
        sockets: tuple[Any, ...] = self._server.sockets
        return sockets

    def close(self) -> None:
        """Accept the connections that wait, and then no more."""
        loop: Any = asyncio.get_running_loop()
        if not hasattr(loop, "_accept_connection"):
            loop.call_soon(self._server.close)
            return
        listeners: Sequence[socket.socket] = self._server._sockets or ()
        for listener in listeners:
            loop.remove_reader(listener)
        # At least one turn, in which connections that are accepted already attach themselves.
        loop.call_soon(self._drain, loop, listeners, _LONGEST_DRAIN)

    def _drain(self, loop: Any, listeners: Sequence[socket.socket], turns: int) -> None:
        waiting = _with_connections(listeners) if turns else ()
        if not waiting:
            self._server.close()
            return
        server = self._server
        for listener in waiting:
            loop._accept_connection(
                server._protocol_factory, listener, None, server, server._backlog
            )
        loop.call_soon(self._drain, loop, listeners, turns - 1)


def _with_connections(listeners: Sequence[socket.socket]) -> list[Any]:
    """Return the sockets that have a connection to accept."""
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(0)]


def drain_closed_ports() -> None:
    """Make mitmproxy serve the connections that wait when it closes a port."""
    bind = AsyncioServerInstance.listen

    async def listen(self: Any, host: str, port: int) -> list[Any]:
        return [
            DrainingServer(server) if isinstance(server, asyncio.Server) else server
            for server in await bind(self, host, port)
        ]

    AsyncioServerInstance.listen = listen  # type: ignore[method-assign]
