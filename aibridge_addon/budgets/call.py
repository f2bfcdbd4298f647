"""The shape of a call before it is sent, and its estimated charge. Pure.

Coding agents allow 64,000 output tokens and use 500, and repeat their history from the provider's
cache; base64 says nothing about tokens. An estimate that ignores this fills a budget of which
nothing is spent.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from aibridge_addon.budgets.budget import Estimate, Unit
from aibridge_addon.budgets.tokens import (
    MOST_CONVERSATIONS,
    TOKENS_OF_BLOB,
    OutputEstimates,
    conversation_of,
    input_tokens,
    remember,
)
from aibridge_addon.facts import (
    NOTHING_SPOKEN,
    REQUESTED,
    Interception,
    SpokenInput,
    TokenUsage,
    known_sum,
    now,
)
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.prices.pricing import Priced, Unpriced
from aibridge_addon.raw_json import count, read

type CacheWrites = Literal["none", "5m", "1h"]
type PriceOf = Callable[[BilledCall], Priced | Unpriced]

_UNSTATED_OUTPUT = 32_000
"""Output tokens that a request without a limit may use."""
_MOST_OUTPUT = 1_000_000_000
"""Bound of the estimated output tokens, so that their price fits into a column of the database."""
_UNSTATED_SEARCHES = 5
_MOST_SEARCHES = 10_000
_MOST_USES = re.compile(rb'"max_uses"\s*:\s*(\d{1,9})')
"""Of a tool of the provider; a quote within a text is escaped."""
_MOST_CALLS = "max_tool_calls"
"""Member of a request that bounds the calls of all tools of the provider."""
_STANDARD = ("auto", "default", "standard", "standard_only")
"""Labels that most clients send."""
_SPOKEN = (
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
)
_IMAGE_OF_CHAT = 8_000
"""Output tokens of the images in a response that may have text too; one has at most 2,520."""
_IMAGES = "image"
"""Part of the names of models that draw."""
_WEB_SEARCH = "web_search"
_WEB_SEARCH_TOOL = b'"web_search'
_CONVERSATION = ("messages", "input", "system", "instructions")
"""Members that may mention searches of the past."""
_NO_UNITS: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The parts of a request that its charge depends on."""

    provider_name: str
    model: str | None
    cached_input: int
    """Input tokens that the conversation has sent before, and the provider has in its cache."""
    new_input: int
    new_audio: int
    """The part of `new_input` that is audio."""
    new_images: int = 0
    """The part of `new_input` that is images with a size in tokens."""
    image_output: int = 0
    """The part of the output that may be images, which can cost ten times as much as text."""
    worst_output: int
    likely_output: int
    cache_writes: CacheWrites
    searches: int
    is_answered_in_audio: bool
    labels: Mapping[str, str]
    """Tier, speed and region that it asks for, where they may change the price."""
    units: Mapping[str, int] = field(default_factory=dict)
    """Amounts in other units, which count if the model's tokens have no price."""


@dataclass(frozen=True, slots=True)
class _Conversation:
    estimated: int
    """Estimated tokens of its last request."""
    total: int
    """Reported tokens of its last call, input and output."""
    is_cached: bool


class Calls:
    """Reads the shapes of requests, and learns from the usage of their responses."""

    def __init__(self) -> None:
        self._outputs = OutputEstimates()
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self._estimated: OrderedDict[str, int] = OrderedDict()
        """Estimated input tokens of the last requests, by interception."""

    def read(
        self,
        interception: Interception,
        model: str | None,
        body: bytes,
        output_limit: int | None,
        units: Mapping[str, int] = _NO_UNITS,
        *,
        choices: int = 1,
        searches: int = 0,
        spoken: SpokenInput = NOTHING_SPOKEN,
    ) -> Call:
        """Return the shape of a request; `model` is sent, maybe in place of the requested one.

        Each of its `choices` may have as many output tokens as the limit allows.
        """
        text = max(0, input_tokens(body) - spoken.blobs * TOKENS_OF_BLOB)
        estimated = text + spoken.audio_tokens + spoken.video_tokens + spoken.image_tokens
        remember(self._estimated, interception.id, estimated, MOST_CONVERSATIONS)
        last = self._conversations.get(conversation_of(interception) or "")
        cached, new = 0, estimated
        if last and estimated >= last.estimated:
            new = estimated - last.estimated
            cached, new = (last.total, new) if last.is_cached else (0, last.total + new)
        cached = max(cached, spoken.context_tokens)
        likely = self._outputs.likely(model) * choices
        limit = _UNSTATED_OUTPUT if output_limit is None else output_limit
        worst = min(limit * choices, _MOST_OUTPUT)
        return Call(
            provider_name=interception.provider_name,
            model=model,
            cached_input=cached,
            new_input=new,
            new_audio=min(new, spoken.audio_tokens),
            new_images=min(new, spoken.image_tokens),
            image_output=_image_output(model, spoken, worst, choices),
            worst_output=worst,
            likely_output=min(likely, worst),
            cache_writes=_cache_writes(body, interception.api),
            searches=searches,
            is_answered_in_audio=spoken.is_answered_in_audio,
            labels=_labels(interception.billing_labels),
            units=units,
        )

    def on_usage(self, usage: TokenUsage) -> None:
        """Learn from the usage of a response."""
        if usage.call:
            return
        if usage.output_tokens is not None:
            self._outputs.add(usage.model or usage.interception.model, usage.output_tokens)
        estimated = self._estimated.pop(usage.interception.id, None)
        if estimated is None or (key := conversation_of(usage.interception)) is None:
            return
        tokens = known_sum(usage.prompt_tokens, usage.output_tokens)
        if tokens is None:
            return
        is_cached = bool(usage.cache_read_input_tokens or usage.cache_write_input_tokens)
        conversation = _Conversation(estimated, tokens, is_cached)
        remember(self._conversations, key, conversation, MOST_CONVERSATIONS)


