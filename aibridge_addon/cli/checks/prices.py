"""Checks the age of the price data, and that calls to each provider instance can have a price."""

from collections.abc import Iterator
from datetime import UTC, datetime

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.findings import Finding
from aibridge_addon.prices import price_list
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS


def check_prices(installation: Installation) -> Iterator[Finding]:
    """Check the price data and the sellers of the provider instances."""
    what = f"list prices of {price_list.data_label()}"
    if price_list.is_old(datetime.now(UTC).date()):
        to_do = "run `pip install --upgrade genai-prices`, then `aibridge reprice --since 30d`"
        yield Finding(about="prices", level="note", what=f"{what}: they are old", to_do=to_do)
    else:
        yield Finding(about="prices", level="ok", what=what)
    settings = installation.settings
    unknown = [
        provider.name
        for provider in settings.providers
        if provider not in DEFAULT_PROVIDERS and not settings.prices.can_price(provider.name)
    ]
    if unknown:
        what = f"calls to {', '.join(unknown)} have no price: their host has no known price list"
        to_do = "set price_as of the provider, or add [[prices]]"
        yield Finding(about="prices", level="note", what=what, to_do=to_do)
