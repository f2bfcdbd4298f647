"""Turns the price of a call into the `Price` that is recorded, with the provider's own figure."""

import logging

from aibridge_addon.facts import Price
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.prices.pricing import PriceBook, Priced, Unpriced
from aibridge_addon.prices.provider_cost import provider_cost_nano_usd

logger = logging.getLogger(__name__)


def recorded_price(book: PriceBook, call: BilledCall) -> Price:
    """Return the price of a call; it never raises, since a record must not depend on a price."""
    result = _price(book, call)
    own = provider_cost_nano_usd(call.extra)
    if isinstance(result, Unpriced):
        return Price(unpriced_reason=result.reason, provider_cost_nano_usd=own)
    return Price(
        cost_nano_usd=result.cost_nano_usd,
        uncached_cost_nano_usd=result.uncached_cost_nano_usd,
        price_source=result.source,
        provider_cost_nano_usd=own,
    )


def _price(book: PriceBook, call: BilledCall) -> Priced | Unpriced:
    try:
        return book.price(call)
    except Exception:  # the edge: data and code of another package
        logger.exception("aibridge: the price of a call of %s failed", call.model)
        return Unpriced(reason="the calculation failed; see the log of the proxy")
