"""Prices of calls: the prices that apply, and the reasons why a call has no price."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prices.calls import call, dollars, priced, reason

from aibridge_addon.facts import UNEXPLAINED_TOKENS
from aibridge_addon.prices import price_list
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.prices.overrides import Override
from aibridge_addon.prices.pricing import PriceBook, Priced, Unpriced, price
from aibridge_addon.prices.regional_surcharges import surcharge_of
from aibridge_addon.prices.sellers import Seller


def test_seller_decides_about_the_price_of_a_model() -> None:
    model = "anthropic/claude-opus-4.5"
    assert reason(call(model, given=5)).startswith("the price data has no model")
    assert priced(call(model, given=5), "openrouter").cost_nano_usd == 25_000


def test_call_without_a_known_seller_is_unpriced() -> None:
    assert "set its price_as" in reason(call(given=5, provider="gateway"), None)


def test_unknown_seller_is_unpriced() -> None:
    assert reason(call(given=5), "nobody") == "the price data has no seller 'nobody'"


def test_unknown_model_is_unpriced() -> None:
    found = reason(call("claude-unheard-of", given=5))
    assert found == "the price data has no model 'claude-unheard-of' of anthropic"


def test_deployment_is_priced_as_its_model() -> None:
    book = PriceBook(
        sellers={"azure": Seller(id="azure"), "other": Seller(id="azure")},
        models={"azure": {"our-chat": "gpt-5"}},
    )
    found = book.price(call("our-chat", given=5, provider="azure"))
    assert isinstance(found, Priced)
    assert found == book.price(call("gpt-5", given=5, provider="azure"))
    assert isinstance(book.price(call("our-chat", given=5, provider="other")), Unpriced)


def test_price_does_not_depend_on_the_calls_before() -> None:
    prices = {"input_mtok": Decimal(2), "output_mtok": Decimal(8)}
    overrides = [
        Override(match="*-mini", prices=prices, since=date(2026, 11, 20)),
        Override(match="llama", prices=prices, seller="main"),
        Override(match="llama", prices={"input_mtok": Decimal(9)}, seller="main", above=10),
    ]
    sellers = {"main": Seller(id="anthropic"), "other": None}
    book = PriceBook(sellers=sellers, overrides=overrides)
    times = ("2026-11-19T23:59:00+00:00", "2026-11-20T00:00:00+00:00", "2026-11-20T00:00:00+02:00")
    for model, at, tokens, name in product(
        ("a-mini", "llama", "claude-opus-4-5", None), times, (5, 20), sellers
    ):
        asked = call(model, given=tokens, at=at, provider=name)
        expected = price(asked, seller=sellers[name], overrides=overrides)
        assert book.price(asked) == expected
        assert isinstance(book.price(replace(asked, unknown=("output",))), Unpriced)


def test_call_without_a_model_is_unpriced() -> None:
    assert "names a model" in reason(call(None, given=5))


GOOGLE = "gemini-2.5-flash"


def test_audio_of_google_costs_more_than_text_and_video_costs_as_much() -> None:
    details = {"audio_input_tokens": 400, "text_input_tokens": 500, "video_input_tokens": 100}
    found = priced(call(GOOGLE, given=1000, output=10, extra=details), "google")
    assert found.cost_nano_usd == 400 * 1000 + 600 * 300 + 10 * 2500


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"tool_use_input_tokens": 9}, "no price is known for tool_use_input_tokens"),
        ({"grounding_queries": 1}, "no price is known for grounding_queries"),
        ({"image_output_tokens": 5}, "no price for image output"),
        ({"service_tier": "provisioned_throughput"}, "no price for service_tier"),
        ({"inference_geo": "europe-west1"}, "no price is known for the region 'europe-west1'"),
    ],
)
def test_call_of_google_without_a_certain_price_has_a_reason(
    details: dict[str, Any], expected: str
) -> None:
    assert expected in reason(call(GOOGLE, given=100, output=10, extra=details), "google")


def test_long_prompt_of_google_counts_with_its_cache() -> None:
    short = priced(call("gemini-2.5-pro", given=1, output=0, read=200_000 - 1), "google")
    long = priced(call("gemini-2.5-pro", given=2, output=0, read=200_000 - 1), "google")
    assert short.cost_nano_usd == 1250 + 199_999 * 125
    assert long.cost_nano_usd == 2 * 2500 + 199_999 * 250


def test_source_names_the_match_and_the_date_of_the_data() -> None:
    found = priced(call("claude-opus-4-5-20251101", given=5))
    assert found.source == "anthropic/claude-opus-4-5, data of 2026-11-10"


def test_source_names_a_model_whose_prices_are_those_of_another() -> None:
    found = priced(call("gpt-5.2-codex", given=5), "openai")
    assert found.source == "openai/gpt-5.2 for gpt-5.2-codex, data of 2026-11-10"


def test_source_names_the_modifiers() -> None:
    found = priced(call("gpt-5.2", given=5, service_tier="flex"), "openai")
    assert found.source == "openai/gpt-5.2, flex, data of 2026-11-10"


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("claude-opus-4-5", "claude-opus-4-5"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5"),
        ("gpt-5.2-2025-12-11", "gpt-5.2"),
        ("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest"),
        ("GPT-5.2", "gpt-5.2"),
    ],
)
def test_dated_form_is_the_same_model(model: str, listed: str) -> None:
    assert price_list.is_same_model(model, listed)


@pytest.mark.parametrize(
    ("model", "listed"), [("gpt-5.2-codex", "gpt-5.2"), ("claude-opus-5-5", "claude-opus-5")]
)
def test_other_model_of_a_family_is_not_the_same(model: str, listed: str) -> None:
    assert not price_list.is_same_model(model, listed)


@pytest.mark.parametrize(
    ("model", "seller", "label"),
    [
        ("claude-opus-4-5", "anthropic", {"service_tier": "priority"}),
        ("claude-haiku-4-5", "anthropic", {"speed": "fast"}),
        ("gpt-4o", "openai", {"service_tier": "turbo"}),
        ("claude-fable-5-2", "anthropic", {"speed": "fast", "service_tier": "batch"}),
    ],
)
def test_tier_without_a_price_is_unpriced(model: str, seller: str, label: dict[str, str]) -> None:
    assert "has no price for" in reason(call(model, given=5, extra=label), seller)


def test_tier_is_unpriced_before_its_price_began() -> None:
    given = call("claude-fable-5", given=5, service_tier="batch", at="2026-10-13T23:59:59+00:00")
    assert "processing=batch" in reason(given)


def test_tier_of_a_resold_model_is_unpriced() -> None:
    """genai-prices ignores variants of models that it finds in the list of another seller."""
    given = call("gpt-5.2-pro", given=5, service_tier="batch")
    assert "azure has no prices of its own" in reason(given, "azure")


def test_requested_tier_counts_if_the_response_is_silent() -> None:
    flex = priced(call("gpt-5.2", given=5_000, requested_service_tier="flex"), "openai")
    assert "flex" in flex.source


def test_reported_tier_wins_over_the_requested_tier() -> None:
    given = call("gpt-5.2", given=5, requested_service_tier="flex", service_tier="default")
    assert "flex" not in priced(given, "openai").source


def test_tier_that_was_left_to_the_provider_is_the_requested_tier() -> None:
    given = call("gpt-5.2", given=5, service_tier="auto", requested_service_tier="flex")
    assert "flex" in priced(given, "openai").source


@pytest.mark.parametrize("reported", ["", "not_available"])
def test_requested_region_counts_if_the_response_is_silent(reported: str) -> None:
    in_us = priced(call(given=1_000, requested_inference_geo="us", inference_geo=reported))
    assert in_us.cost_nano_usd == priced(call(given=1_100)).cost_nano_usd


def test_model_that_is_priced_as_another_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    price_list._find_model.cache_clear()
    price_list._find_rates.cache_clear()
    for tokens in (5, 6):
        priced(call("gpt-5.2-codex", given=tokens), "openai")
        priced(call("gpt-5.2-2025-12-11", given=tokens), "openai")
    assert caplog.messages == ["aibridge: gpt-5.2-codex of openai is priced as gpt-5.2"]


def test_source_marks_an_assumed_tier() -> None:
    given = call("gpt-5.2", given=5, requested_service_tier="auto")
    assert "standard tier assumed" in priced(given, "openai").source


def test_inference_in_the_us_costs_a_tenth_more_for_tokens_only() -> None:
    plain = call(given=1_000_000, web_search_requests=1)
    in_us = call(given=1_000_000, web_search_requests=1, inference_geo="us")

    fee = dollars("0.01")
    assert priced(in_us).cost_nano_usd - fee == (priced(plain).cost_nano_usd - fee) * 11 // 10
    assert "region us ×1.1" in priced(in_us).source


def test_unknown_region_is_unpriced() -> None:
    assert "region 'mars'" in reason(call(given=5, inference_geo="mars"))


IN_EUROPE = Seller(id="openai", surcharge=Decimal("1.1"), only_newer_models=True)


def test_regional_host_of_openai_costs_a_tenth_more_for_models_since_march_2026() -> None:
    for model, plain, is_newer in (("gpt-5.2", "1.75", False), ("gpt-5.4", "2.5", True)):
        found = price(call(model, given=1_000), seller=IN_EUROPE)
        assert isinstance(found, Priced)
        usual = dollars(plain) // 1000
        assert found.cost_nano_usd == (usual * 11 // 10 if is_newer else usual)
        assert ("regional host ×1.1" in found.source) == is_newer


@pytest.mark.parametrize(
    ("factor", "models"),
    [
        (
            "1",
            "gpt-4o gpt-4o-mini-2024-07-18 gpt-4.1-nano gpt-5 gpt-5-mini gpt-5-2025-08-07 gpt-5.1"
            " gpt-5.2-pro gpt-5.3-codex gpt-5.3-chat-latest o1 o3-deep-research o4-mini"
            " gpt-image-1 gpt-image-1-mini gpt-image-1.5 gpt-realtime gpt-realtime-2025-08-28"
            " gpt-realtime-mini gpt-audio gpt-audio-mini-2025-10-06 gpt-oss-120b whisper-1 tts-1-hd"
            " text-embedding-3-small dall-e-3 chatgpt-4o-latest ft:gpt-4o-2024-08-06:acme::x",
        ),
        (
            "1.1",
            "gpt-5.4 gpt-5.4-2026-03-05 gpt-5.4-mini gpt-5.5-pro gpt-5.6-sol gpt-6-luna gpt-6.1-sol"
            " gpt-image-2 gpt-image-2.5-flare gpt-realtime-2 gpt-live-1 gpt-transcribe",
        ),
    ],
)
def test_surcharge_of_a_region_depends_on_the_release_of_the_model(
    factor: str, models: str
) -> None:
    found = {model: surcharge_of(IN_EUROPE, model) for model in models.split()}
    assert set(found.values()) == {Decimal(factor)}, found


def test_name_of_changing_models_is_unpriced_at_a_regional_host() -> None:
    found = price(call("gpt-chat-latest", given=5), seller=IN_EUROPE)
    assert isinstance(found, Unpriced)
    assert "surcharge of a regional host is not known" in found.reason


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("cache reads", call("gpt-5.2-pro", given=5, read=10)),
        ("cache writes", call("gpt-5.2-pro", given=5, written=10)),
    ],
)
def test_missing_cache_price_is_unknown(kind: str, asked: BilledCall) -> None:
    """Neither zero nor the price of input."""
    found = reason(asked, "openai")
    assert f"has no price for {kind}" in found


def test_missing_price_of_web_searches_is_unknown() -> None:
    found = reason(call("gpt-4.1-nano", given=5, web_search_requests=2), "openai")
    assert "no price for web searches" in found


def test_requested_web_search_without_a_count_is_unpriced() -> None:
    asked: dict[str, Any] = {"requested_web_search": "requested"}
    found = reason(call("gpt-4.1-nano", given=5, **asked), "openai")
    assert "states no number of them" in found
    counted = reason(call("gpt-4.1-nano", given=5, web_search_requests=2, **asked), "openai")
    assert "no price for web searches" in counted


def test_one_hour_writes_without_a_price_are_unpriced() -> None:
    given = call("gpt-5.6-sol", given=5, written=10, cache_write_1h_input_tokens=10)
    assert "no price for 1-hour cache writes" in reason(given, "openai")


def test_twelve_hour_writes_are_unpriced() -> None:
    given = call("gpt-6.1-terra", given=5, written=10, cache_write_12h_input_tokens=10)
    assert "no price is known for cache_write_12h_input_tokens" in reason(given, "openai")


def test_unknown_count_is_unpriced() -> None:
    assert "no price is known for new_tokens" in reason(call(given=5, new_tokens=3))


def test_audio_without_a_price_is_unpriced() -> None:
    given = call("gpt-4o-mini", given=5, audio_input_tokens=5)
    assert "no price for audio input" in reason(given, "openai")


def test_unexplained_tokens_are_unpriced() -> None:
    given = call(given=5, extra={UNEXPLAINED_TOKENS: 12})
    assert "is not the sum" in reason(given)


def test_fallback_credit_is_unpriced() -> None:
    assert "fallback credit" in reason(call(given=5, fallback_credit="redeemed"))


@pytest.mark.parametrize(
    ("seller", "asked"),
    [
        ("anthropic", call(given=5, written=10, cache_write_1h_input_tokens=11)),
        ("openai", call("gpt-audio", given=5, audio_input_tokens=6)),
        ("openai", call("gpt-audio", output=5, audio_output_tokens=6)),
    ],
)
def test_details_that_exceed_the_whole_are_unpriced(seller: str, asked: BilledCall) -> None:
    assert "exceed" in reason(asked, seller)


def test_fee_per_request_that_depends_on_the_request_is_unpriced() -> None:
    assert "fee per request" in reason(call("sonar", given=5), "perplexity")


def test_uncached_cost_is_the_price_of_the_same_tokens_without_a_cache() -> None:
    cached = priced(call(given=100, read=10_000, written=900, output=5))
    plain = priced(call(given=11_000, output=5))
    assert cached.uncached_cost_nano_usd == plain.cost_nano_usd
    assert plain.uncached_cost_nano_usd == plain.cost_nano_usd


def test_uncached_cost_keeps_the_tier_of_the_prompt() -> None:
    cached = priced(call("gpt-6.1-terra", given=1, read=272_000), "openai")
    plain = priced(call("gpt-6.1-terra", given=272_001), "openai")
    assert cached.uncached_cost_nano_usd == plain.cost_nano_usd


@pytest.mark.parametrize(
    ("tokens", "nano"), [((1, 0), 1), ((1, 1), 1), ((2, 1), 2), ((4, 1), 3), ((0, 0), 0)]
)
def test_cost_is_rounded_half_up_once(tokens: tuple[int, int], nano: int) -> None:
    half = Decimal("0.0005")
    override = Override(match="*", prices={"input_mtok": half, "output_mtok": half})
    given = call(given=tokens[0], output=tokens[1])
    assert priced(given, None, override).cost_nano_usd == nano


def test_installed_price_data_has_a_known_date() -> None:
    assert price_list.data_date() is not None


def test_implausible_counts_are_unpriced() -> None:
    """The cost would not fit into the column, so that the record would be lost."""
    assert "implausible" in reason(call(given=2**63 - 1, output=2**63 - 1))


COUNTS = st.one_of(st.integers(0, 2_000_000), st.integers(0, 2**63 - 1))
SMALL = st.integers(0, 2_000_000)
SELLERS = st.sampled_from(("anthropic", "openai", "google", "azure", "deepseek", "nobody", None))
MODELS = st.sampled_from(
    ("claude-opus-4-5", "gpt-5.2", "gpt-5.2-pro", "gemini-2.5-pro", "sonar", "x", "", None)
)
EXTRAS = st.dictionaries(
    st.sampled_from(
        (
            *("audio_input_tokens", "reasoning_tokens", "web_search_requests", "new_tokens"),
            *("cache_write_1h_input_tokens", "image_output_tokens", "thinking_tokens"),
            *("service_tier", "speed", "inference_geo", "requested_service_tier"),
        )
    ),
    st.one_of(st.integers(0, 5_000_000), st.sampled_from(("flex", "fast", "us", "batch", ""))),
)


@given(MODELS, SELLERS, COUNTS, COUNTS, COUNTS, COUNTS, EXTRAS)
def test_unknown_is_never_zero(
    model: str | None,
    seller: str | None,
    given_: int,
    output: int,
    read: int,
    written: int,
    extra: dict[str, int | str],
) -> None:
    """A call with tokens has a positive price or a reason, and never raises."""
    asked = call(model, given=given_, output=output, read=read, written=written, extra=extra)
    found = price(asked, seller=Seller(id=seller) if seller else None)
    if isinstance(found, Unpriced):
        assert found.reason
    elif given_ + output + read + written:
        assert 0 < found.cost_nano_usd < 2**63
        assert found.uncached_cost_nano_usd
        assert found.uncached_cost_nano_usd > 0


@given(SMALL, SMALL, SMALL, SMALL)
def test_parts_of_a_price_add_up(given_: int, output: int, read: int, written: int) -> None:
    """The price of a call is the sum of the prices of its parts, below every threshold."""
    model = "claude-opus-4-5"
    whole = priced(call(model, given=given_, output=output, read=read, written=written))
    parts = (
        call(model, given=given_),
        call(model, output=output),
        call(model, read=read),
        call(model, written=written),
    )
    total = sum(priced(part).cost_nano_usd for part in parts)
    assert abs(whole.cost_nano_usd - total) <= 2


@given(
    st.sampled_from(["a-mini", "bare", "gpt-5", GOOGLE, "gemini-2.5-pro", "claude-opus-4-5", None]),
    st.sampled_from(["main", "regional", "other"]),
    *[st.integers(min_value=0, max_value=10**9)] * 4,
    st.decimals(min_value="0.000001", max_value=1000, places=9),
)
def test_price_book_has_the_price_of_the_calculation_step_by_step(
    model: str | None,
    provider: str,
    given_: int,
    output: int,
    read: int,
    written: int,
    dollar: Decimal,
) -> None:
    prices = {"input_mtok": dollar, "output_mtok": dollar * 5, "cache_read_mtok": dollar / 10}
    overrides = (
        Override(match="*-mini", prices=prices),
        Override(match="bare", prices={"output_mtok": dollar, "cache_read_mtok": dollar}),
    )
    sellers = {
        "main": Seller(id="anthropic"),
        "regional": Seller(id="openai", surcharge=Decimal("1.1")),
        "other": Seller(id="google"),
    }
    asked = call(model, given=given_, output=output, read=read, written=written, provider=provider)
    book = PriceBook(sellers=sellers, overrides=overrides)
    assert book.price(asked) == price(asked, seller=sellers[provider], overrides=overrides)
