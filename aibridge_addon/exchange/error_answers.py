"""Errors of our own, in the shape that the clients of a wire format understand."""

from mitmproxy import http

from aibridge_addon.access.policies import Refusal
from aibridge_addon.exchange.websocket import RefusedError
from aibridge_addon.formats import WIRE_FORMATS, WireFormat
from aibridge_addon.formats.anthropic_messages import reader as anthropic_messages
from aibridge_addon.formats.openai_chat import reader as openai_chat
from aibridge_addon.providers.identity import Headers
from aibridge_addon.providers.routing import Provider, Route


def shaped_error(wire_format: WireFormat, status: int, message: str) -> http.Response:
    """Return an error as the clients of a wire format show it to their users."""
    body = wire_format.error_body(status, message)
    return http.Response.make(status, body, {"content-type": "application/json"})


def refused_message(wire_format: WireFormat, refusal: Refusal) -> RefusedError:
    """Return what refuses a message of a WebSocket."""
    body = wire_format.error_body(refusal.status, refusal.message)
    return RefusedError(b'{"type":"error","status":%d,' % refusal.status + body[1:])


def wire_format_of(provider: Provider) -> WireFormat:
    """Return a wire format whose errors the clients of a provider understand."""
    return anthropic_messages if provider.type == "anthropic" else openai_chat


def wire_format_of_route(route: Route) -> WireFormat:
    """Return the wire format of a route's errors."""
    return WIRE_FORMATS[route.api] if route.api else wire_format_of(route.provider)


def wire_format_for(provider: Provider | None, headers: Headers) -> WireFormat:
    """Return a wire format for a client of whom only the headers may be known."""
    if provider is not None:
        return wire_format_of(provider)
    return anthropic_messages if "anthropic-version" in headers else openai_chat
