"""Estimates of batches: nothing is held for them, since their cost is known when they end. Pure."""

from collections.abc import Collection

from aibridge_addon.budgets.budget import Estimate, Unit
from aibridge_addon.budgets.call import PriceOf
from aibridge_addon.facts import now
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.prices.pricing import Priced

_NOTHING = Estimate(worst=0, likely=0, input=0)
_BATCH = {"service_tier": "batch"}


def estimate_of_batch(
    unit: Unit, provider_name: str, models: Collection[str] | None, price: PriceOf
) -> Estimate | None:
    """Return an estimate of nothing; None in USD if one of the models has no price in a batch.

    `models` is empty for a batch of OpenAI, whose models are in a file, and None if it can be read
    in two ways.
    """
    calls = [_smallest_call(provider_name, model) for model in models or ()]
    has_prices = models is not None and all(isinstance(price(call), Priced) for call in calls)
    if unit == "usd" and not has_prices:
        return None
    return _NOTHING


def _smallest_call(provider_name: str, model: str) -> BilledCall:
    return BilledCall(
        provider_name=provider_name,
        model=model,
        input_tokens=1,
        output_tokens=1,
        cache_read_input_tokens=0,
        cache_write_input_tokens=0,
        extra=_BATCH,
        created_at=now(),
    )
