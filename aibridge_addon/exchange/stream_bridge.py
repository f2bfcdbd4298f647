"""Answers the questions of `relay.mitm_layers` about the flows of this proxy."""

from collections.abc import Callable

from mitmproxy import ctx, http
from mitmproxy.connection import Address, Client
from mitmproxy.proxy.utils import ReceiveBuffer
from mitmproxy.utils.human import parse_size

from aibridge_addon.access.egress import Egress
from aibridge_addon.exchange.early_refusals import EarlyRefusals
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.live import LiveRequests
from aibridge_addon.relay.direct_names import has_all_names
from aibridge_addon.relay.held_bodies import HeldBodies
from aibridge_addon.relay.second_attempt import SecondAttempt
from aibridge_addon.relay.upgrades import becomes_websocket

type FindAttempt = Callable[[Exchange, http.Response | None, str], SecondAttempt | None]
"""Returns an attempt whose response replaces one with this head, or a failed connection."""


class StreamBridge:
    """Implements `relay.bridge.Bridge` by the exchange of each flow."""

    def __init__(
        self,
        live: LiveRequests,
        *,
        egress: Egress,
        held: HeldBodies,
        refusals: EarlyRefusals,
        is_ours: Callable[[http.HTTPFlow], bool],
        second_attempt: FindAttempt,
    ) -> None:
        self.relays_directly = False
        self._live = live
        self._egress = egress
        self._held = held
        self._refusals = refusals
        self._is_ours = is_ours
        self._second_attempt = second_attempt

    def relay_directly(self, wanted: bool) -> None:
        """Let streamed bodies take the direct way, if the installed versions have it."""
        self.relays_directly = wanted and has_all_names()

    def outgoing_request(self, flow: http.HTTPFlow) -> http.Request:
        """Return the request whose head is sent upstream in place of the flow's."""
        exchange = self._live.find(flow.id)
        return exchange.outgoing_request() if exchange else flow.request

    def client_aborted(self, flow: http.HTTPFlow) -> None:
        """Note that the client, not the provider, broke off the exchange."""
        self._live.abort(flow)

    def upstream_proxy_refusal(self, address: Address, client: Client) -> str | None:
        """Return the reason why an upstream proxy must not connect to an address, if any."""
        return self._egress.upstream_proxy_refusal(*address[:2], client)

    def hold_limit(self, flow: http.HTTPFlow, begun: ReceiveBuffer) -> int | None:
        """Return how many bytes of a response are buffered before it is streamed; None: all."""
        if exchange := self._live.find(flow.id):
            return exchange.hold_limit(begun)
        limits = (ctx.options.body_size_limit, ctx.options.stream_large_bodies)
        sizes = [size for limit in limits if (size := parse_size(limit)) is not None]
        return min(sizes, default=None)

    def refusal_before_body(self, flow: http.HTTPFlow) -> http.Response | None:
        """Return the refusal of a request that needs no body to be refused; None to read it."""
        if (head := self._live.head(flow)) is None:
            return None
        flow.response = flow.response or self._refusals.not_admitted(head)
        return flow.response

    def refusal_of_size(self, flow: http.HTTPFlow, size: int) -> http.Response | None:
        """Return the refusal of a request whose body has reached a size that cannot be held."""
        head = self._live.head(flow)
        if head is None or self._held.hold(flow.client_conn.id, flow.id, size):
            return None
        return self._refusals.too_much_held(head)

    def allows_protocol_switch(self, flow: http.HTTPFlow, response: http.Response) -> bool:
        """Return True if a 101 response may switch the connection to another protocol."""
        if self._live.find(flow.id) is None and not self._is_ours(flow):
            return True
        return ctx.options.websocket and becomes_websocket(flow.request, response)

    def stream_response(self, flow: http.HTTPFlow) -> None:
        """Stream a response that has exceeded its `hold_limit`."""
        if exchange := self._live.find(flow.id):
            exchange.stream_response()
        elif flow.response:
            flow.response.stream = True

    def second_attempt(
        self, flow: http.HTTPFlow, head: http.Response | None, problem: str = ""
    ) -> SecondAttempt | None:
        """Return an attempt whose response replaces one with this head, if any."""
        exchange = self._live.find_open(flow.id)
        return self._second_attempt(exchange, head, problem) if exchange else None

    def head_seconds(self, flow: http.HTTPFlow) -> float | None:
        """Return the seconds in which the head of a response must come, if they are limited."""
        exchange = self._live.find(flow.id)
        return exchange.head_seconds if exchange else None
