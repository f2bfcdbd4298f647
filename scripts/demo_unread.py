"""Uses AI services that are not read, through tunnels that the proxy counts and never decrypts.

The stand-in takes the place of the services: the proxy sees only the host in the TLS handshake.
"""

import base64
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

_SERVICES = (("api2.cursor.sh", "frank", 40), ("claude.ai", "frank", 8), ("claude.ai", "bob", 3))
_REQUEST = b"GET /v1/models HTTP/1.1\r\nhost: unread\r\n\r\n"


def use_unread_services(forward: str, origin: str) -> None:
    """Send requests through tunnels, as an editor and browsers do."""
    for name, actor, requests in _SERVICES:
        _use(urlsplit(forward), urlsplit(origin).netloc, name, actor, requests)


def _use(proxy: SplitResult, target: str, name: str, actor: str, requests: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    login = base64.b64encode(f"{actor}:x".encode()).decode()
    with socket.create_connection((proxy.hostname, proxy.port)) as connection:
        connect = f"CONNECT {target} HTTP/1.1\r\nproxy-authorization: Basic {login}\r\n\r\n"
        connection.sendall(connect.encode())
        while not connection.recv(4096).endswith(b"\r\n\r\n"):
            pass
        with context.wrap_socket(connection, server_hostname=name) as tls:
            for _ in range(requests):
                tls.sendall(_REQUEST)
                tls.recv(64 * 1024)
