"""Prices of one model at one moment, and the amounts of a call that they are multiplied with. Pure.

Amounts never overlap, and an amount without a price makes the call unpriced: a missing cache price
is neither zero nor the price of input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from aibridge_addon.prices.billed_call import BilledCall, UnpriceableError

CHARACTERS = "input_mchars"
INPUT = "input_mtok"
OUTPUT = "output_mtok"
CACHE_READ = "cache_read_mtok"
CACHE_WRITE = "cache_write_mtok"
CACHE_WRITE_5M = "cache_write_5m_mtok"
CACHE_WRITE_1H = "cache_write_1h_mtok"
AUDIO_CACHE_READ = "cache_audio_read_mtok"
AUDIO_HOURS = "audio_hours"
AUDIO_INPUT = "input_audio_mtok"
AUDIO_OUTPUT = "output_audio_mtok"
VIDEO_INPUT = "input_video_mtok"
IMAGE_CACHE_READ = "cache_image_read_mtok"
IMAGE_INPUT = "input_image_mtok"
IMAGE_OUTPUT = "output_image_mtok"
REASONING = "output_reasoning_mtok"
WEB_SEARCH = "web_searches_kcount"
FILE_SEARCH = "storage_searches_kcount"
REQUESTS = "requests_kcount"
"""Names of prices, as genai-prices has them."""

_NANO = 1_000_000_000
_TOO_MUCH = 2**62
"""Nano-dollars that fit into a column, four billion dollars; a provider can report any count."""
_PER: Mapping[str, int] = {WEB_SEARCH: 1_000, FILE_SEARCH: 1_000, AUDIO_HOURS: 3_600}
"""Number of units in an amount that a price is for: amounts of audio are in seconds."""
_PER_DEFAULT = 1_000_000
_PARTS = 1_000_000
"""Parts of a nano-dollar in which `PlainRates` are whole numbers."""
_NOUNS: Mapping[str, str] = {
    CHARACTERS: "characters",
    INPUT: "input tokens",
    OUTPUT: "output tokens",
    CACHE_READ: "cache reads",
    CACHE_WRITE: "cache writes",
    CACHE_WRITE_1H: "1-hour cache writes",
    AUDIO_CACHE_READ: "cached audio",
    AUDIO_HOURS: "seconds of audio",
    AUDIO_INPUT: "audio input",
    AUDIO_OUTPUT: "audio output",
    IMAGE_CACHE_READ: "cached images",
    IMAGE_INPUT: "image input",
    IMAGE_OUTPUT: "image output",
    REASONING: "reasoning tokens",
    WEB_SEARCH: "web searches",
    FILE_SEARCH: "file searches",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price in USD that depends on the length of the prompt."""

    base: Decimal
    tiers: Sequence[tuple[int, Decimal]] = ()
    """Thresholds, ascending: the price of all tokens if the prompt has more than so many."""

    def for_prompt(self, tokens: int) -> Decimal:
        """Return the price that applies to a prompt of so many tokens, caches included."""
        found = self.base
        for start, price in self.tiers:
            if tokens > start:
                found = price
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Prices of a model by name: tokens per million, searches per thousand."""

    prices: Mapping[str, Price]
    source: str
    """The entry that was matched."""
    since: str
    """Date of the prices, for people."""


type Amount = tuple[str, int | Decimal]
"""Name of a price, and how often it counts."""


def cost_nano_usd(call: BilledCall, rates: Rates, factor: Decimal) -> int:
    """Return the cost of a call; `factor` multiplies the prices of tokens.

    Raises:
        UnpriceableError: an amount has no price, or a fee depends on more than the usage.
    """
    if REQUESTS in rates.prices:
        raise UnpriceableError(f"{rates.source} has a fee per request that depends on the request")
    amounts = [*_input(call, rates), *_output(call, rates), *_fees(call)]
    return _sum(amounts, call, rates, factor)


def uncached_nano_usd(call: BilledCall, rates: Rates, factor: Decimal) -> int:
    """Return the cost that the same tokens would have without a cache."""
    plain = _plain_input(call, rates, call.prompt_tokens)
    amounts = [*plain, *_output(call, rates), *_fees(call)]
    return _sum(amounts, call, rates, factor)


class PlainRates(NamedTuple):
    """Prices of a token that depend on nothing, in parts of a nano-dollar; None: no such price."""

    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None


def plain_rates(rates: Rates, factor: Decimal) -> PlainRates | None:
    """Return the prices with which `plain_cost` counts; None if a fee is added to them."""
    if REQUESTS in rates.prices:
        return None
    write = CACHE_WRITE_5M if CACHE_WRITE_5M in rates.prices else CACHE_WRITE
    return PlainRates(
        *(_in_parts(rates.prices.get(name), factor) for name in (INPUT, OUTPUT, CACHE_READ, write))
    )


def _in_parts(price: Price | None, factor: Decimal) -> int | None:
    if price is None or price.tiers:
        return None
    parts = price.base * factor * (_NANO // _PER_DEFAULT) * _PARTS
    return int(parts) if parts == parts.to_integral_value() else None


def plain_cost(call: BilledCall, rates: PlainRates) -> int | None:
    """Return the cost of a call without details, as `cost_nano_usd` does, in whole numbers.

    None: it cannot, such as for a price that depends on the length of the prompt.
    """
    return _plain_sum(
        rates,
        call.input_tokens,
        call.output_tokens,
        call.cache_read_input_tokens,
        call.cache_write_input_tokens,
    )


def plain_uncached(call: BilledCall, rates: PlainRates) -> int | None:
    """Return the cost of a call without details if there were no cache; None: it cannot."""
    return _plain_sum(rates, call.prompt_tokens, call.output_tokens, 0, 0)


def _plain_sum(rates: PlainRates, *counts: int) -> int | None:
    total = 0
    for count, rate in zip(counts, rates, strict=True):
        if count:
            if rate is None or count < 0:
                return None
            total += count * rate
    nano = (total + _PARTS // 2) // _PARTS
    return nano if nano < _TOO_MUCH else None


def _sum(amounts: Sequence[Amount], call: BilledCall, rates: Rates, factor: Decimal) -> int:
    total, prompt_tokens = Decimal(0), call.prompt_tokens
    for name, count in amounts:
        if not count:
            continue
        if (price := rates.prices.get(name)) is None:
            raise UnpriceableError(f"{rates.source} has no price for {_NOUNS[name]}")
        usd = price.for_prompt(prompt_tokens) * count / _PER.get(name, _PER_DEFAULT)
        total += usd if name in _PER else usd * factor
    if (nano := total * _NANO) >= _TOO_MUCH:
        raise UnpriceableError("the reported counts are implausible")
    return int(nano.to_integral_value(ROUND_HALF_UP))


def _input(call: BilledCall, rates: Rates) -> list[Amount]:
    of_hour = call.count("cache_write_1h_input_tokens")
    cached = _cached_parts(call, rates)
    write = CACHE_WRITE_5M if CACHE_WRITE_5M in rates.prices else CACHE_WRITE
    return [
        *cached.items(),
        (CACHE_READ, _rest(call.cache_read_input_tokens, sum(cached.values()), "cache reads")),
        (CACHE_WRITE_1H, of_hour),
        (write, call.cache_write_input_tokens - of_hour),
        *_plain_input(call, rates, call.input_tokens, cached),
    ]


def _plain_input(
    call: BilledCall, rates: Rates, tokens: int, cached: Mapping[str, int] | None = None
) -> list[Amount]:
    """Return the input at full price: `tokens` in all, less the audio and images in `cached`."""
    if not call.extra:
        return [(INPUT, tokens)]
    cached = cached or {}
    if call.count("video_input_tokens") and VIDEO_INPUT in rates.prices:
        raise UnpriceableError(f"{rates.source} has a price of its own for video")
    audio = _rest(call.count("audio_input_tokens"), cached.get(AUDIO_CACHE_READ, 0), "audio input")
    image = _rest(_images(call, rates), cached.get(IMAGE_CACHE_READ, 0), "image input")
    rest = _rest(tokens, audio + image, "input")
    return [(AUDIO_INPUT, audio), (IMAGE_INPUT, image), (INPUT, rest)]


def _images(call: BilledCall, rates: Rates) -> int:
    """Return the tokens of images; without a price of their own, they cost as much as text."""
    return call.count("image_input_tokens") if IMAGE_INPUT in rates.prices else 0


def _cached_parts(call: BilledCall, rates: Rates) -> Mapping[str, int]:
    """Return the cached tokens of audio and images.

    Raises:
        UnpriceableError: the usage does not state them.
    """
    has_parts = call.extra and (call.count("audio_input_tokens") or _images(call, rates))
    if not has_parts or call.prompt_tokens == call.input_tokens:
        return {}
    text, audio, image = (
        call.count(f"cache_read_{of}_tokens") for of in ("text", "audio", "image")
    )
    is_explained = text + audio + image == call.cache_read_input_tokens
    if not is_explained or call.cache_write_input_tokens:
        raise UnpriceableError("the usage does not state how much of audio or images was cached")
    return {AUDIO_CACHE_READ: audio, IMAGE_CACHE_READ: image if _images(call, rates) else 0}


def _output(call: BilledCall, rates: Rates) -> list[Amount]:
    if not call.extra:
        return [(OUTPUT, call.output_tokens)]
    audio, image = call.count("audio_output_tokens"), call.count("image_output_tokens")
    if IMAGE_INPUT in rates.prices and IMAGE_OUTPUT not in rates.prices:
        image = 0  # a model for images, with one price for all of its output
    reasoning = call.count("reasoning_tokens") if REASONING in rates.prices else 0
    return [
        (AUDIO_OUTPUT, audio),
        (IMAGE_OUTPUT, image),
        (REASONING, reasoning),
        (OUTPUT, _rest(call.output_tokens, audio + image + reasoning, "output")),
    ]


def _rest(whole: int, parts: int, direction: str) -> int:
    if parts > whole:
        raise UnpriceableError(f"details of the {direction} exceed all of it")
    return whole - parts


def _fees(call: BilledCall) -> list[Amount]:
    if not call.extra:
        return []
    searches = call.count("web_search_requests") or call.count("num_search_queries")
    return [
        (CHARACTERS, call.count("input_characters")),
        (AUDIO_HOURS, call.amount("input_audio_seconds")),
        (WEB_SEARCH, searches),
        (FILE_SEARCH, call.count("file_search_requests")),
    ]
