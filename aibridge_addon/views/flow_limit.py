"""Bounds the flows that mitmweb and mitmproxy's console keep, by number and size.

mitmproxy itself keeps every flow. Only flows that have ended are removed, the oldest first.
"""

from collections import OrderedDict
from collections.abc import Callable

from mitmproxy import http

_OVERHEAD = 8 * 1024
"""Bytes of a flow without its bodies."""

type Remove = Callable[[http.HTTPFlow], None]


class FlowLimit:
    """Removes the oldest flows when there are too many, or when they are too large."""

    def __init__(self, remove: Remove) -> None:
        self._remove = remove
        self._ended: OrderedDict[str, tuple[http.HTTPFlow, int]] = OrderedDict()
        self._size = 0
        self.most: int | None = None
        """Number of flows; None: no limit."""
        self.most_bytes: int | None = None

    def add(self, flow: http.HTTPFlow) -> None:
        """Count a flow that has ended, and remove the oldest ones beyond the limits."""
        self._forget(flow.id)
        size = size_of(flow)
        self._ended[flow.id] = (flow, size)
        self._size += size
        while self._is_exceeded() and len(self._ended) > 1:
            oldest, _ = next(iter(self._ended.values()))
            self._forget(oldest.id)
            self._remove(oldest)

    def trim_messages(self, flow: http.HTTPFlow) -> None:
        """Drop the oldest messages of a WebSocket that is under way, beyond a quarter of the size.

        A connection may last for hours.
        """
        if self.most_bytes is None or flow.websocket is None:
            return
        messages = flow.websocket.messages
        left = self.most_bytes // 4
        for number, message in enumerate(reversed(messages)):
            left -= len(message.content)
            if left < 0 and number:
                del messages[: len(messages) - number]
                return

    def _is_exceeded(self) -> bool:
        too_many = self.most is not None and len(self._ended) > self.most
        return too_many or (self.most_bytes is not None and self._size > self.most_bytes)

    def _forget(self, flow_id: str) -> None:
        _, size = self._ended.pop(flow_id, (None, 0))
        self._size -= size


def size_of(flow: http.HTTPFlow) -> int:
    """Return the bytes that a flow keeps in memory, approximately."""
    bodies = len(flow.request.raw_content or b"")
    if flow.response:
        bodies += len(flow.response.raw_content or b"")
    if flow.websocket:
        bodies += sum(len(message.content) for message in flow.websocket.messages)
    return bodies + _OVERHEAD
