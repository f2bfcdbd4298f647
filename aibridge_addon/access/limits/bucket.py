"""Token bucket: an amount per minute that refills continuously, and may go into debt. Pure."""

from dataclasses import dataclass

_PER_MINUTE = 60.0


@dataclass(slots=True)
class Bucket:
    """Room of one rate limit: at most `capacity` at once, refilled at `capacity` per minute.

    Times are seconds on a monotonic clock. A clock that steps back refills nothing.
    """

    capacity: float
    level: float
    """The room at the time `at`; negative after more was used than was estimated."""
    at: float

    @classmethod
    def full(cls, capacity: float, at: float) -> "Bucket":
        """Return a bucket that nobody has used yet."""
        return cls(capacity, capacity, at)

    def wait_for(self, amount: float, now: float) -> float:
        """Return the seconds until there is room for an amount; 0: there is room now.

        An amount larger than the whole bucket fits a full one, or it could never be used.
        """
        capacity = self.capacity
        missing = (min(capacity, amount)) - self._level_at(now)
        return missing * _PER_MINUTE / capacity if missing > 0 else 0.0

    def debit(self, amount: float, now: float) -> None:
        """Take an amount; a negative one gives back what was estimated too high."""
        level = self._level_at(now) - amount
        self.level = min(self.capacity, level)
        if now > self.at:
            self.at = now

    def resize(self, capacity: float, now: float) -> None:
        """Change the rate from now on; what was refilled before stays, as far as it has room."""
        if capacity != self.capacity:
            self.level = min(capacity, self._level_at(now))
            self.at = max(self.at, now)
            self.capacity = capacity

    def is_full(self, now: float) -> bool:
        """Return whether the bucket is as good as new."""
        return self._level_at(now) >= self.capacity

    def _level_at(self, now: float) -> float:
        level, capacity = self.level, self.capacity
        if now > self.at:
            level += (now - self.at) * capacity / _PER_MINUTE
        return min(capacity, level)
