"""CORS at the reverse proxy: answers preflights, and lets pages of allowed origins read responses.

In forward mode the provider's own CORS headers apply.
"""

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from aibridge_addon.access.policies import BrowserOrigin

_MAX_AGE_S = 600
_REQUEST_METHOD = "access-control-request-method"
_REQUEST_HEADERS = "access-control-request-headers"
_REQUEST_PRIVATE_NETWORK = "access-control-request-private-network"


class CrossOriginSharing:
    """Sends CORS headers to pages of allowed origins."""

    def __init__(self, policy: BrowserOrigin) -> None:
        """Use the policy that has the allowed origins."""
        self._policy = policy

    def preflight(self, flow: http.HTTPFlow) -> http.Response | None:
        """Return the response to a preflight of an allowed origin; None for all other requests."""
        headers = flow.request.headers
        if flow.request.method != "OPTIONS" or _REQUEST_METHOD not in headers:
            return None
        if self._allowed_origin(flow) is None:
            return None
        response = http.Response.make(204)
        response.headers["access-control-allow-methods"] = headers[_REQUEST_METHOD]
        if requested := headers.get(_REQUEST_HEADERS):
            response.headers["access-control-allow-headers"] = requested
        if headers.get(_REQUEST_PRIVATE_NETWORK) == "true":
            response.headers["access-control-allow-private-network"] = "true"
        response.headers["access-control-max-age"] = str(_MAX_AGE_S)
        return response

    def share(self, flow: http.HTTPFlow) -> None:
        """Let pages of an allowed origin read the response."""
        origin, response = self._allowed_origin(flow), flow.response
        if origin is None or response is None:
            return
        response.headers["access-control-allow-origin"] = origin
        response.headers["access-control-expose-headers"] = "*"
        response.headers.add("vary", "Origin")

    def _allowed_origin(self, flow: http.HTTPFlow) -> str | None:
        """Return the origin of a request to the reverse proxy if it is allowed."""
        origin = flow.request.headers.get("origin", "")
        if not origin or not isinstance(flow.client_conn.proxy_mode, ReverseMode):
            return None
        return origin if self._policy.allows_origin(origin) else None
