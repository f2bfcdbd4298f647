"""Connection handlers: events of a task that is cancelled while it waits for the event lock."""

import asyncio
import warnings
from types import SimpleNamespace
from typing import Any

from mitmproxy import connection
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events, layer, server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import ProxyMode

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that pyasn1 has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    from aibridge_addon.relay.connection_handlers import deliver_every_event


class Recording(layer.Layer):
    """Records the events that it receives."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.seen: list[events.Event] = []

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        self.seen.append(event)
        yield from ()


class Writer:
    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    async def drain(self) -> None:
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True


class Peer:
    """A handler with one connection to a server, whose data the test sends."""

    def __init__(self) -> None:
        options: Any = SimpleNamespace(tcp_timeout=600)
        self.writer = Writer()
        self.reader = asyncio.StreamReader()
        handler = ProxyConnectionHandler(
            None, self.reader, self.writer, options, ProxyMode.parse("regular")
        )
        deliver_every_event(handler)
        self.handler = handler
        self.layer = handler.layer = Recording(Context(handler.client, options))
        self.connection = connection.Server(address=("127.0.0.1", 1))
        self.connection.state = ConnectionState.OPEN
        self.task = asyncio.create_task(self._handle())

    async def _handle(self) -> None:
        task = asyncio.current_task()
        io = server.ConnectionIO(handler=task, reader=self.reader, writer=self.writer)  # type: ignore[arg-type]
        self.handler.transports[self.connection] = io
        await self.handler.handle_connection(self.connection)

    @property
    def seen(self) -> list[str]:
        return [type(event).__name__ for event in self.layer.seen]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_data_and_close_are_delivered_although_the_task_is_cancelled() -> None:
    peer = Peer()
    await settle()
    async with peer.handler._server_event_lock:
        peer.reader.feed_data(b"the last of it")
        await settle()
        peer.task.cancel("Error sending data: reset")
        await settle()
        assert peer.seen == []
    await asyncio.wait([peer.task])
    assert peer.seen == ["DataReceived", "ConnectionClosed"]
    assert peer.connection.state is ConnectionState.CLOSED
    assert peer.writer.closed
    assert peer.connection not in peer.handler.transports
    assert peer.task.cancelled()


async def test_close_is_delivered_although_the_task_is_cancelled() -> None:
    peer = Peer()
    await settle()
    async with peer.handler._server_event_lock:
        peer.reader.feed_eof()
        await settle()
        for _ in range(3):
            peer.task.cancel()
            await settle()
    await asyncio.wait([peer.task])
    assert peer.seen == ["ConnectionClosed"]
    assert peer.writer.closed


async def test_reset_that_cancels_its_own_task_is_delivered() -> None:
    peer = Peer()
    await settle()
    await peer.handler._server_event_lock.acquire()
    peer.reader.feed_data(b"the last of it")
    await settle()
    error = peer.writer.error = ConnectionResetError("reset by peer")
    peer.reader.set_exception(error)

    def handle(event: events.Event) -> layer.CommandGenerator[None]:
        peer.layer.seen.append(event)
        if isinstance(event, events.DataReceived):  # the close must wait for the lock again
            asyncio.get_running_loop().create_task(lock_once())
        yield from ()

    async def lock_once() -> None:
        async with peer.handler._server_event_lock:
            await settle()

    peer.layer._handle_event = handle  # type: ignore[method-assign]
    waiting = asyncio.create_task(lock_once())
    await settle()
    peer.handler._server_event_lock.release()
    await asyncio.wait([peer.task, waiting])
    assert peer.seen == ["DataReceived", "ConnectionClosed"]
    assert peer.writer.closed
