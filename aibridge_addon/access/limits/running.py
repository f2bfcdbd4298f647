"""`RunningRequest`: the estimate of what a request uses of its limits, and its use. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aibridge_addon.access.limits.rules import Bound, Limit

type Amounts = dict[Bound, float]
type Scoped = tuple[Limit, str]
"""A limit, and a scope in which it counts a request."""


@dataclass(slots=True)
class RunningRequest:
    """A request that was admitted and has not ended."""

    scoped: tuple[Scoped, ...]
    estimated: Mapping[Bound, float]
    _used: Amounts = field(default_factory=dict)
    """Tokens that responses have reported so far."""
    _unknown: set[Bound] = field(default_factory=set)
    """Bounds whose tokens a response did not report: their estimates stay."""

    def add_usage(self, amounts: Mapping[Bound, float | None]) -> None:
        """Add tokens that a response has reported; None is unknown."""
        for bound, amount in amounts.items():
            if amount is None:
                self._unknown.add(bound)
            self._used[bound] = self._used.get(bound, 0) + (amount or 0)

    @property
    def excess(self) -> Amounts:
        """The tokens that were used beyond the estimate; negative if it was too high."""
        return {
            bound: self._used.get(bound, 0) - estimated
            for bound, estimated in self.estimated.items()
            if bound != "requests" and bound not in self._unknown
        }
