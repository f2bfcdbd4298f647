"""Listening sockets that another process has bound, for proxies that share their ports.

This module depends on mitmproxy's internals (`proxy.mode_servers`, 12.2 and 12.3), which can only
bind addresses. A socket that several processes inherit loses no connection when one of them stops
listening, as `SO_REUSEPORT` does.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

from mitmproxy.proxy.mode_servers import AsyncioServerInstance

type Address = tuple[str, int]

ACCEPTED_PER_TURN = 2
"""Connections that a process accepts per turn of its loop, so that a burst spreads over all."""


class _InheritedSocket(socket.socket):
    def listen(self, backlog: int = 0, /) -> None:
        """Do nothing: it listens, and another `backlog` would change the queue of all processes."""


def use_inherited(descriptors: Mapping[Address, int]) -> None:
    """Make mitmproxy listen on inherited sockets instead of binding their addresses."""
    bind = AsyncioServerInstance.listen

    async def listen(self: Any, host: str, port: int) -> list[Any]:
        descriptor = descriptors.get((host, port))
        if descriptor is None:
            return await bind(self, host, port)
        # A duplicate: mitmproxy closes it when it stops to listen, and may listen again.
        listener = _InheritedSocket(fileno=os.dup(descriptor))
        return [
            await asyncio.start_server(self.handle_stream, sock=listener, backlog=ACCEPTED_PER_TURN)
        ]

    AsyncioServerInstance.listen = listen  # type: ignore[method-assign]
