"""Errors of the proxy itself, in the shape that the clients of a wire format display."""

import msgspec
from mitmproxy import http

from aibridge_addon.access.policies import Refusal
from aibridge_addon.exchange.conversation import RefusedError
from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.providers.credentials import Headers
from aibridge_addon.providers.identity import recognise
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.routing import Route
from aibridge_addon.providers.types import type_of_client


def shaped_error(wire_format: Format, status: int, message: str) -> http.Response:
    """Return an error response of a wire format."""
    body = wire_format.error(status, message)
    return http.Response.make(status, body, {"content-type": "application/json"})


def refusal_response(
    wire_format: Format, refusal: Refusal, sent: Headers | None = None
) -> http.Response:
    """Return the response to a request that a policy refuses; its client may need another one."""
    body = wire_format.error(refusal.status, refusal.message, code=refusal.reason)
    headers = {"content-type": "application/json", **refusal.headers}
    if sent is not None and refusal.retry_after is None:
        client = recognise(sent)
        headers |= client.final_headers
        if client.final_error and refusal.is_final:
            error = {"type": client.final_error, "message": refusal.message}
            body = msgspec.json.encode(msgspec.json.decode(body) | {"error": error})
    return http.Response.make(refusal.status, body, headers)


def refused_message(wire_format: Format, refusal: Refusal) -> RefusedError:
    """Return the error that refuses a message of a WebSocket."""
    body = wire_format.error(refusal.status, refusal.message, code=refusal.reason)
    return RefusedError(b'{"type":"error","status":%d,' % refusal.status + body[1:])


def error_format_of_provider(provider: Provider) -> Format:
    """Return a wire format whose errors the clients of a provider understand."""
    return provider.provider_type.errors


def error_format_of_route(route: Route) -> Format:
    """Return the wire format of a route's errors."""
    return FORMATS[route.api] if route.api else error_format_of_provider(route.provider)


def error_format_of_headers(headers: Headers) -> Format:
    """Return a wire format for a client of which only the headers are known."""
    return type_of_client(headers).errors
