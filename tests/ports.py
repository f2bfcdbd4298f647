"""Finds ports for programs that cannot be told to take any."""

import secrets
import socket

_PORTS = range(12_000, 32_000)
"""Below the ports that the system gives to connections, which would take one at any moment."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
