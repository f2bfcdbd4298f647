"""Serves a WSGI application on threads; sleeps until a request or the end comes.

`serve_forever` of the standard library would wake up twice a second, and end as late as that.
"""

import selectors
import socket
import threading
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import WSGIApplication

from prometheus_client.exposition import ThreadingWSGIServer


class WsgiThread:
    """Serves at an address until it is closed.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, address: tuple[str, int], app: WSGIApplication) -> None:
        host, port = address
        self._server = make_server(host, port, app, _server_class(host), _SilentHandler)
        self._server.timeout = 0
        self._end, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="aibridge metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._end.send(b".")
        self._thread.join()
        self._end.close()
        self._woken.close()
        self._server.server_close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while self._woken not in [key.fileobj for key, _ in selector.select()]:
                self._server.handle_request()


class _SilentHandler(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is inherited
        """Log nothing."""


def _server_class(host: str) -> type[ThreadingWSGIServer]:
    """Return a class of servers for the address family of a host."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)

    class Server(ThreadingWSGIServer):
        address_family = found[0][0]

    return Server
