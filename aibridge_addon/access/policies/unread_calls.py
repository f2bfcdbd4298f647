"""Policy: requests that cost money and whose usage is not read, under a hard budget."""

from collections.abc import Sequence

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.budget_rule import BudgetRule
from aibridge_addon.access.matching_rules import MatchingRules


class UnreadCalls:
    """Refuses batches, whose cost is known too late, and calls that would be free otherwise.

    A budget allows them by `batch = "allow"`. Requests that count tokens are free.
    """

    is_constant = True

    def __init__(self, rules: Sequence[BudgetRule]) -> None:
        self._rules = MatchingRules(
            (rule for rule in rules if rule.budget.refuses and rule.budget.unread == "refuse"),
            by_every_model=True,
        )

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that a budget can neither hold nor count."""
        bills_later = asked.is_recorded and not asked.is_message and asked.route.bills_later
        if not (bills_later or asked.is_unread_call):
            return None
        for rule in self._rules.of(asked):
            if rule.scopes(asked):
                name = rule.budget.name
                return Refusal(
                    status=400,
                    reason="budget_unread",
                    message=(
                        f"aibridge: budget {name!r} cannot count the cost of this request, so it"
                        ' is refused; the operator can set batch = "allow" for the budget.'
                    ),
                )
        return None
