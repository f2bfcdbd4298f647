"""Bounds the flows that mitmweb and mitmproxy's console keep, by number and size.

mitmproxy itself keeps every flow. Only flows that have ended are removed, the oldest first.
"""

from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakKeyDictionary

from mitmproxy import http

_OVERHEAD = 8 * 1024
"""Bytes of a flow without its bodies."""
_MESSAGE_OVERHEAD = 512
"""Bytes of a WebSocket message without its content."""

type Remove = Callable[[http.HTTPFlow], None]


class FlowLimit:
    """Removes the oldest flows when there are too many, or when they are too large."""

    def __init__(self, remove: Remove) -> None:
        self._remove = remove
        self._ended: OrderedDict[str, tuple[http.HTTPFlow, int]] = OrderedDict()
        self._size = 0
        self._message_sizes: WeakKeyDictionary[http.HTTPFlow, int] = WeakKeyDictionary()
        self.most: int | None = None
        """Number of flows; None: no limit."""
        self.most_bytes: int | None = None

    def add(self, flow: http.HTTPFlow) -> None:
        """Count a flow that has ended, and remove the oldest ones beyond the limits."""
        self._forget(flow.id)
        size = size_of(flow)
        self._ended[flow.id] = (flow, size)
        self._size += size
        while self._is_exceeded() and (oldest := self._oldest_but(flow)):
            self._forget(oldest.id)
            self._remove(oldest)

    def add_message(self, flow: http.HTTPFlow) -> None:
        """Count the newest message of a WebSocket; drop the older half if they are too large.

        A connection may last for hours.
        """
        if self.most_bytes is None or flow.websocket is None:
            return
        messages = flow.websocket.messages
        size = self._message_sizes.get(flow, 0) + len(messages[-1].content) + _MESSAGE_OVERHEAD
        if size > self.most_bytes // 4:
            del messages[: len(messages) // 2]
            size = sum(len(message.content) + _MESSAGE_OVERHEAD for message in messages)
        self._message_sizes[flow] = size

    def _oldest_but(self, newest: http.HTTPFlow) -> http.HTTPFlow | None:
        # A flow is live until its response is sent; removing it would kill it.
        flows = (flow for flow, _ in self._ended.values())
        return next((flow for flow in flows if not flow.live and flow is not newest), None)

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
        bodies += sum(
            len(message.content) + _MESSAGE_OVERHEAD for message in flow.websocket.messages
        )
    return bodies + _OVERHEAD
