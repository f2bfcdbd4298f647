"""Calls and prices for the tests of this folder."""

from decimal import ROUND_HALF_UP, Decimal

from genai_prices import Usage, calc_price

from aibridge_addon.prices.billed_call import BilledCall, Labels
from aibridge_addon.prices.overrides import Override
from aibridge_addon.prices.pricing import Priced, Unpriced, price
from aibridge_addon.prices.sellers import Seller

NANO = 1_000_000_000


def call(
    model: str | None = "claude-opus-4-5",
    *,
    given: int = 0,
    output: int = 0,
    read: int = 0,
    written: int = 0,
    at: str = "2026-11-20T12:00:00+00:00",
    provider: str = "main",
    extra: Labels | None = None,
    **labels: int | float | str,
) -> BilledCall:
    return BilledCall(
        provider_name=provider,
        model=model,
        input_tokens=given,
        output_tokens=output,
        cache_read_input_tokens=read,
        cache_write_input_tokens=written,
        extra={**(extra or {}), **labels},
        created_at=at,
    )


def priced(given: BilledCall, seller: str | None = "anthropic", *overrides: Override) -> Priced:
    result = price(given, seller=Seller(id=seller) if seller else None, overrides=overrides)
    assert isinstance(result, Priced), result
    return result


def reason(given: BilledCall, seller: str | None = "anthropic", *overrides: Override) -> str:
    result = price(given, seller=Seller(id=seller) if seller else None, overrides=overrides)
    assert isinstance(result, Unpriced), result
    return result.reason


def library_nano(given: BilledCall, seller: str, **context: str) -> int:
    """Return the price by genai-prices' own calculation."""
    assert given.model is not None
    usage = Usage(
        input_tokens=given.prompt_tokens,
        output_tokens=given.output_tokens,
        cache_read_tokens=given.cache_read_input_tokens,
        cache_write_tokens=given.cache_write_input_tokens,
        cache_write_1h_tokens=given.count("cache_write_1h_input_tokens"),
        input_audio_tokens=given.count("audio_input_tokens"),
        output_audio_tokens=given.count("audio_output_tokens"),
        cache_audio_read_tokens=0,
        web_searches=given.count("web_search_requests"),
        storage_searches=given.count("file_search_requests"),
    )
    found = calc_price(
        usage,
        given.model,
        provider_id=seller,
        genai_request_timestamp=given.time,
        price_context=context or None,
    )
    return int((found.total_price * NANO).to_integral_value(ROUND_HALF_UP))


def dollars(amount: str) -> int:
    return int(Decimal(amount) * NANO)
