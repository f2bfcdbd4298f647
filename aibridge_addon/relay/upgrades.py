"""Protocol upgrades: only WebSocket upgrades are allowed; all others are stripped.

After any other upgrade, mitmproxy would relay raw bytes, without access tokens and records. A
server may ignore an upgrade (RFC 9110, 7.8), so that a request without it stays valid.
"""

from mitmproxy import http
from mitmproxy.net.http.status_codes import SWITCHING

_VERSION = "13"
"""The only version of the WebSocket protocol (RFC 6455)."""
_UPGRADE_HEADERS = ("upgrade", "http2-settings")


def is_websocket(request: http.Request) -> bool:
    """Return True if a request asks for a WebSocket, and for no other protocol."""
    if request.method != "GET":
        return False
    requested = [value.strip().lower() for value in request.headers.get_all("upgrade")]
    versions = request.headers.get_all("sec-websocket-version")
    return requested == ["websocket"] and versions == [_VERSION]


def strip_other_upgrades(request: http.Request) -> None:
    """Remove upgrades to other protocols; `secrets.outgoing_fields` removes `Connection`."""
    if not is_websocket(request):
        for name in _UPGRADE_HEADERS:
            request.headers.pop(name, None)


def becomes_websocket(request: http.Request, response: http.Response) -> bool:
    """Return True if mitmproxy treats a response to a request as the start of a WebSocket."""
    return (
        response.status_code == SWITCHING
        and response.headers.get("upgrade", "").lower() == "websocket"
        and is_websocket(request)
    )
