"""The decisions that `relay.mitm_layers` leaves to the addon, as a protocol."""

from typing import Protocol

from mitmproxy import http
from mitmproxy.connection import Address, Client
from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.relay.second_attempt import SecondAttempt


class Bridge(Protocol):
    """Decides what a stream does with its request and its response."""

    relays_directly: bool
    """True if streamed bodies may take the direct way; see `relay.direct_way`."""

    def outgoing_request(self, flow: http.HTTPFlow) -> http.Request:
        """Return the request whose head is sent upstream in place of the flow's."""

    def client_aborted(self, flow: http.HTTPFlow) -> None:
        """Note that the client, not the provider, broke off the exchange."""

    def upstream_proxy_refusal(self, address: Address, client: Client) -> str | None:
        """Return the reason why an upstream proxy must not connect to an address, if any."""

    def hold_limit(self, flow: http.HTTPFlow, begun: ReceiveBuffer) -> int | None:
        """Return how many bytes of a response are buffered before it is streamed.

        None: there is no limit; a response that exceeds mitmproxy's own limit fails. Not asked for
        a response that is streamed from its head on. `begun` is the body received so far.
        """

    def refusal_before_body(self, flow: http.HTTPFlow) -> http.Response | None:
        """Return the refusal of a request that needs no body to be refused; None to read it."""

    def refusal_of_size(self, flow: http.HTTPFlow, size: int) -> http.Response | None:
        """Return the refusal of a request whose body has reached a size that cannot be held."""

    def allows_protocol_switch(self, flow: http.HTTPFlow, response: http.Response) -> bool:
        """Return True if a 101 response may switch the connection to another protocol."""

    def stream_response(self, flow: http.HTTPFlow) -> None:
        """Stream a response that has exceeded its `hold_limit`."""

    def second_attempt(
        self, flow: http.HTTPFlow, head: http.Response | None, problem: str = ""
    ) -> SecondAttempt | None:
        """Return an attempt whose response replaces one with this head, if any.

        None: the provider was not reached, or sent no response; `problem` says why.
        """

    def head_seconds(self, flow: http.HTTPFlow) -> float | None:
        """Return the seconds in which the head of a response must come; None: it may take long."""
