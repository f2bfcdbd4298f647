"""The server of the page: an end that is asked for before it serves."""

import socket

from starlette.applications import Starlette

from aibridge_addon.web.server import WebServer


def test_server_that_is_stopped_before_it_runs_ends_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WebServer(Starlette(), listener)
        server.stop()
        server.run()
    assert listener.fileno() == -1
