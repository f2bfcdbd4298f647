"""Sends the client's original request after the provider has refused the edited one."""

from typing import NamedTuple

from mitmproxy import http

from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.replayed_request import ReplayedRequest
from aibridge_addon.relay.second_attempt import Deliver


class OriginalRequest(NamedTuple):
    """The request before any edit, with its secrets masked."""

    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class OriginalRequestCall(ReplayedRequest):
    """The original request; delivers its response piece by piece, without reading it."""

    def __init__(self, flow: http.HTTPFlow, bridge: Bridge, deliver: Deliver) -> None:
        super().__init__(flow, bridge)
        self._deliver = deliver

    def on_head(self) -> None:
        """Deliver the head, and stream the body."""
        response = self.flow.response
        assert response is not None
        self._deliver(response.copy())
        response.stream = self._on_chunk

    def on_end(self) -> None:
        """Deliver the end."""
        self._deliver(b"")

    def on_error(self, message: str) -> None:
        """Deliver the reason why the response is missing or truncated."""
        self._deliver(message)

    def _on_chunk(self, data: bytes) -> bytes:
        if data:
            self._deliver(data)
        return data


def original_request(flow: http.HTTPFlow, request: OriginalRequest) -> http.HTTPFlow:
    """Return a flow that sends the client's original request in place of the flow's own."""
    original: http.HTTPFlow = flow.copy()
    original.is_replay = "request"
    original.response = original.error = None
    original.request.stream = False
    original.request.headers = http.Headers(request.fields)
    original.request.data.content = request.body
    interception_id = flow.metadata.get("aibridge_interception_id", "")
    original.comment = (
        f"↻ original request of {interception_id[-8:]}, after the edited one was refused"
    )
    original.marked = ":repeat:"
    return original
