"""Tests of the prices of calls that are billed by more than text tokens, in nano-dollars."""

import pytest
from prices.calls import call, priced, reason


@pytest.mark.parametrize(
    ("model", "seconds", "nano"),
    [
        ("whisper-1", 60, 6_000_000),
        ("whisper-1", 9.5, 950_000),
        ("gpt-transcribe", 3600, 270_000_000),
    ],
)
def test_seconds_of_audio_cost_their_part_of_an_hour(model: str, seconds: float, nano: int) -> None:
    assert priced(call(model, input_audio_seconds=seconds), "openai").cost_nano_usd == nano


def test_seconds_of_audio_without_a_price_leave_a_call_unpriced() -> None:
    assert "seconds of audio" in reason(call("gpt-5", input_audio_seconds=3), "openai")


def test_unit_without_any_price_leaves_a_call_unpriced() -> None:
    assert reason(call("gpt-5", search_units=1), "openai") == "no price is known for search_units"


def test_call_that_is_free_of_charge_costs_nothing_without_a_known_seller() -> None:
    found = priced(call("omni-moderation-latest", pricing="free"), None)
    assert (found.cost_nano_usd, found.source) == (0, "free of charge")


def test_embeddings_are_priced_by_their_input() -> None:
    assert priced(call("text-embedding-3-small", given=1_000), "openai").cost_nano_usd == 20_000


def test_cached_audio_is_priced_apart_from_cached_text() -> None:
    usage = call(
        "gpt-realtime-mini",
        given=100,
        read=50,
        output=30,
        audio_input_tokens=60,
        text_input_tokens=90,
        cache_read_audio_tokens=20,
        cache_read_text_tokens=30,
        audio_output_tokens=25,
    )
    # audio 40 · 10 + cached audio 20 · 0.3 + text 60 · 0.6 + cached text 30 · 0.06
    # + audio 25 · 20 + text 5 · 2.4, per million
    assert priced(usage, "openai").cost_nano_usd == 955_800
    # without a cache: audio 60 · 10 + text 90 · 0.6, and the same output
    assert priced(usage, "openai").uncached_cost_nano_usd == 1_166_000


def test_cache_of_audio_that_is_not_broken_down_leaves_a_call_unpriced() -> None:
    usage = call("gpt-realtime", given=100, read=50, audio_input_tokens=60)
    assert "how much of audio" in reason(usage, "openai")


@pytest.mark.parametrize(
    ("model", "nano"),
    [("gpt-image-1", 40 * 1_000_000), ("gpt-image-1.5", 32 * 1_000_000)],
)
def test_image_output_has_the_image_price_or_the_only_output_price(model: str, nano: int) -> None:
    usage = call(model, output=1_000, image_output_tokens=1_000)
    assert priced(usage, "openai").cost_nano_usd == nano


def test_characters_that_are_read_aloud_have_a_price() -> None:
    assert priced(call("tts-1", input_characters=1_000), "openai").cost_nano_usd == 15_000_000
