"""Connection handlers: delivers every event in spite of a cancellation, and closes connections.

This module depends on mitmproxy's internals (12.2 and 12.3; see docs/internals/mitmproxy.md): when
a write fails, `ConnectionHandler.drain_writers` cancels the task that reads the connection. If it
then waits for the event lock, its event is lost, and the layers wait for it for ever.
"""

import asyncio

from mitmproxy.addons.clientplayback import ReplayHandler
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionHandler

from aibridge_addon.relay.client_handler import handler_of


class DeliversEvents(ConnectionHandler):
    """Delivers every event, and counts them."""

    event_count = 0
    """Number of events that were given to the layers, or wait for the lock to be given."""

    async def server_event(self, event: events.Event) -> None:
        """Deliver an event; a cancellation during the wait takes effect afterwards."""
        self.event_count += 1
        cancellation: asyncio.CancelledError | None = None
        while True:
            try:
                # It waits for the lock only, so that a cancelled event has not been handled.
                await super().server_event(event)
                break
            except asyncio.CancelledError as error:
                cancellation = error
        task = asyncio.current_task()
        if cancellation and task and not _is_last(event):
            task.cancel(*cancellation.args)


class _DeliveringProxyHandler(DeliversEvents, ProxyConnectionHandler):
    pass


class _DeliveringReplayHandler(DeliversEvents, ReplayHandler):
    pass


_DELIVERING: dict[type[ConnectionHandler], type[ConnectionHandler]] = {
    ProxyConnectionHandler: _DeliveringProxyHandler,
    ReplayHandler: _DeliveringReplayHandler,
}


def deliver_every_event(handler: ConnectionHandler) -> None:
    """Make a connection handler deliver every event, even if it is cancelled."""
    if delivering := _DELIVERING.get(type(handler)):
        handler.__class__ = delivering


def deliver_events_of(client: Client) -> None:
    """Make the handler of a client's connection deliver every event."""
    if handler := handler_of(client):
        deliver_every_event(handler)


def close_client(client: Client) -> None:
    """Close a client's connection, as mitmproxy does after its `tcp_timeout`."""
    handler = handler_of(client)
    io = handler.transports.get(client) if handler else None
    if io and io.handler:
        io.handler.cancel("aibridge: closed")


def _is_last(event: events.Event) -> bool:
    """Return True if the task that delivers an event ends after it anyway."""
    if not isinstance(event, events.ConnectionClosed):
        return False
    return event.connection.state is not ConnectionState.CAN_WRITE
