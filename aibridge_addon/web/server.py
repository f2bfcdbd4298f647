"""Serves the page with uvicorn: in the foreground, or on a thread with an event loop of its own.

On a thread it shares nothing with the proxy's event loop: a slow page never delays a request.
"""

import socket
import threading

import uvicorn
from starlette.types import ASGIApp

_SHUTDOWN_SECONDS = 1
"""Live pages never end by themselves."""
_MOST_CONNECTIONS = 256


class WebServer:
    """A server of the page on a listening socket."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self.run, name="aibridge web", daemon=True)

    def run(self) -> None:
        """Serve until a signal, `stop` or `close` ends it."""
        self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """Let `run` end, or end at once where it has not begun. Safe in a signal handler."""
        self._server.should_exit = True

    def start(self) -> None:
        """Serve on a thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        self._thread.join()
        self._listener.close()
