"""Label values that clients control: limited in number, or hidden."""

OTHER = "other"


class Bounded:
    """Returns the first distinct values unchanged, and `other` for all further values."""

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


def hidden(value: str | None) -> str:
    """Return the same label value, the empty string, for every value."""
    return ""
