"""Ports lose no connection when they are closed."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from aibridge_addon.relay.connection_counts import ConnectionCounts, shared_counts
from aibridge_addon.relay.draining_server import DrainingServer
from aibridge_addon.relay.inherited_listeners import _InheritedSocket

WAITING = 5
BACKLOG = 2
"""Fewer than wait, so that they are accepted in several turns."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the received byte back."""
    writer.write(await reader.readexactly(1))
    writer.close()


@pytest.fixture
def counts() -> Iterator[ConnectionCounts]:
    """Counts of two processes."""
    with shared_counts(2) as memory:
        yield ConnectionCounts(memory.fileno())


async def ask(clients: list[socket.socket]) -> list[bytes]:
    """Send a byte over each connection; return what each receives, nothing if it is reset."""
    loop = asyncio.get_running_loop()

    async def answer_to(client: socket.socket) -> bytes:
        try:
            await loop.sock_sendall(client, b"x")
            return await loop.sock_recv(client, 1)
        except ConnectionError:
            return b""

    return await asyncio.wait_for(asyncio.gather(*map(answer_to, clients)), 30)


def connect(stack: ExitStack, listener: socket.socket, count: int) -> list[socket.socket]:
    """Open connections, which the event loop has not seen."""
    address = listener.getsockname()
    opened = [stack.enter_context(socket.create_connection(address)) for _ in range(count)]
    for client in opened:
        client.setblocking(False)
    return opened


async def test_connections_that_wait_when_the_port_is_closed_are_served() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(echo, sock=listener, backlog=BACKLOG)
    listener.listen(WAITING)
    with ExitStack() as stack:
        clients = connect(stack, listener, WAITING)
        DrainingServer(server).close()
        assert await ask(clients) == [b"x"] * WAITING
    assert not server.is_serving()
    assert listener.fileno() < 0


async def test_connection_accepted_in_the_turn_of_the_close_is_served() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(echo, sock=listener)
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    with ExitStack() as stack:
        clients = connect(stack, listener, 1)
        reader = selector.get_key(listener.fileno()).data[0]
        reader._callback(*reader._args)  # the loop accepts the connection
        DrainingServer(server).close()
        assert await ask(clients) == [b"x"]
    assert not server.is_serving()


async def test_shared_port_is_drained_even_if_another_process_has_fewer_connections(
    counts: ConnectionCounts,
) -> None:
    busy, _ = counts.take_slot(), counts.take_slot()
    counts.add(busy, 1)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        listener = _InheritedSocket(fileno=os.dup(bound.fileno()))
    listener.counts, listener.slot = counts, busy
    server = await asyncio.start_server(echo, sock=listener, backlog=BACKLOG)
    with ExitStack() as stack:
        clients = connect(stack, listener, WAITING)
        DrainingServer(server).close()
        assert await ask(clients) == [b"x"] * WAITING
    assert not server.is_serving()
