"""Connections by hand, for what no library does: leave at a chosen byte, reset one stream."""

import socket
import ssl
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events

from e2e.clients import TIMEOUT_S, Clients, Way


def open_tunnel(
    port: int, host: str, target_port: int = 443, credentials: str = ""
) -> socket.socket:
    """Connect to a forward proxy and through it to a host.

    Args:
        port: The proxy's.
        host: Where to.
        target_port: Which port there.
        credentials: The value of `Proxy-Authorization`, if any.

    Raises:
        ConnectionRefusedError: the proxy said no.
    """
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    authorization = f"Proxy-Authorization: {credentials}\r\n" if credentials else ""
    target = f"{host}:{target_port}"
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n".encode())
    head = read_head(sock)
    if b" 200 " not in head.partition(b"\r\n")[0]:
        sock.close()
        raise ConnectionRefusedError(head.decode("latin-1"))
    return sock


def read_head(sock: socket.socket) -> bytes:
    """Read up to the blank line, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError(f"closed after {head!r}")
        head += byte
    return head


def connect(
    clients: Clients, way: Way, host: str = "api.anthropic.com", credentials: str = ""
) -> socket.socket:
    """Connect by a way to where requests can be written."""
    proxy = clients.proxy
    assert proxy is not None
    if way.mode == "forward":
        sock = open_tunnel(proxy.forward_port, host, credentials=credentials)
    else:
        host = "127.0.0.1"
        sock = socket.create_connection((host, proxy.reverse_port), timeout=TIMEOUT_S)
        if not way.http2:
            return sock
    context = clients.trust()
    context.set_alpn_protocols(["h2" if way.http2 else "http/1.1"])
    wrapped = context.wrap_socket(sock, server_hostname=host)
    assert isinstance(wrapped, ssl.SSLSocket)
    return wrapped


class HTTP2Client:
    """One HTTP/2 connection; its streams are the test's to end."""

    def __init__(
        self, clients: Clients, way: Way, provider: Literal["anthropic", "openai"] = "anthropic"
    ) -> None:
        self.bodies: dict[int, bytes] = {}
        self.statuses: dict[int, int] = {}
        self.ended: set[int] = set()
        self.broken: set[int] = set()
        self._clients = clients
        self._way = way
        self._provider = provider
        self._socket = connect(clients, way, f"api.{provider}.com")
        self._wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._wire.initiate_connection()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def post(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Send a small request to the provider's place; return its stream."""
        return self.send("POST", path, headers, body)

    def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None,
        trailers: dict[str, str] | None = None,
    ) -> int:
        """Send a small request with exactly these headers; return its stream.

        A body is sent without `content-length`. None: the head ends the stream.
        """
        url = urlsplit(self._clients.url(self._way, self._provider, path))
        stream_id = self._wire.get_next_available_stream_id()
        head = {
            ":method": method,
            ":scheme": "https",
            ":authority": url.netloc,
            ":path": url.path + (f"?{url.query}" if url.query else ""),
            **headers,
        }
        self.bodies[stream_id] = b""
        self._wire.send_headers(stream_id, list(head.items()), end_stream=body is None)
        if body is not None:
            self._wire.send_data(stream_id, body, end_stream=trailers is None)
        if trailers is not None:
            self._wire.send_headers(stream_id, list(trailers.items()), end_stream=True)
        self._flush()
        return stream_id

    def reset(self, stream_id: int) -> None:
        """Give up one stream."""
        self._wire.reset_stream(stream_id)
        self._flush()

    def read_until(self, condition: Any) -> None:
        """Take what comes until a condition on this client holds.

        Raises:
            TimeoutError: it did not come to hold.
            ConnectionError: the connection ended before.
        """
        while not condition():
            data = self._socket.recv(64 * 1024)
            if not data:
                raise ConnectionError(f"ended: {self.ended}, broken: {self.broken}")
            for event in self._wire.receive_data(data):
                self._handle(event)
            self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data
                self._wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.broken.add(event.stream_id)

    def _flush(self) -> None:
        if data := self._wire.data_to_send():
            self._socket.sendall(data)
