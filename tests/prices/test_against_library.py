"""Prices equal the calculation of genai-prices itself, to the nano-dollar."""

from typing import NamedTuple

import pytest
from prices.calls import call, library_nano, priced

from aibridge_addon.prices.billed_call import BilledCall

CACHED = (("anthropic", "claude-opus-4-5-20251101"), ("anthropic", "claude-fable-5-1"))
MODELS = (
    *CACHED,
    ("anthropic", "claude-haiku-5-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-5.2"),
    ("openai", "gpt-5.6-sol"),
    ("openai", "gpt-6.1-terra"),
    ("openai", "gpt-4o-mini"),
    ("google", "gemini-2.5-pro"),
    ("deepseek", "deepseek-v4-flash"),
    ("x-ai", "grok-4.20"),
    ("openrouter", "anthropic/claude-opus-4.5"),
    ("azure", "gpt-4o-2024-11-20"),
)


class Shape(NamedTuple):
    given: int
    output: int
    read: int = 0


SHAPES = (
    Shape(0, 0),
    Shape(1, 1),
    Shape(900, 60),
    Shape(7, 3333, 123_457),
    Shape(100_000, 1),
    Shape(100_001, 1),
    Shape(100, 50, 199_899),
    Shape(100, 50, 199_900),
    Shape(101, 50, 199_900),
    Shape(72_000, 9, 200_000),
    Shape(72_001, 9, 200_000),
    Shape(999_999, 128_000, 12),
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("seller", "model"), MODELS)
def test_price_of_input_output_and_cache_reads(seller: str, model: str, shape: Shape) -> None:
    given = call(model, given=shape.given, output=shape.output, read=shape.read)
    assert priced(given, seller).cost_nano_usd == library_nano(given, seller)


@pytest.mark.parametrize("of_hour", [0, 1, 333, 4_000])
@pytest.mark.parametrize(("seller", "model"), CACHED)
def test_price_of_cache_writes_for_five_minutes_and_an_hour(
    seller: str, model: str, of_hour: int
) -> None:
    given = call(model, given=10, output=7, written=4_000, cache_write_1h_input_tokens=of_hour)
    assert priced(given, seller).cost_nano_usd == library_nano(given, seller)


def test_price_of_web_searches() -> None:
    given = call(given=10, output=5, web_search_requests=3)
    assert priced(given).cost_nano_usd == library_nano(given, "anthropic")


def test_price_of_file_searches() -> None:
    given = call("gpt-4.1", given=10, output=5, file_search_requests=4)
    assert priced(given, "openai").cost_nano_usd == library_nano(given, "openai")


def test_price_of_audio() -> None:
    given = call("gpt-audio", given=90, output=50, audio_input_tokens=30)
    assert priced(given, "openai").cost_nano_usd == library_nano(given, "openai")


def tiered(model: str, **labels: str) -> BilledCall:
    return call(model, given=1_000, output=400, read=300, extra=labels)


@pytest.mark.parametrize(
    ("seller", "given", "context"),
    [
        ("openai", tiered("gpt-5.2", service_tier="flex"), {"service_tier": "flex"}),
        ("openai", tiered("gpt-5.2", service_tier="priority"), {"service_tier": "priority"}),
        ("openai", tiered("gpt-6.1-terra", service_tier="fast"), {"service_tier": "fast"}),
        ("openai", tiered("gpt-5.2", service_tier="default"), {"service_tier": "default"}),
        ("anthropic", tiered("claude-fable-5-2", speed="fast"), {"speed": "fast"}),
        ("anthropic", tiered("claude-fable-5-2", service_tier="batch"), {"processing": "batch"}),
        ("anthropic", tiered("claude-fable-5-2", service_tier="standard", speed="standard"), {}),
    ],
    ids=lambda value: str(getattr(value, "extra", value)),
)
def test_price_of_a_modified_call(seller: str, given: BilledCall, context: dict[str, str]) -> None:
    assert priced(given, seller).cost_nano_usd == library_nano(given, seller, **context)


def test_time_of_the_call_selects_among_prices() -> None:
    cheap = call("deepseek-v4-flash", given=1_000_000, at="2026-11-20T12:00:00+00:00")
    dear = call("deepseek-v4-flash", given=1_000_000, at="2026-11-20T02:00:00+00:00")

    assert priced(cheap, "deepseek").cost_nano_usd * 2 == priced(dear, "deepseek").cost_nano_usd
    for given in (cheap, dear):
        assert priced(given, "deepseek").cost_nano_usd == library_nano(given, "deepseek")
