"""Messages between tests and the process that forks: JSON, and descriptors."""

import array
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any


def send(
    connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()
) -> None:
    """Send a message, with descriptors."""
    data = json.dumps(message).encode()
    head = len(data).to_bytes(4)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    connection.sendmsg([head], rights if descriptors else [])
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return a message and the descriptors that came with it; None: the other side has ended."""
    head, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    if not head:
        return None, []
    data = b""
    while len(data) < int.from_bytes(head):
        data += connection.recv(1 << 16)
    return json.loads(data), descriptors
