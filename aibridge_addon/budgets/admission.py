"""Decides about a request for one budget and scope. Pure.

*Spent* is definitive until the window ends; room that calls in flight hold is not: for that, the
request waits for a settlement.
"""

from dataclasses import dataclass
from typing import Literal

from aibridge_addon.budgets.budget import Budget, Estimate, Standing

type Verdict = Literal["hold", "wait", "spent", "too_large", "unpriced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict of a budget about a request."""

    verdict: Verdict
    hold: int = 0
    """The amount to hold, if the verdict is `hold`."""


def decide(budget: Budget, standing: Standing, estimate: Estimate | None) -> Decision:
    """Return the verdict about a request, or about one whose model has no price (None)."""
    if estimate is None:
        refuses = budget.refuses and budget.unpriced == "refuse"
        return Decision(verdict="unpriced" if refuses else "hold")
    amount = estimate.worst if budget.hold == "worst" else estimate.likely
    if not budget.refuses:
        return Decision(verdict="hold", hold=amount)
    if standing.spent >= budget.limit:
        return Decision(verdict="spent")
    least = estimate.worst if budget.is_strict else estimate.likely
    if least > budget.limit:
        return Decision(verdict="too_large")
    room = budget.limit - standing.spent - standing.held
    if amount <= room:
        return Decision(verdict="hold", hold=amount)
    if budget.is_strict:
        return Decision(verdict="wait" if amount <= room + standing.held else "spent")
    if not standing.held:
        # The last call of the window: it may exceed the limit by its output beyond the likely one.
        return Decision(verdict="hold", hold=room) if estimate.likely <= room else _SPENT
    return Decision(verdict="wait") if estimate.likely <= room + standing.held else _SPENT


_SPENT = Decision(verdict="spent")
