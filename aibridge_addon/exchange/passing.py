"""Passing exchanges: bytes are relayed and not recorded; billed responses are counted."""

from collections.abc import Callable
from functools import partial

from mitmproxy import http, websocket

from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.formats import Format
from aibridge_addon.providers.routing import Route
from aibridge_addon.relay.responses import content_length
from aibridge_addon.relay.usage_watch import UsageWatch, has_usage

_SMALL = 1024 * 1024
"""Largest body, in bytes, that is buffered so that mitmweb can show it."""

type CountUsage = Callable[[Route], None]
"""Counts a response of a route that reports usage and is not recorded."""


def ignore_usage(route: Route) -> None:
    """Ignore the usage of a response that is recorded elsewhere."""


class PassingExchange(Exchange):
    """A request that is relayed without a record."""

    def __init__(
        self, request: ClientRequest, wire_format: Format, *, count_usage: CountUsage
    ) -> None:
        super().__init__(request, wire_format)
        self.may_change_key = not request.route.creates_keys
        self._count_usage = partial(count_usage, request.route)

    def on_head(self) -> None:
        """Stream the body and watch it for usage, unless it is small: then mitmweb can show it.

        A body with a new key is always streamed, so that no flow holds the key.
        """
        hides_body = self.request.route.creates_keys
        if hides_body or not _is_small(self.response):
            self.response.stream = watch = self._watch()
            watch.hides_body = hides_body

    async def on_end(self) -> None:
        """Look for usage in a body that was buffered."""
        response = self.flow.response
        if response and not response.stream:
            self._watch()(response.raw_content or b"")

    async def on_message(self, message: websocket.WebSocketMessage) -> None:
        """Look for usage in a message of the provider."""
        if not message.from_client and has_usage(message.content):
            self._count_usage()

    def _watch(self) -> UsageWatch:
        return UsageWatch(self.response, self._count_usage, max_bytes=self.request.max_bytes)


def _is_small(response: http.Response) -> bool:
    length = content_length(response)
    return length is not None and length <= _SMALL
