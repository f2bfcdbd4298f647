"""Prices of the config file."""

from datetime import date
from decimal import Decimal

from prices.calls import call, dollars, priced, reason

from aibridge_addon.prices.overrides import Override

PRICES = {"input_mtok": Decimal(2), "output_mtok": Decimal(8)}


def test_override_wins_over_the_price_data() -> None:
    override = Override(match="claude-*", prices=PRICES)
    found = priced(call(given=1_000_000, output=1_000_000), "anthropic", override)
    assert found.cost_nano_usd == dollars("10")
    assert found.source == "config file, claude-*, always"


def test_override_prices_a_model_without_a_seller() -> None:
    override = Override(match="llama", prices=PRICES)
    assert priced(call("llama", given=1_000_000), None, override).cost_nano_usd == dollars("2")


def test_override_for_another_seller_is_ignored() -> None:
    override = Override(match="claude-*", seller="openrouter", prices=PRICES)
    assert "anthropic/" in priced(call(given=5), "anthropic", override).source


def test_override_names_a_provider_instance_as_its_seller() -> None:
    override = Override(match="claude-*", seller="main", prices=PRICES)
    assert "config file" in priced(call(given=5), "anthropic", override).source


def test_latest_override_that_has_begun_applies() -> None:
    overrides = [
        Override(match="*", prices={"input_mtok": Decimal(price)}, since=since)
        for price, since in ((1, None), (2, date(2026, 11, 20)), (3, date(2026, 11, 21)))
    ]
    before = call(given=1_000_000, at="2026-11-19T23:59:59.999999+00:00")
    on_the_day = call(given=1_000_000, at="2026-11-20T00:00:00+00:00")
    assert priced(before, None, *overrides).cost_nano_usd == dollars("1")
    assert priced(on_the_day, None, *overrides).cost_nano_usd == dollars("2")


def test_override_for_long_prompts_counts_caches_too() -> None:
    overrides = [
        Override(match="*", prices={"input_mtok": Decimal(1), "cache_read_mtok": Decimal(0)}),
        Override(
            match="*",
            above=200_000,
            prices={"input_mtok": Decimal(2), "cache_read_mtok": Decimal(0)},
        ),
    ]
    at_threshold = call(given=100_000, read=100_000)
    above = call(given=100_000, read=100_001)
    assert priced(at_threshold, None, *overrides).cost_nano_usd == dollars("0.1")
    assert priced(above, None, *overrides).cost_nano_usd == dollars("0.2")


def test_override_for_a_modifier_applies_to_that_modifier_only() -> None:
    flex = Override(match="gpt-5.2", modifiers={"service_tier": "flex"}, prices=PRICES)
    asked = call("gpt-5.2", given=5, service_tier="flex")
    assert "config file" in priced(asked, "openai", flex).source
    assert "openai/" in priced(call("gpt-5.2", given=5), "openai", flex).source


def test_modifier_that_an_override_does_not_price_is_unpriced() -> None:
    standard = Override(match="gpt-5.2", prices=PRICES)
    asked = call("gpt-5.2", given=5, service_tier="flex")
    assert "[[prices]] for gpt-5.2 has no price for service_tier=flex" in reason(
        asked, "openai", standard
    )


def test_amount_that_an_override_does_not_price_is_unpriced() -> None:
    override = Override(match="claude-*", prices=PRICES)
    assert "no price for cache reads" in reason(call(given=5, read=1), "anthropic", override)


def test_written_price_of_zero_is_a_price() -> None:
    free = Override(match="*", prices={"input_mtok": Decimal(0), "output_mtok": Decimal(0)})
    assert priced(call("local", given=5, output=5), None, free).cost_nano_usd == 0
