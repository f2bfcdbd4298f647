"""Checks of every request before anything else, and the headers of every response.

DNS rebinding: a foreign page can give its own host name our address, so that only host names that
are ours are served. CSRF: a request that changes something must come from our own pages.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aibridge_addon.access.policies.browser_origin import host_of
from aibridge_addon.addresses import literal

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_LOCALHOST = "localhost"


class Guard:
    """ASGI middleware around the whole page."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        """Host names of the page besides loopback names and addresses."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message))
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(host_of(hosts[0])):
            return PlainTextResponse(
                "This host name is not one of the page. Allow it with --allowed-host.\n", 421
            )
        if method not in _SAFE_METHODS and not _is_same_origin(headers, hosts[0]):
            return PlainTextResponse("This request comes from another page.\n", 403)
        return None

    def _is_ours(self, host: str) -> bool:
        return (
            host == _LOCALHOST
            or host.endswith(f".{_LOCALHOST}")
            or literal(host) is not None
            or host in self._hosts
        )


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Return True if a page of ours sent the request; the scheme may differ behind a TLS proxy."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origins = headers.getlist("origin")
    return len(origins) == 1 and urlsplit(origins[0]).netloc.lower() == host.lower()


def _add_headers(headers: MutableHeaders) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("cache-control", "no-store")
