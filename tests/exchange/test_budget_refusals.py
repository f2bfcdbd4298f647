"""Sentences of refusals by budgets."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from aibridge_addon.budgets.book import BudgetRefusal
from aibridge_addon.budgets.budget import Budget, Standing
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.exchange.budget_refusals import refusal_of


@pytest.mark.parametrize(
    ("spent", "sentence"),
    [
        (20_030_000_000, "is spent: $20.03 of $20.00 for alice;"),
        (20_000_000_000, "is spent: $20.00 of $20.00 for alice;"),
        (
            19_970_000_000,
            "has too little left for this request: $19.97 of $20.00 is spent for alice;",
        ),
    ],
)
def test_refusal_says_what_is_spent_and_when_the_budget_opens_again(
    spent: int, sentence: str
) -> None:
    window = WindowRule(name="day", zone=ZoneInfo("Europe/Berlin"))
    budget = Budget(name="day", per="actor", unit="usd", limit=20_000_000_000, window=window)
    refusal = refusal_of(
        BudgetRefusal(
            verdict="spent",
            budget=budget,
            scope="alice",
            standing=Standing(spent=spent, held=0),
            opens_at=datetime(2026, 11, 28, 23, tzinfo=UTC),
        )
    )
    opens = "it opens again on 29 Nov 00:00 Europe/Berlin."
    assert refusal.message == f"aibridge: budget 'day' {sentence} {opens}"
    assert refusal.headers == {
        "x-should-retry": "false",
        "x-aibridge-resets-at": "2026-11-28T23:00:00Z",
    }
