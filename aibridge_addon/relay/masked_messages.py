"""Masks secrets in the WebSocket messages that flows hold; what is relayed stays unchanged.

A handle that resumes a session of Gemini Live is worth as much as the session, and a client secret
as much as a key.
"""

from mitmproxy import http, websocket

from aibridge_addon.redaction.members import without_secret_members

_ANCHORS = (b"esumption", b"client_secret")
"""Parts of messages with secrets, of which most have none."""
_MARK = "[masked]"


class ShownMessage(websocket.WebSocketMessage):
    """A message in the place of the one that is relayed."""

    def __init__(self, relayed: websocket.WebSocketMessage, content: bytes) -> None:
        super().__init__(
            *(relayed.type, relayed.from_client, content, relayed.timestamp),
            *(relayed.dropped, relayed.injected),
        )
        self._relayed = relayed

    def drop(self) -> None:
        """Do not relay the message."""
        self.dropped = self._relayed.dropped = True


def mask_last_message(flow: http.HTTPFlow) -> None:
    """Show the last message of a WebSocket without its secrets."""
    if not flow.websocket or not flow.websocket.messages:
        return
    message = flow.websocket.messages[-1]
    if any(anchor in message.content for anchor in _ANCHORS):
        masked = without_secret_members(message.content, _MARK)
        if masked != message.content:
            flow.websocket.messages[-1] = ShownMessage(message, masked)
