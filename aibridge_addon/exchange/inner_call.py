"""Inner calls: requests of the proxy itself, sent for another exchange."""

from collections.abc import Callable

from mitmproxy import http
from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.formats import Format
from aibridge_addon.relay.replayed_request import ReplayedRequest

type OnHead = Callable[[http.Response], None]


def ignore_head(response: http.Response) -> None:
    """Ignore a head that another exchange sees too."""


class InnerCallExchange(Exchange):
    """A follow-up request of an inner loop, or a second attempt; its `ReplayedRequest` reads it."""

    def __init__(
        self,
        request: ClientRequest,
        wire_format: Format,
        call: ReplayedRequest,
        *,
        on_head: OnHead = ignore_head,
    ) -> None:
        super().__init__(request, wire_format)
        self._call = call
        self._on_head = on_head

    def on_head(self) -> None:
        """Report the head of the response."""
        self._on_head(self.response)
        self._call.on_head()

    def hold_limit(self, begun: ReceiveBuffer) -> int | None:
        """Return None: a response that is not streamed is needed complete."""
        return None

    async def on_end(self) -> None:
        """Report the end of the response."""
        self._call.on_end()

    async def on_error(self, message: str) -> None:
        """Report a failed connection."""
        self._call.on_error(message)
