"""A server on a bare socket, for bytes that no HTTP library sends. One connection at a time."""

import contextlib
import socket
import threading
from typing import Self

from e2e.clients import TIMEOUT_S


class RawServer:
    """Calls `serve` for each connection, until the block ends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def serve(self, peer: socket.socket) -> None:
        """Talk to a peer; its connection is closed afterwards."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self._listener.getsockname()[1])

    @property
    def origin(self) -> str:
        """Origin for the base URL of a provider."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT_S)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(ConnectionError):
                self.serve(peer)
