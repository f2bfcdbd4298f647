"""Usage as SDKs state it to their callers, counted as the record counts it, and its price.

Input is without caches, output with reasoning. The price is genai-prices' own calculation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from genai_prices import Usage, calc_price

type Details = Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Stated:
    """A call as its SDK shows it."""

    api: str
    model: str
    """The model that is billed."""
    input: int | None = None
    output: int | None = None
    read: int = 0
    write: int = 0
    details: Details = field(default_factory=dict)
    """Counts that the record has in `extra`."""
    seller: str = ""
    """The seller with the price list, by its name in genai-prices."""
    priced_as: str = ""
    """The model whose price counts, if it is another."""
    unpriced: str = ""
    """Beginning of the reason why the call has no price."""
    usd: str | None = None
    """The price by a rule of the documentation, where genai-prices has none."""
    has_usage: bool = True
    status: str = "completed"
    context: Mapping[str, str] = field(default_factory=dict)
    """Modifiers of the price, as genai-prices names them."""

    def but(self, **changes: Any) -> "Stated":
        """Return the call with other values."""
        return replace(self, **changes)

    @property
    def nano(self) -> int | None:
        """The price in nano-dollars; None if the call has no price."""
        if self.unpriced or not self.has_usage:
            return None
        usd = self._by_library() if self.usd is None else Decimal(self.usd)
        return int((usd * 1_000_000_000).to_integral_value(ROUND_HALF_UP))

    def _by_library(self) -> Decimal:
        assert self.input is not None
        parts = {
            "input_audio_tokens": "audio_input_tokens",
            "output_audio_tokens": "audio_output_tokens",
            "cache_audio_read_tokens": "cache_read_audio_tokens",
            "input_image_tokens": "image_input_tokens",
            "output_image_tokens": "image_output_tokens",
        }
        usage = Usage(
            input_tokens=self.input + self.read + self.write,
            output_tokens=self.output,
            cache_read_tokens=self.read,
            cache_write_tokens=self.write,
            **{name: self.details.get(own, 0) for name, own in parts.items()},
        )
        context = dict(self.context) or None
        model = self.priced_as or self.model
        found = calc_price(usage, model, provider_id=self.seller, price_context=context)
        return found.total_price


def anthropic(message: Any, model: str, **more: Any) -> Stated:
    """Return what a message of Anthropic states."""
    usage = message.usage
    return Stated(
        **{"api": "anthropic_messages", "seller": "anthropic"} | more,
        model=model,
        input=usage.input_tokens,
        output=usage.output_tokens,
        read=usage.cache_read_input_tokens or 0,
        write=usage.cache_creation_input_tokens or 0,
    )


def prompted(api: str, model: str, usage: Any, **more: Any) -> Stated:
    """Return what a usage object states whose names begin with `prompt` and `completion`."""
    details = getattr(usage, "prompt_tokens_details", None)
    read = (details and details.cached_tokens) or 0
    output = getattr(usage, "completion_tokens", 0)
    given = {"api": api, "seller": "openai", **more}
    return Stated(**given, model=model, input=usage.prompt_tokens - read, output=output, read=read)


def responded(usage: Any, model: str, **more: Any) -> Stated:
    """Return what a usage object of Responses states."""
    details = usage.input_tokens_details
    read, write = details.cached_tokens, getattr(details, "cache_write_tokens", 0) or 0
    return Stated(
        **{"api": "openai_responses", "seller": "openai"} | more,
        model=model,
        input=usage.input_tokens - read - write,
        output=usage.output_tokens,
        read=read,
        write=write,
    )


def pictured(usage: Any, model: str, **more: Any) -> Stated:
    """Return what a usage object of images states; all of the output is an image."""
    details = usage.input_tokens_details
    images = {
        "image_input_tokens": details.image_tokens,
        "image_output_tokens": usage.output_tokens,
    }
    return Stated(
        **{"api": "openai_images", "seller": "openai"} | more,
        model=model,
        input=usage.input_tokens,
        output=usage.output_tokens,
        details=images,
    )


def heard(usage: Any, model: str, **more: Any) -> Stated:
    """Return what a usage object of a transcript states: tokens, or seconds."""
    given: dict[str, Any] = {"api": "openai_transcriptions", "seller": "openai", **more}
    if usage.type == "duration":
        hours = Decimal(str(usage.seconds)) / 3600
        usd = str(hours * Decimal("0.36"))  # OpenAI: 0.006 USD per minute of Whisper
        return Stated(**given, model=model, details={"input_audio_seconds": usage.seconds}, usd=usd)
    audio = usage.input_token_details.audio_tokens
    details = {"audio_input_tokens": audio}
    tokens = {"input": usage.input_tokens, "output": usage.output_tokens}
    return Stated(**given, **tokens, model=model, details=details)


def spoken(response: Any, model: str, **more: Any) -> Stated:
    """Return what a response of Realtime states."""
    usage = response.usage
    given, cached = usage.input_token_details, usage.input_token_details.cached_tokens_details
    details = {
        "audio_input_tokens": given.audio_tokens,
        "cache_read_audio_tokens": cached.audio_tokens,
        "audio_output_tokens": usage.output_token_details.audio_tokens,
    }
    return Stated(
        **{"api": "openai_realtime", "seller": "openai"} | more,
        model=model,
        input=usage.input_tokens - given.cached_tokens,
        output=usage.output_tokens,
        read=given.cached_tokens,
        details=details,
    )


def generated(usage: Any, model: str, **more: Any) -> Stated:
    """Return what `usage_metadata` of Google states."""
    read = usage.cached_content_token_count or 0
    answered = getattr(usage, "candidates_token_count", None)
    if answered is None:
        answered = usage.response_token_count or 0
    return Stated(
        **{"api": "gemini", "seller": "google"} | more,
        model=model,
        input=usage.prompt_token_count - read + (usage.tool_use_prompt_token_count or 0),
        output=answered + (usage.thoughts_token_count or 0),
        read=read,
    )


def interacted(usage: Any, model: str) -> Stated:
    """Return what the usage of an interaction states."""
    read = usage.total_cached_tokens
    return Stated(
        api="gemini_interactions",
        seller="google",
        model=model,
        input=usage.total_input_tokens - read + usage.total_tool_use_tokens,
        output=usage.total_output_tokens + usage.total_thought_tokens,
        read=read,
    )


def conversed(usage: Mapping[str, int], model: str) -> Stated:
    """Return what the usage of Converse states."""
    return Stated(
        api="bedrock_converse",
        seller="aws",
        model=model,
        input=usage["inputTokens"],
        output=usage["outputTokens"],
        read=usage["cacheReadInputTokens"],
        write=usage["cacheWriteInputTokens"],
    )


def evaluated(answer: Any, api: str, model: str) -> Stated:
    """Return what a response of Ollama states; it has no price list."""
    read = answer.prompt_eval_cached_count if hasattr(answer, "prompt_eval_cached_count") else None
    return Stated(
        api=api,
        model=model,
        input=answer.prompt_eval_count - (read or 0),
        output=getattr(answer, "eval_count", None) or 0,
        read=read or 0,
        unpriced="provider 'ollama' has no known price list",
    )