def estimate(call: Call, unit: Unit, price: PriceOf) -> Estimate | None:
    """Return the estimated charge; None if the model has no price."""
    if unit == "tokens":
        return Estimate(
            worst=call.new_input + call.worst_output,
            likely=call.new_input + call.likely_output,
            input=call.new_input,
        )
    moment = now()
    billed = _billed(call, 0, moment)
    without = _cost(billed, price)
    if call.labels and without is None:  # a tier or region without a price has the standard one
        call = replace(call, labels={})
        billed = _billed(call, 0, moment)
        without = _cost(billed, price)
    worst = _cost(_billed(call, call.worst_output, moment), price)
    if without is None or worst is None:
        cost = _cost_of_units(call, billed, price)
        return None if cost is None else Estimate(worst=cost, likely=cost, input=cost)
    # To look up a price is expensive, and the price of output grows with its tokens.
    likely = without - (without - worst) * call.likely_output // (call.worst_output or 1)
    return Estimate(worst=worst, likely=likely, input=without)


def _image_output(model: str | None, spoken: SpokenInput, worst: int, choices: int) -> int:
    """Return how much of the output may be images."""
    if spoken.is_answered_in_images:
        return worst
    draws = _IMAGES in (model or "").lower()
    return min(worst, _IMAGE_OF_CHAT * choices) if draws else 0


def _labels(requested: Mapping[str, str]) -> Mapping[str, str]:
    """Return the labels that may change the price; searches are estimated by their number."""
    return {
        REQUESTED + name: label
        for name, label in requested.items()
        if name != _WEB_SEARCH and label.lower() not in _STANDARD
    }


def web_searches(request: Mapping[str, msgspec.Raw]) -> int:
    """Return how often a request, given its members, lets the provider search the web.

    5 times if it states no number.
    """
    may_search = any(
        name.startswith(_WEB_SEARCH) or _WEB_SEARCH_TOOL in bytes(value)
        for name, value in request.items()
        if name not in _CONVERSATION
    )
    if not may_search:
        return 0
    uses = [int(found[1]) for found in _MOST_USES.finditer(bytes(request.get("tools", b"")))]
    calls = count(read(request[_MOST_CALLS])) if _MOST_CALLS in request else None
    stated = sum(uses) if uses else calls
    return _UNSTATED_SEARCHES if stated is None else min(stated, _MOST_SEARCHES)


def _billed(call: Call, output_tokens: int, moment: str) -> BilledCall:
    writes = call.new_input if call.cache_writes != "none" else 0
    extra: dict[str, int | float | str] = {**call.labels}
    if call.new_audio and not writes:
        # What was said before is read from the cache at the price of text.
        extra |= {"audio_input_tokens": call.new_audio, "cache_read_text_tokens": call.cached_input}
    if call.new_images and not writes:
        extra["image_input_tokens"] = call.new_images
    if output_tokens and call.image_output:
        extra["image_output_tokens"] = min(output_tokens, call.image_output)
    if output_tokens and call.is_answered_in_audio:
        extra["audio_output_tokens"] = output_tokens
    if writes and call.cache_writes == "1h":
        extra["cache_write_1h_input_tokens"] = writes
    if call.searches:
        extra["web_search_requests"] = call.searches
    return BilledCall(
        provider_name=call.provider_name,
        model=call.model,
        input_tokens=call.new_input - writes,
        output_tokens=output_tokens,
        cache_read_input_tokens=call.cached_input,
        cache_write_input_tokens=writes,
        extra=extra,
        created_at=moment,
    )


def _cost(call: BilledCall, price: PriceOf) -> int | None:
    """Return the price of a call; where caches or audio have none, that of plain input."""
    for each in _from_details_to_plain(call):
        found = price(each)
        if isinstance(found, Priced):
            return found.cost_nano_usd
    return None


def _from_details_to_plain(call: BilledCall) -> Iterator[BilledCall]:
    """Yield a call, then the same without caches and fees, then without audio and images too."""
    yield call
    labels = {name: value for name, value in call.extra.items() if name.startswith(REQUESTED)}
    spoken = {name: call.extra[name] for name in _SPOKEN if name in call.extra}
    plain = replace(
        call,
        input_tokens=call.prompt_tokens,
        cache_read_input_tokens=0,
        cache_write_input_tokens=0,
        extra={**labels, **spoken},
    )
    yield plain
    yield replace(plain, extra=labels)


def _cost_of_units(call: Call, billed: BilledCall, price: PriceOf) -> int | None:
    if not call.units:
        return None
    without_tokens = replace(
        billed,
        input_tokens=0,
        output_tokens=0,
        cache_read_input_tokens=0,
        cache_write_input_tokens=0,
        extra=call.units,
    )
    found = price(without_tokens)
    return found.cost_nano_usd if isinstance(found, Priced) else None


_CACHE_MARK = b'"cache_control"'
_CACHE_MARKS = {"bedrock_converse": b'"cachePoint"'}
"""Members that ask to write to the cache, by wire format."""


def _cache_writes(body: bytes, api: str) -> CacheWrites:
    if _CACHE_MARKS.get(api, _CACHE_MARK) not in body:
        return "none"
    return "1h" if b'"1h"' in body else "5m"
