"""Connection handlers that lose no event when they are cancelled.

mitmproxy's `ConnectionHandler.drain_writers` cancels the task that reads a connection when a write
to it fails. Where that task waits for the event lock, with data or the close of its connection in
hand, the cancellation discards this event, and the layers wait for it for ever (mitmproxy 12.2 and
12.3; see docs/internals/mitmproxy.md).
"""

import asyncio

from mitmproxy.addons.clientplayback import ReplayHandler
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionHandler


class _DeliversEvents(ConnectionHandler):
    async def server_event(self, event: events.Event) -> None:
        """Deliver an event; a cancellation that comes while it waits takes effect afterwards."""
        cancellation: asyncio.CancelledError | None = None
        while True:
            try:
                # The only wait in there is for the lock: a cancelled event has not been handled.
                await super().server_event(event)
                break
            except asyncio.CancelledError as error:
                cancellation = error
        task = asyncio.current_task()
        if cancellation and task and not _is_last(event):
            task.cancel(*cancellation.args)


class _DeliveringProxyHandler(_DeliversEvents, ProxyConnectionHandler):
    pass


class _DeliveringReplayHandler(_DeliversEvents, ReplayHandler):
    pass


_DELIVERING: dict[type[ConnectionHandler], type[ConnectionHandler]] = {
    ProxyConnectionHandler: _DeliveringProxyHandler,
    ReplayHandler: _DeliveringReplayHandler,
}


def deliver_every_event(handler: ConnectionHandler) -> None:
    """Make a connection handler deliver every event, also while it is cancelled."""
    if made := _DELIVERING.get(type(handler)):
        handler.__class__ = made


def _is_last(event: events.Event) -> bool:
    """Return whether the task that delivers an event ends after it, cancelled or not."""
    if not isinstance(event, events.ConnectionClosed):
        return False
    return event.connection.state is not ConnectionState.CAN_WRITE
