"""Responses to requests that are refused before their body is complete. They are not recorded."""

from mitmproxy import http

from aibridge_addon.access.policies.access_token import denied
from aibridge_addon.exchange.error_responses import (
    error_format_of_headers,
    error_format_of_route,
    refusal_response,
    shaped_error,
)
from aibridge_addon.exchange.head import Head, RoutedHead
from aibridge_addon.observe.metrics import Metrics

_BODY_TOO_LARGE = "body_too_large"
_TOO_MUCH_HELD = "too_much_held"
_HOLDS_TOO_MUCH = (
    "aibridge: this proxy holds too many large requests at the moment"
    " (option aibridge_held_bodies_mib). Try again."
)


class EarlyRefusals:
    """Makes and counts early refusals."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def not_admitted(self, head: Head) -> http.Response | None:
        """Return the refusal of a request whose access token is not accepted, if so."""
        refusal = head.admission.refusal
        if refusal is None or not isinstance(head, RoutedHead):
            return None
        route = head.request.route
        self._metrics.count_refused(route.provider.name, refusal.reason)
        return refusal_response(
            error_format_of_route(route), denied(refusal), head.admission.headers
        )

    def too_much_held(self, head: Head) -> http.Response:
        """Return the refusal of a body that exceeds what the proxy holds of all requests."""
        wire_format = error_format_of_headers(head.admission.headers)
        name = ""
        if isinstance(head, RoutedHead):
            name = head.request.route.provider.name
            wire_format = error_format_of_route(head.request.route)
        self._metrics.count_refused(name, _TOO_MUCH_HELD)
        response = shaped_error(wire_format, 503, _HOLDS_TOO_MUCH)
        response.headers["retry-after"] = "1"
        return response

    def too_large(self, head: Head, limit: str) -> http.Response | None:
        """Return the refusal of a body larger than `body_size_limit`, if it is to a provider."""
        if not isinstance(head, RoutedHead):
            return None
        route = head.request.route
        self._metrics.count_refused(route.provider.name, _BODY_TOO_LARGE)
        message = f"aibridge: the request body is larger than {limit} (option body_size_limit)."
        return shaped_error(error_format_of_route(route), 413, message)
