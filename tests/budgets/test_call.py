"""Estimates of the charge of a request."""

import base64
import json
import os
from dataclasses import replace
from typing import Any

from access.policies.test_rate_limits import interception

from aibridge_addon.budgets.budget import Estimate
from aibridge_addon.budgets.call import Call, Calls, estimate, web_searches
from aibridge_addon.facts import SpokenInput, TokenUsage, new_id, now
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.prices.pricing import Priced, Unpriced
from aibridge_addon.raw_json import members


def price(call: BilledCall) -> Priced | Unpriced:
    """Price input at 10, cache reads at 1, writes at 12 or 20, output at 50."""
    of_hour = call.count("cache_write_1h_input_tokens")
    return Priced(
        cost_nano_usd=10 * call.input_tokens
        + call.cache_read_input_tokens
        + 12 * (call.cache_write_input_tokens - of_hour)
        + 20 * of_hour
        + 50 * call.output_tokens,
        uncached_cost_nano_usd=None,
        source="test",
    )


def body(text: str, **members: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}], **members}).encode()


def read(calls: Calls, content: bytes, limit: int | None = 64_000, **values: Any) -> Call:
    return calls.read(interception(**values), "m", content, limit)


def usd(call: Call) -> Estimate:
    found = estimate(call, "usd", price)
    assert found
    return found


def test_output_is_likely_to_be_small_and_may_be_as_large_as_the_request_allows() -> None:
    found = usd(read(Calls(), body("hi " * 1000)))
    assert found.worst - found.input == 64_000 * 50
    assert found.likely - found.input == 1_000 * 50


def test_request_without_a_limit_has_a_bounded_worst_case() -> None:
    assert read(Calls(), body("hi"), limit=None).worst_output == 32_000


def test_each_choice_may_have_as_many_tokens_as_the_limit_allows() -> None:
    call = Calls().read(interception(), "m", body("hi"), 5_000, choices=8)
    assert (call.worst_output, call.likely_output) == (40_000, 8_000)


def test_price_of_a_huge_limit_fits_into_the_database() -> None:
    call = Calls().read(interception(), "m", body("hi"), 2**63 - 1, choices=10_000)
    assert usd(call).worst < 2**53


def test_image_is_not_estimated_by_its_base64() -> None:
    image = base64.b64encode(os.urandom(600_000)).decode()
    call = read(Calls(), body("what is this?", image={"data": image}))
    assert call.new_input < 2_100


def test_cached_history_is_estimated_at_the_price_of_cache_reads() -> None:
    calls = Calls()
    session: dict[str, Any] = {"client_session_id": "s"}
    started = interception(**session)
    calls.read(started, "m", body("hi " * 10_000), 64_000)
    calls.on_usage(
        TokenUsage(
            id=new_id(),
            interception=started,
            provider_response_id=None,
            model="m",
            input_tokens=10,
            output_tokens=490,
            cache_read_input_tokens=0,
            cache_write_input_tokens=9_500,
            extra={},
            raw={},
            created_at=now(),
        )
    )
    call = read(calls, body("hi " * 11_000), **session)
    assert (call.cached_input, call.new_input) == (10_000, 1_000)
    assert usd(call).input == 10_000 + 1_000 * 10


def test_new_input_is_estimated_as_the_dearest_that_the_request_can_incur() -> None:
    def cost(**members: Any) -> float:
        call = read(Calls(), body("hi " * 10_000, **members))
        return usd(call).input / call.new_input

    assert cost() == 10
    assert cost(cache_control={"type": "ephemeral"}) == 12
    assert cost(cache_control={"type": "ephemeral", "ttl": "1h"}) == 20
    point = body("hi " * 10_000, system=[{"cachePoint": {"type": "default"}}])
    call = read(Calls(), point, api="bedrock_converse")
    assert usd(call).input / call.new_input == 12


def test_model_without_a_price_has_no_estimate_in_money_and_one_in_tokens() -> None:
    call = read(Calls(), body("hi " * 1000))
    assert estimate(call, "usd", lambda call: Unpriced(reason="unknown")) is None
    tokens = estimate(call, "tokens", lambda call: Unpriced(reason="unknown"))
    assert tokens
    assert tokens.likely == call.new_input + 1_000


def test_call_without_a_price_of_tokens_is_estimated_in_its_own_unit() -> None:
    def by_seconds(call: BilledCall) -> Priced | Unpriced:
        if call.prompt_tokens or call.output_tokens:
            return Unpriced(reason="no price for tokens")
        cost = 100 * call.count("input_audio_seconds")
        return Priced(cost_nano_usd=cost, uncached_cost_nano_usd=None, source="test")

    call = Calls().read(interception(), "whisper-1", body("x"), None, {"input_audio_seconds": 60})
    assert estimate(call, "usd", by_seconds) == Estimate(worst=6_000, likely=6_000, input=6_000)


