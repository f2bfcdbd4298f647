"""Prices of one model at one moment, and the amounts of a call that they are multiplied with. Pure.

Amounts never overlap, and an amount without a price makes the call unpriced: a missing cache price
is neither zero nor the price of input.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from aibridge_addon.prices.billed_call import BilledCall, UnpriceableError

INPUT = "input_mtok"
OUTPUT = "output_mtok"
CACHE_READ = "cache_read_mtok"
CACHE_WRITE = "cache_write_mtok"
CACHE_WRITE_5M = "cache_write_5m_mtok"
CACHE_WRITE_1H = "cache_write_1h_mtok"
AUDIO_INPUT = "input_audio_mtok"
AUDIO_OUTPUT = "output_audio_mtok"
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
_PER: Mapping[str, int] = {WEB_SEARCH: 1_000, FILE_SEARCH: 1_000}
_PER_DEFAULT = 1_000_000
_NOUNS: Mapping[str, str] = {
    INPUT: "input tokens",
    OUTPUT: "output tokens",
    CACHE_READ: "cache reads",
    CACHE_WRITE: "cache writes",
    CACHE_WRITE_1H: "1-hour cache writes",
    AUDIO_INPUT: "audio input",
    AUDIO_OUTPUT: "audio output",
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
        above = [price for start, price in self.tiers if tokens > start]
        return above[-1] if above else self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Prices of a model by name: tokens per million, searches per thousand."""

    prices: Mapping[str, Price]
    source: str
    """The entry that was matched."""
    since: str
    """Date of the prices, for people."""


type Amount = tuple[str, int]
"""Name of a price, and how often it counts."""


def cost_nano_usd(call: BilledCall, rates: Rates, factor: Decimal) -> int:
    """Return the cost of a call; `factor` multiplies the prices of tokens.

    Raises:
        UnpriceableError: an amount has no price, or a fee depends on more than the usage.
    """
    if REQUESTS in rates.prices:
        raise UnpriceableError(f"{rates.source} has a fee per request that depends on the request")
    return _sum((*_input(call, rates), *_output(call, rates), *_fees(call)), call, rates, factor)


def uncached_nano_usd(call: BilledCall, rates: Rates, factor: Decimal) -> int:
    """Return the cost that the same tokens would have without a cache."""
    amounts = ((INPUT, call.prompt_tokens), *_output(call, rates), *_fees(call))
    return _sum(amounts, call, rates, factor)


def _sum(amounts: Sequence[Amount], call: BilledCall, rates: Rates, factor: Decimal) -> int:
    total = Decimal(0)
    for name, count in amounts:
        if not count:
            continue
        if (price := rates.prices.get(name)) is None:
            raise UnpriceableError(f"{rates.source} has no price for {_NOUNS[name]}")
        usd = price.for_prompt(call.prompt_tokens) * count / _PER.get(name, _PER_DEFAULT)
        total += usd if name in _PER else usd * factor
    if (nano := total * _NANO) >= _TOO_MUCH:
        raise UnpriceableError("the reported counts are implausible")
    return int(nano.to_integral_value(ROUND_HALF_UP))


def _input(call: BilledCall, rates: Rates) -> Iterator[Amount]:
    of_hour = call.count("cache_write_1h_input_tokens")
    yield CACHE_READ, call.cache_read_input_tokens
    yield CACHE_WRITE_1H, of_hour
    written = call.cache_write_input_tokens - of_hour
    yield (CACHE_WRITE_5M if CACHE_WRITE_5M in rates.prices else CACHE_WRITE), written
    audio = call.count("audio_input_tokens")
    # Images without a price of their own cost as much as text.
    image = call.count("image_input_tokens") if IMAGE_INPUT in rates.prices else 0
    if (audio or image) and call.prompt_tokens != call.input_tokens:
        raise UnpriceableError("the usage does not state how much of audio or images was cached")
    yield AUDIO_INPUT, audio
    yield IMAGE_INPUT, image
    yield INPUT, _rest(call.input_tokens, audio + image, "input")


def _output(call: BilledCall, rates: Rates) -> Iterator[Amount]:
    audio, image = call.count("audio_output_tokens"), call.count("image_output_tokens")
    reasoning = call.count("reasoning_tokens") if REASONING in rates.prices else 0
    yield AUDIO_OUTPUT, audio
    yield IMAGE_OUTPUT, image
    yield REASONING, reasoning
    yield OUTPUT, _rest(call.output_tokens, audio + image + reasoning, "output")


def _rest(whole: int, parts: int, direction: str) -> int:
    if parts > whole:
        raise UnpriceableError(f"details of the {direction} exceed all of it")
    return whole - parts


def _fees(call: BilledCall) -> Iterator[Amount]:
    yield WEB_SEARCH, call.count("web_search_requests") or call.count("num_search_queries")
    yield FILE_SEARCH, call.count("file_search_requests")
