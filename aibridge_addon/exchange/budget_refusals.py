"""Refusals of budgets, in words: spent or taken, how much of which limit, and until when."""

from zoneinfo import ZoneInfo

from aibridge_addon.access.asked import Refusal
from aibridge_addon.budgets.book import BudgetRefusal
from aibridge_addon.budgets.words import amount

BUDGET_EXCEEDED = "budget_exceeded"
"""Reason of refusals by a budget that has no room, which no retry changes."""
_RETRY_SECONDS = 5.0
"""Time after which calls in flight may have ended."""


def refusal_of(found: BudgetRefusal) -> Refusal:
    """Return the refusal for the client: definitive, unless calls in flight hold the room."""
    budget, name = found.budget, f"budget {found.budget.name!r}"
    spent = f"{amount(budget, found.standing.spent)} of {amount(budget, budget.limit)}"
    match found.verdict:
        case "wait":
            return Refusal(
                status=429,
                reason="budget_in_use",
                message=(
                    f"aibridge: {name} has no room while other requests{_whose(found)} are"
                    " running; try again soon."
                ),
                retry_after=_RETRY_SECONDS,
            )
        case "too_large":
            text = f"this request may cost more than all of {name} ({amount(budget, budget.limit)})"
        case "unpriced":
            text = (
                f"{name} cannot count this request, because the model has no known price; the"
                ' operator can add [[prices]], or set unpriced = "allow" for the budget'
            )
        case "unavailable":
            return unavailable()
        case _ if found.standing.spent < budget.limit:
            text = (
                f"{name} has too little left for this request: {spent} is spent{_whose(found)}"
                f"{_opens(found)}"
            )
        case _:
            text = f"{name} is spent: {spent}{_whose(found)}{_opens(found)}"
    return Refusal(
        status=400,
        reason=BUDGET_EXCEEDED,
        message=f"aibridge: {text}.",
        opens_at=found.opens_at if found.verdict == "spent" else None,
    )


def unavailable() -> Refusal:
    """Return the refusal while the database is unavailable: nothing passes uncounted."""
    return Refusal(
        status=503,
        reason="budget_unavailable",
        message="aibridge: budgets cannot be counted at the moment; try again later.",
        retry_after=10.0,
    )


def _whose(found: BudgetRefusal) -> str:
    return "" if found.budget.per == "total" else f" for {found.scope}"


def _opens(found: BudgetRefusal) -> str:
    if found.opens_at is None:
        return ""
    zone: ZoneInfo = found.budget.window.zone
    return f"; it opens again on {found.opens_at.astimezone(zone):%-d %b %H:%M} {zone.key}"
