"""Keeps what a WebSocket has said before a request, within bounds: neither side may fill memory."""

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

_MOST_ITEMS = 1_000


class RecentItems:
    """The newest items, up to a number and a size; older ones are dropped.

    Args:
        max_bytes: the size of all items together.
        most: their number.
    """

    def __init__(self, max_bytes: int, most: int = _MOST_ITEMS) -> None:
        self._max_bytes = max_bytes
        self._most = most
        self._items: deque[msgspec.Raw] = deque()
        self._size = 0

    def __iter__(self) -> Iterator[msgspec.Raw]:
        return iter(self._items)

    def append(self, item: msgspec.Raw) -> None:
        """Add an item."""
        self._items.append(item.copy())  # it is a view of the whole message
        self._size += _size(item)
        while self._size > self._max_bytes or len(self._items) > self._most:
            self._size -= _size(self._items.popleft())

    def extend(self, items: Iterable[msgspec.Raw]) -> None:
        """Add items."""
        for item in items:
            self.append(item)

    def clear(self) -> None:
        """Drop all items."""
        self._items.clear()
        self._size = 0


def _size(item: msgspec.Raw) -> int:
    return memoryview(item).nbytes
