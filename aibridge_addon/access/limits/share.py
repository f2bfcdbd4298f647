"""`Share`: the part of each limit that one of several processes enforces. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of one process among all that use the same store."""

    processes: int = 1
    """Number of processes that are alive, this one included."""
    rank: int = 0
    """Place of this process among them, from 0; the first ones get what cannot be divided."""

    def rate_of(self, whole: float) -> float:
        """Return the part of a rate; at least 1, or nothing could ever pass."""
        return max(1.0, whole / self.processes)

    def slots_of(self, whole: int) -> int:
        """Return the part of a number of open requests; at least 1."""
        each, rest = divmod(whole, self.processes)
        return max(1, each + (self.rank < rest))
