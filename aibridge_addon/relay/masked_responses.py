"""Masks secrets in the heads of responses that flows hold; clients receive them unchanged.

Providers set cookies, create tokens, and sign the URLs of uploads and downloads. The secrets stay
with the headers, so that a response can be handed from one flow to another.
"""

from copy import copy
from itertools import filterfalse

from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import (
    HttpStream,
    RequestHeaders,
    ResponseData,
    ResponseHeaders,
    SendHttp,
)

from aibridge_addon.relay.command_generators import Commands, mapped
from aibridge_addon.relay.head_copies import copy_head
from aibridge_addon.relay.secrets import Secrets, mask_response_fields, restored_fields


class MaskedHeaders(http.Headers):
    """Headers with hints in place of secrets, and the secrets, which no state of a flow has."""

    secrets: Secrets


def mask_response(response: http.Response) -> None:
    """Replace the secrets in a response's headers by hints."""
    if isinstance(response.headers, MaskedHeaders):
        return
    shown, secrets = mask_response_fields(response.headers.fields)
    if secrets:
        response.headers = headers = MaskedHeaders(shown)
        headers.secrets = secrets


def masked_copy(response: http.Response) -> http.Response:
    """Return a copy of a response that can be sent to a client."""
    other: http.Response = response.copy()
    other.headers = copy(response.headers)
    return other


def as_received(response: http.Response) -> http.Response:
    """Return the head that the client receives: with the secrets."""
    if not isinstance(headers := response.headers, MaskedHeaders):
        return response
    response = copy_head(response)
    response.data.headers = http.Headers(restored_fields(headers.fields, headers.secrets))
    return response


class MaskingStream(HttpStream):
    """A stream that sends responses with the secrets that their flow does not show."""

    wants_body = True
    """False if the client's method is HEAD, whatever addons make of the request."""

    def state_wait_for_request_headers(self, event: events.Event) -> Commands:
        """Note the client's method."""
        if isinstance(event, RequestHeaders):
            self.wants_body = event.request.method != "HEAD"
        yield from super().state_wait_for_request_headers(event)

    def start_response_stream(self) -> Commands:
        """Send the head of a streamed response."""
        yield from mapped(super().start_response_stream(), _with_secrets)

    def send_response(self, already_streamed: bool = False) -> Commands:
        """Send a response, or the end of a streamed one; none of its body if HEAD asks."""
        sent = super().send_response(already_streamed)
        if already_streamed:
            yield from sent
        elif not self.wants_body:
            yield from map(_with_secrets, filterfalse(_is_body, sent))
        else:
            yield from mapped(sent, _with_secrets)


def _is_body(command: commands.Command) -> bool:
    return isinstance(command, SendHttp) and isinstance(command.event, ResponseData)


def _with_secrets(command: commands.Command) -> commands.Command:
    if isinstance(command, SendHttp) and isinstance(head := command.event, ResponseHeaders):
        head.response = as_received(head.response)
    return command
