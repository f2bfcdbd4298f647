"""Bounds the number of live pages."""

MOST_STREAMS = 64


class Streams:
    """Counts open streams, so that they stay bounded."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._most = most
        self._open = 0

    def enter(self) -> bool:
        """Count a new stream; False if there are too many."""
        if self._open >= self._most:
            return False
        self._open += 1
        return True

    def leave(self) -> None:
        """Count the end of a stream."""
        self._open -= 1
