"""Listening sockets that several processes share lose no connection when one of them stops."""

import asyncio
import socket

from aibridge_addon.relay.inherited_listeners import _Listening


async def test_connection_accepted_in_the_turn_of_the_close_is_served() -> None:
    served = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()
        served.set()

    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=listener)
    listening = _Listening(server)
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    with socket.create_connection(listener.getsockname()):
        reader = selector.get_key(listener.fileno()).data[0]
        reader._callback(*reader._args)  # the loop accepts the connection
        listening.close()
        await asyncio.wait_for(served.wait(), 30)
    assert not server.is_serving()
