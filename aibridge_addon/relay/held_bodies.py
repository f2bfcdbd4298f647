"""Limits the total size of the request bodies in memory."""


class HeldBodies:
    """Counts the bytes in memory, by client connection and flow."""

    most: int | None = None
    """Bytes; None: no limit."""

    def __init__(self) -> None:
        self._sizes: dict[str, dict[str, int]] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Bytes in memory."""
        return self._total

    def hold(self, client_id: str, flow_id: str, size: int) -> bool:
        """Count a body at its current size; return False if it exceeds the limit.

        A refused body is no longer counted.
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
        """Stop counting a body."""
        sizes = self._sizes.get(client_id, {})
        self._total -= sizes.pop(flow_id, 0)
        if not sizes:
            self._sizes.pop(client_id, None)

    def release_all(self, client_id: str) -> None:
        """Stop counting the bodies of a connection that has ended."""
        self._total -= sum(self._sizes.pop(client_id, {}).values())