def test_web_search_is_estimated_if_the_request_allows_it() -> None:
    def searches(**request: Any) -> int:
        return web_searches(members(body('a "web_search" before', **request)) or {})

    tool = {"type": "web_search_20250305", "name": "web_search"}
    assert searches(tools=[tool]) == 5
    assert searches(tools=[tool | {"max_uses": 40}]) == 40
    assert searches(tools=[tool | {"max_uses": 3}, tool | {"max_uses": 4}]) == 7
    assert searches(tools=[tool | {"max_uses": 999_999_999}]) == 10_000
    assert searches(tools=[tool | {"description": '"max_uses": 40'}]) == 5
    assert searches(tools=[{"type": "web_search"}], max_tool_calls=2) == 2
    assert searches(tools=[{"type": "web_search"}], max_tool_calls="many") == 5
    assert searches(web_search_options={}) == 5
    assert searches(tools=[{"name": "read_file", "max_uses": 9}]) == 0


def audio_price(call: BilledCall) -> Priced | Unpriced:
    """Price text at 10 and audio at 100, cached text at 1, output at 50 and audio at 500."""
    heard, said = call.count("audio_input_tokens"), call.count("audio_output_tokens")
    assert not heard or call.count("cache_read_text_tokens") == call.cache_read_input_tokens
    return Priced(
        cost_nano_usd=10 * (call.input_tokens - heard)
        + 100 * heard
        + call.cache_read_input_tokens
        + 50 * (call.output_tokens - said)
        + 500 * said,
        uncached_cost_nano_usd=None,
        source="test",
    )


def spoken_call(spoken: SpokenInput, content: bytes = b"{}") -> Call:
    return Calls().read(interception(), "m", content, 1_000, spoken=spoken)


def test_audio_is_estimated_at_its_own_price_beside_the_session_before() -> None:
    spoken = SpokenInput(audio_tokens=300, context_tokens=7_000, is_answered_in_audio=True)
    found = estimate(spoken_call(spoken), "usd", audio_price)
    assert found
    assert found.input == 300 * 100 + 7_000
    assert found.worst - found.input == 1_000 * 500
    found = estimate(spoken_call(spoken), "tokens", audio_price)
    assert found
    assert found.input == 300


def test_audio_and_video_of_a_request_are_not_estimated_by_their_base64() -> None:
    blob = b'{"audio": "' + b"A" * 640_000 + b'"}'
    call = spoken_call(SpokenInput(audio_tokens=100, video_tokens=258, blobs=1), blob)
    assert 358 <= call.new_input < 370


def test_images_are_estimated_at_their_own_price() -> None:
    def price_images(call: BilledCall) -> Priced | Unpriced:
        cost = 100 * call.count("image_output_tokens") + 3 * call.count("image_input_tokens")
        return Priced(cost_nano_usd=cost, uncached_cost_nano_usd=None, source="test")

    def worst(model: str, limit: int, **spoken: Any) -> int:
        given = SpokenInput(**spoken)
        call = Calls().read(interception(), model, b"{}", limit, choices=2, spoken=given)
        found = estimate(call, "usd", price_images)
        assert found
        return found.worst

    drawn: dict[str, Any] = {"is_answered_in_images": True, "image_tokens": 1_000}
    assert worst("gpt-5", 9_000) == 0
    assert worst("gpt-x", 9_000, **drawn) == 2 * 9_000 * 100 + 1_000 * 3
    assert worst("gemini-3-pro-image", 9_000) == 2 * 8_000 * 100, "the rest is text"
    assert worst("gemini-3-pro-image", 1_000) == 2 * 1_000 * 100


def test_audio_of_a_model_without_prices_for_audio_or_caches_costs_as_much_as_text() -> None:
    def only_audio(call: BilledCall) -> Priced | Unpriced:
        if call.cache_read_input_tokens:
            return Unpriced(reason="no cache")
        return audio_price(call)

    def only_text(call: BilledCall) -> Priced | Unpriced:
        return Unpriced(reason="no audio") if call.extra else price(call)

    spoken = SpokenInput(audio_tokens=300, context_tokens=7_000)
    with_audio = estimate(spoken_call(spoken), "usd", only_audio)
    with_text = estimate(spoken_call(spoken), "usd", only_text)
    assert with_audio
    assert with_text
    assert with_audio.input == 300 * 100 + 7_000 * 10
    assert with_text.input == 7_300 * 10


def test_requested_tier_is_estimated_at_its_price_and_one_without_at_the_standard_price() -> None:
    def tiers(call: BilledCall) -> Priced | Unpriced:
        tier = call.extra.get("requested_service_tier", "default")
        found = price(call)
        if tier not in ("default", "priority") or not isinstance(found, Priced):
            return Unpriced(reason="no such tier")
        return replace(found, cost_nano_usd=found.cost_nano_usd * (1 + (tier == "priority")))

    def with_tier(tier: str) -> Estimate | None:
        call = read(Calls(), body("hi"), billing_labels={"service_tier": tier})
        return estimate(call, "usd", tiers)

    standard, priority = with_tier("default"), with_tier("priority")
    assert standard
    assert priority
    assert priority.worst == 2 * standard.worst
    assert priority.likely == 2 * standard.likely
    assert with_tier("odd") == standard


def test_requested_search_is_estimated_by_its_number() -> None:
    call = read(Calls(), body("hi"), billing_labels={"web_search": "requested"})
    assert call.labels == {}
