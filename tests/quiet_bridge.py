"""A bridge for tests of layers: changes nothing, refuses nothing."""

from mitmproxy import http
from mitmproxy.connection import Address, Client
from mitmproxy.proxy.utils import ReceiveBuffer


class QuietBridge:
    """Implements `relay.mitm_layers.Bridge`."""

    def outgoing_request(self, flow: http.HTTPFlow) -> http.Request:
        return flow.request

    def client_left(self, flow: http.HTTPFlow) -> None:
        pass

    def refusal_beyond(self, address: Address, client: Client) -> str | None:
        return None

    def holds_at_most(self, flow: http.HTTPFlow, begun: ReceiveBuffer) -> int | None:
        return None

    def refused_unread(self, flow: http.HTTPFlow) -> http.Response | None:
        return None

    def refused_held(self, flow: http.HTTPFlow, size: int) -> http.Response | None:
        return None

    def lets_switch(self, flow: http.HTTPFlow, response: http.Response) -> bool:
        return True

    def pass_on(self, flow: http.HTTPFlow) -> None:
        pass

    def second_attempt(self, flow: http.HTTPFlow, status: int) -> None:
        return None
