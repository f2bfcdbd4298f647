"""Estimates of batches, which hold nothing, and have none if a model has no price."""

from typing import Any

import pytest

from aibridge_addon.budgets.batches import estimate_of_batch
from aibridge_addon.budgets.budget import Estimate
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.prices.pricing import Priced, Unpriced

NOTHING = Estimate(worst=0, likely=0, input=0)


def price(call: BilledCall) -> Priced | Unpriced:
    """Price batches of one model."""
    if (call.model, call.extra.get("service_tier")) == ("known", "batch"):
        return Priced(cost_nano_usd=1, uncached_cost_nano_usd=1, source="test")
    return Unpriced(reason="no price")


@pytest.mark.parametrize(
    ("unit", "models", "estimate"),
    [
        ("usd", ["known", "known"], NOTHING),
        ("usd", ["known", "unknown"], None),
        ("usd", [], NOTHING),
        ("usd", None, None),
        ("tokens", None, NOTHING),
        ("tokens", ["unknown"], NOTHING),
    ],
)
def test_batch_holds_nothing_and_needs_a_price_in_usd(
    unit: Any, models: list[str] | None, estimate: Estimate | None
) -> None:
    assert estimate_of_batch(unit, "some", models, price) == estimate
