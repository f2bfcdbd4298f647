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
        hard = [rule for rule in rules if rule.budget.refuses]
        self._rules = MatchingRules(
            (rule for rule in hard if rule.budget.unread == "refuse"), by_every_model=True
        )
        self._in_usd = MatchingRules(
            rule for rule in hard if rule.budget.unit == "usd" and rule.budget.unpriced == "refuse"
        )

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that a budget can neither hold nor count."""
        bills_later = asked.is_recorded and not asked.is_message and asked.route.bills_later
        if bills_later or asked.is_unread_call:
            return _refusal(self._rules, asked, _UNREAD)
        return _refusal(self._in_usd, asked, _UNREADABLE) if _is_unreadable(asked) else None


_UNREAD = (
    "cannot count the cost of this request, so it is refused; the operator can set"
    ' batch = "allow" for the budget'
)
_UNREADABLE = (
    "cannot count this request, because its body cannot be read: it is too large, in an unknown"
    " coding, or an unclear form"
)


def _is_unreadable(asked: Asked) -> bool:
    """Return True for a call whose model is in a body that cannot be read."""
    may_have_model = asked.is_recorded and not asked.is_message and asked.model is None
    return may_have_model and asked.content() == b""


def _refusal(rules: MatchingRules[BudgetRule], asked: Asked, problem: str) -> Refusal | None:
    """Return the refusal of the first budget in which a request would count."""
    for rule in rules.of(asked):
        if rule.scopes(asked):
            message = f"aibridge: budget {rule.budget.name!r} {problem}."
            return Refusal(status=400, reason="budget_unread", message=message)
    return None
