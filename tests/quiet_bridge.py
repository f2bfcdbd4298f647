"""A bridge for tests of layers that changes and refuses nothing."""

from mitmproxy import http
from mitmproxy.connection import Address, Client
from mitmproxy.proxy.utils import ReceiveBuffer


class QuietBridge:
    """Implements `relay.bridge.Bridge`."""

    relays_directly = False

    def outgoing_request(self, flow: http.HTTPFlow) -> http.Request:
        return flow.request

    def client_aborted(self, flow: http.HTTPFlow) -> None:
        pass

    def upstream_proxy_refusal(self, address: Address, client: Client) -> str | None:
        return None

    def hold_limit(self, flow: http.HTTPFlow, begun: ReceiveBuffer) -> int | None:
        return None

    def refusal_before_body(self, flow: http.HTTPFlow) -> http.Response | None:
        return None

    def refusal_of_size(self, flow: http.HTTPFlow, size: int) -> http.Response | None:
        return None

    def allows_protocol_switch(self, flow: http.HTTPFlow, response: http.Response) -> bool:
        return True

    def stream_response(self, flow: http.HTTPFlow) -> None:
        pass

    def head_seconds(self, flow: http.HTTPFlow) -> None:
        """Wait for a response as long as it takes."""

    def second_attempt(
        self, flow: http.HTTPFlow, head: http.Response | None, problem: str = ""
    ) -> None:
        return None
