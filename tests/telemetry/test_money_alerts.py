"""Alerts about money: crossed thresholds of budgets, and models without a price."""

from datetime import time
from zoneinfo import ZoneInfo

from store.doubles import started

from aibridge_addon.budgets.book import BudgetWarning
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.facts import Price, TokenUsage, UsagePriced, new_id, now
from aibridge_addon.telemetry.alerts.budget_event import budget_event
from aibridge_addon.telemetry.alerts.event import Event
from aibridge_addon.telemetry.alerts.price_watch import PriceWatch


def priced(model: str, price: Price, provider: str = "acme") -> UsagePriced:
    usage = TokenUsage(
        id=new_id(),
        interception=started(provider_name=provider),
        provider_response_id=None,
        model=model,
        input_tokens=1,
        output_tokens=1,
        cache_read_input_tokens=0,
        cache_write_input_tokens=0,
        extra={},
        raw={},
        created_at=now(),
    )
    return UsagePriced(usage=usage, price=price)


UNPRICED = Price(unpriced_reason="acme has no price for this model")


def test_model_without_a_price_is_reported_once_per_provider() -> None:
    events: list[Event] = []
    watch = PriceWatch(events.append)
    for provider in ("acme", "acme", "other"):
        watch.note(priced("new-1", UNPRICED, provider))
    watch.note(priced("known-1", Price(cost_nano_usd=0)))
    assert [event.figures["provider"] for event in events] == ["acme", "other"]
    assert events[0].text == "new-1 of acme has no price: acme has no price for this model."


def test_event_of_a_budget_has_its_figures_and_no_secret() -> None:
    window = WindowRule(name="day", zone=ZoneInfo("UTC"), starts_at=time())
    budget = Budget(name="day", per="actor", unit="usd", limit=20_000_000_000, window=window)
    event = budget_event(
        BudgetWarning(budget=budget, scope="alice", percent=80, spent=16_030_000_000)
    )
    assert event.text == "budget 'day' of alice has reached 80 %: $16.03 of $20.00."
    assert event.figures["percent"] == 80
    assert event.figures["spent"] == 16_030_000_000
