"""`BudgetRule`: a budget, the requests that it is for, and the scopes that it counts. Pure."""

from dataclasses import dataclass

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.selection import Selection
from aibridge_addon.budgets.budget import Budget

_TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """A budget and its selection of requests, by the models that are sent."""

    budget: Budget
    selection: Selection

    def scopes(self, asked: Asked) -> tuple[str, ...]:
        """Return the scopes in which a request counts; none if the budget is not for it."""
        kind = asked.credential.kind if asked.credential else None
        if kind not in self.budget.credential_kinds or not self.selection.matches(asked):
            return ()
        match self.budget.per:
            case "actor":
                return (asked.sender.actor.id,)
            case "team":
                return asked.sender.actor.teams
            case "total":
                return (_TOTAL,)
