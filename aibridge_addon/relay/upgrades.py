"""Which requests to providers may become something else than HTTP: a WebSocket, and nothing else.

What a connection switches to passes mitmproxy raw, unless it takes it for a WebSocket: past tokens
and records. So an upgrade is asked of a provider only where mitmproxy cannot see it otherwise than
we do, and any other is left out on the way up, as it may be (RFC 9110, 7.8): the request goes on.
"""

from mitmproxy import http
from mitmproxy.net.http.status_codes import SWITCHING

_VERSION = "13"
"""Of the WebSocket protocol, the only one there is (RFC 6455)."""
_OF_UPGRADES = ("upgrade", "http2-settings")


def is_websocket(request: http.Request) -> bool:
    """Whether a request asks for a WebSocket, and for nothing else beside it."""
    asked = [value.strip().lower() for value in request.headers.get_all("upgrade")]
    versions = request.headers.get_all("sec-websocket-version")
    return request.method == "GET" and asked == ["websocket"] and versions == [_VERSION]


def strip_other_upgrades(request: http.Request) -> None:
    """Leave out what asks for another protocol; `headers.outgoing` does so with `Connection`."""
    if not is_websocket(request):
        for name in _OF_UPGRADES:
            request.headers.pop(name, None)


def becomes_websocket(request: http.Request, response: http.Response) -> bool:
    """Whether mitmproxy takes a response to a request for the begin of a WebSocket."""
    return (
        response.status_code == SWITCHING
        and response.headers.get("upgrade", "").lower() == "websocket"
        and is_websocket(request)
    )
