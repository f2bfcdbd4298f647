"""Detects models without a price, which no sum of money includes. Pure."""

from collections.abc import Callable

from aibridge_addon.facts import UsagePriced
from aibridge_addon.telemetry.alerts.event import Event

_MOST_MODELS = 1000


class PriceWatch:
    """Reports each model of a provider instance once per process."""

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._seen: set[tuple[str, str]] = set()

    def note(self, priced: UsagePriced) -> None:
        """Note the price of a model call."""
        usage, price = priced.usage, priced.price
        if price.cost_nano_usd is not None:
            return
        provider = usage.interception.provider_name
        model = usage.model or usage.interception.model or "unknown"
        if (provider, model) in self._seen or len(self._seen) >= _MOST_MODELS:
            return
        self._seen.add((provider, model))
        self._publish(
            Event(
                type="unpriced_model",
                text=f"{model} of {provider} has no price: {price.unpriced_reason}.",
                figures={
                    "provider": provider,
                    "model": model,
                    "reason": price.unpriced_reason,
                },
            )
        )
