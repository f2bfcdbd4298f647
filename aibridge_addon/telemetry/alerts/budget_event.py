"""The event of a crossed threshold of a budget. Pure."""

from aibridge_addon.budgets.book import BudgetWarning
from aibridge_addon.budgets.words import warning_text
from aibridge_addon.telemetry.alerts.event import Event


def budget_event(warning: BudgetWarning) -> Event:
    """Return the event for a warning, which the store makes once per scope and window."""
    budget = warning.budget
    return Event(
        type="budget_warning",
        text=f"{warning_text(warning)}.",
        figures={
            "budget": budget.name,
            "scope": warning.scope,
            "percent": warning.percent,
            "unit": "nano_usd" if budget.unit == "usd" else "tokens",
            "spent": warning.spent,
            "limit": budget.limit,
        },
    )
