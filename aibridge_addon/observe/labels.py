"""Values of labels that clients control: bounded, or hidden."""

OTHER = "other"


class Bounded:
    """Lets the first values of a label through, and calls all further ones `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str | None) -> str:
        value = value or "unknown"
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit:
            return OTHER
        self._seen.add(value)
        return value


def hidden(value: str) -> str:
    """Return the same for every value."""
    return ""
