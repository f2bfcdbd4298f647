"""Sends a request of a client again, or in another form, as a flow of its own."""

from typing import NamedTuple

from mitmproxy import http

from aibridge_addon.relay.bridge import Bridge
from aibridge_addon.relay.held_answer import HeldAnswer
from aibridge_addon.relay.masked_responses import masked_copy
from aibridge_addon.relay.replayed_request import ReplayedRequest


class OriginalRequest(NamedTuple):
    """The request before any edit, with its secrets masked."""

    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class FurtherSend(ReplayedRequest):
    """A further send of a request; notes its response piece by piece, without reading it."""

    def __init__(self, flow: http.HTTPFlow, bridge: Bridge, answer: HeldAnswer) -> None:
        super().__init__(flow, bridge)
        self._answer = answer

    def on_head(self) -> None:
        """Note the head, and stream the body."""
        response = self.flow.response
        assert response is not None
        self._answer.note(masked_copy(response))
        response.stream = self._on_chunk

    def on_end(self) -> None:
        """Note the end."""
        self._answer.note(b"")

    def on_error(self, message: str) -> None:
        """Note the reason why the response is missing or truncated."""
        self._answer.note(message)

    def _on_chunk(self, data: bytes) -> bytes:
        if data:
            self._answer.note(data)
        return data


def further_request(
    flow: http.HTTPFlow, comment: str, request: OriginalRequest | None = None
) -> http.HTTPFlow:
    """Return a flow that sends the request of a flow again, or another one in its place."""
    further: http.HTTPFlow = flow.copy()
    further.is_replay = "request"
    further.response = further.error = None
    further.request.stream = False
    if request:
        further.request.headers = http.Headers(request.fields)
        further.request.data.content = request.body
    interception_id = flow.metadata.get("aibridge_interception_id", "")
    further.comment = f"↻ {comment} of {interception_id[-8:]}"
    further.marked = ":repeat:"
    return further
