"""Bounds the sum of the request bodies that are held in memory at once."""


class HeldBodies:
    """Counts the bytes held, by client connection and flow."""

    most: int | None = None
    """Bytes; None: no limit."""

    def __init__(self) -> None:
        self._sizes: dict[str, dict[str, int]] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Bytes held at the moment."""
        return self._total

    def hold(self, client_id: str, flow_id: str, size: int) -> bool:
        """Count a body as large as it has grown; return False if it must not be held.

        A body that is refused is not counted any more.
        """
        sizes = self._sizes.setdefault(client_id, {})
        grown = size - sizes.get(flow_id, 0)
        if self.most is not None and self._total + grown > self.most:
            self.release(client_id, flow_id)
            return False
        sizes[flow_id] = size
        self._total += grown
        return True

    def release(self, client_id: str, flow_id: str) -> None:
        """Forget a body, if it is counted."""
        sizes = self._sizes.get(client_id, {})
        self._total -= sizes.pop(flow_id, 0)
        if not sizes:
            self._sizes.pop(client_id, None)

    def release_all(self, client_id: str) -> None:
        """Forget the bodies of a connection that has ended."""
        self._total -= sum(self._sizes.pop(client_id, {}).values())
