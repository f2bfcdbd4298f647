"""`BilledCall`: the parts of a model call that its price depends on. Pure.

It is made of a usage fact when that is recorded, or of a stored row when prices are renewed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from aibridge_addon.facts import UNEXPLAINED_TOKENS, TokenUsage

type Labels = Mapping[str, int | float | str]


class UnpriceableError(Exception):
    """A call has no price; the message is the recorded reason: without amounts, so that reasons
    can be grouped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledCall:
    """Model, time and amounts of a model call."""

    provider_name: str
    model: str | None
    """The model that served the call, or else the requested model."""
    input_tokens: int
    """Without those read from or written to a cache."""
    output_tokens: int
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    unknown: tuple[str, ...] = ()
    """Short names of the counts that the provider did not state; they are 0 here."""
    extra: Labels
    """Details, tool requests and modifiers, as `TokenUsage.extra` has them."""
    created_at: str

    @property
    def prompt_tokens(self) -> int:
        """All input tokens, caches included."""
        return self.input_tokens + self.cache_read_input_tokens + self.cache_write_input_tokens

    @property
    def uses_cache(self) -> bool:
        """True if some input was read from a cache or written to one."""
        return bool(
            self.cache_read_input_tokens
            or self.cache_write_input_tokens
            or self.count("cache_write_1h_input_tokens")
        )

    @property
    def time(self) -> datetime:
        """The time that selects among prices."""
        moment = datetime.fromisoformat(self.created_at)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def count(self, name: str) -> int:
        """Return a count of `extra`; 0 if it was not reported."""
        value = self.extra.get(name, 0)
        return value if type(value) is int else int(self.amount(name))

    def amount(self, name: str) -> Decimal:
        """Return an amount of `extra`, such as seconds; 0 if it was not reported."""
        value = self.extra.get(name, 0)
        if type(value) is int:
            return Decimal(value)
        return Decimal(str(value)) if isinstance(value, int | float) else Decimal(0)


def billed_call(usage: TokenUsage) -> BilledCall:
    """Return the model call of a usage fact."""
    # A call that the provider made by itself often uses another model than the requested one.
    requested = None if usage.call else usage.interception.model
    return BilledCall(
        provider_name=usage.interception.provider_name,
        model=usage.model or requested,
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        cache_read_input_tokens=usage.cache_read_input_tokens or 0,
        cache_write_input_tokens=usage.cache_write_input_tokens or 0,
        unknown=usage.unknown_counts,
        extra=usage.extra,
        created_at=usage.created_at,
    )


_PRICED = frozenset(
    {
        "audio_input_tokens",
        "audio_output_tokens",
        "cache_read_audio_tokens",
        "cache_read_image_tokens",
        "cache_write_1h_input_tokens",
        "cache_write_30m_input_tokens",
        "cache_write_5m_input_tokens",
        "file_search_requests",
        "image_input_tokens",
        "image_output_tokens",
        "input_audio_seconds",
        "input_characters",
        "num_search_queries",
        "reasoning_tokens",
        "web_search_requests",
    }
)
_WITHOUT_PRICE_OF_THEIR_OWN = frozenset(
    {
        "accepted_prediction_tokens",
        "cache_read_text_tokens",
        "cost",
        "cost_in_usd_ticks",
        "document_input_tokens",
        "rejected_prediction_tokens",
        "text_input_tokens",
        "text_output_tokens",
        "thinking_tokens",
        "tool_search_requests",
        "upstream_inference_cost",
        "video_input_tokens",
        "web_fetch_requests",
    }
)
"""Numbers that other counts include, that are free, or that are prices."""
_LACKING = {
    "input": "input tokens",
    "output": "output tokens",
    "cache_read": "cache reads",
    "cache_write": "cache writes",
}


def check_usage(call: BilledCall) -> None:
    """Check that the counts are plausible, and that each has a place in the price.

    Raises:
        UnpriceableError: a count has none, or the counts contradict each other.
    """
    if call.unknown:
        lacking = " and ".join(_LACKING[name] for name in call.unknown)
        raise UnpriceableError(f"the response does not state its {lacking}")
    if not call.extra:
        return
    if call.extra.get(UNEXPLAINED_TOKENS):
        raise UnpriceableError("the reported total is not the sum of input and output")
    for name, value in call.extra.items():
        is_known = name in _PRICED or name in _WITHOUT_PRICE_OF_THEIR_OWN
        if value and not isinstance(value, str) and not is_known:
            raise UnpriceableError(f"no price is known for {name}")
    if call.extra.get("fallback_credit"):
        raise UnpriceableError("a fallback credit changes the price by an unknown amount")
    if call.count("cache_write_1h_input_tokens") > call.cache_write_input_tokens:
        raise UnpriceableError("1-hour cache writes exceed all cache writes")
