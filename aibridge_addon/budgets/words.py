"""Amounts and warnings of budgets, in words. Pure."""

from aibridge_addon.budgets.book import BudgetWarning
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.report.money import usd
from aibridge_addon.report.numbers import count


def amount(budget: Budget, value: int) -> str:
    """Return an amount in the unit of a budget."""
    return usd(value) if budget.unit == "usd" else f"{count(value)} tokens"


def warning_text(warning: BudgetWarning) -> str:
    """Return a crossed threshold in words."""
    budget = warning.budget
    whose = "" if budget.per == "total" else f" of {warning.scope}"
    return (
        f"budget {budget.name!r}{whose} has reached {warning.percent} %:"
        f" {amount(budget, warning.spent)} of {amount(budget, budget.limit)}"
    )
