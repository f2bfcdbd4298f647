"""Errors of our own, in the shape that the clients of a wire format understand."""

from mitmproxy import http

from aibridge_addon.access.policies import Refusal
from aibridge_addon.exchange.websocket import RefusedError
from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.providers.credentials import Headers
from aibridge_addon.providers.routing import Provider, Route
from aibridge_addon.providers.types import type_of_client


def shaped_error(wire_format: Format, status: int, message: str) -> http.Response:
    """Return an error as the clients of a wire format show it to their users."""
    body = wire_format.error(status, message)
    return http.Response.make(status, body, {"content-type": "application/json"})


def refused_message(wire_format: Format, refusal: Refusal) -> RefusedError:
    """Return what refuses a message of a WebSocket."""
    body = wire_format.error(refusal.status, refusal.message)
    return RefusedError(b'{"type":"error","status":%d,' % refusal.status + body[1:])


def wire_format_of(provider: Provider) -> Format:
    """Return a wire format whose errors the clients of a provider understand."""
    return provider.provider_type.errors


def wire_format_of_route(route: Route) -> Format:
    """Return the wire format of a route's errors."""
    return FORMATS[route.api] if route.api else wire_format_of(route.provider)


def wire_format_for(provider: Provider | None, headers: Headers) -> Format:
    """Return a wire format for a client of which only the headers may be known."""
    return wire_format_of(provider) if provider is not None else type_of_client(headers).errors
