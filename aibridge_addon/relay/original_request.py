"""Sends the client's own request after the provider has refused the one that was edited."""

from typing import NamedTuple

from mitmproxy import http

from aibridge_addon.formats import WireFormat
from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.second_attempt import Take
from aibridge_addon.relay.upstream_call import UpstreamCall


class OriginalRequestCall(UpstreamCall):
    """The client's own request on its way; gives its answer as it comes, unread."""

    def __init__(
        self, flow: http.HTTPFlow, wire_format: WireFormat, bridge: Bridge, take: Take
    ) -> None:
        super().__init__(
            flow,
            wire_format,
            bridge,
            wants_stream=False,
            max_bytes=0,
            on_usage=lambda usage: None,  # the client's stream is read, not this one
        )
        self._take = take

    def on_head(self) -> None:
        """Take the head of the answer."""
        response = self.flow.response
        assert response is not None
        self._take(response.copy())
        response.stream = self._pass

    def on_end(self) -> None:
        """Take the end of the answer."""
        self._take(b"")

    def on_error(self, message: str) -> None:
        """Nobody answered, or the answer broke off."""
        self._take(message)

    def _pass(self, data: bytes) -> bytes:
        if data:
            self._take(data)
        return data


class OriginalRequest(NamedTuple):
    """A request before any edit, as it goes up."""

    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


def original_request(flow: http.HTTPFlow, request: OriginalRequest) -> http.HTTPFlow:
    """Return a flow that sends the client's own request in place of a flow's."""
    own: http.HTTPFlow = flow.copy()
    own.is_replay = "request"
    own.response = own.error = None
    own.request.stream = False
    own.request.headers = http.Headers(request.fields)
    own.request.data.content = request.body
    own.comment = "aibridge: the client's own request, after the edited one was refused"
    return own
