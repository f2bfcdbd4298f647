"""Sends an upstream request of our own through mitmproxy itself.

Upstream proxies, TLS options and client certificates apply to it as to any other request, and it is
a flow of its own, visible in mitmweb. mitmproxy's `ReplayHandler` runs the flow.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Self

from mitmproxy import ctx, http
from mitmproxy.addons.clientplayback import ReplayHandler

from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.connection_handlers import deliver_every_event
from aibridge_addon.relay.mitm_layers import install


class ReplayedRequest(ABC):
    """A request that is sent on entering its context; leaving it early cancels the request.

    The addon's hooks, which see the flow as any other, call the `on_…` methods.
    """

    def __init__(self, flow: http.HTTPFlow, bridge: Bridge) -> None:
        self.flow = flow
        """The request; the response is written to it."""
        self._bridge = bridge
        self._handler: ReplayHandler | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Send the request."""
        self._handler = ReplayHandler(self.flow, ctx.options)
        deliver_every_event(self._handler)
        install(self._handler.layer, self._bridge)
        self._task = asyncio.create_task(self._handler.replay(), name="aibridge inner request")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Cancel the request unless it has ended, and wait for its end."""
        assert self._handler
        assert self._task
        if not self._handler.done.is_set():
            for transport in self._handler.transports.values():
                if transport.handler:
                    transport.handler.cancel("the inner loop has ended")
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    def on_head(self) -> None:
        """Handle the head of the response."""

    @abstractmethod
    def on_end(self) -> None:
        """Handle the end of the response."""

    @abstractmethod
    def on_error(self, message: str) -> None:
        """Handle a failed connection or a truncated response."""
