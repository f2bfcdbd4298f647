"""Wire formats, one package each, and the register of them. Sans-io.

`base.Format` is the seam; `register` adds a format from outside the package.
"""

from collections.abc import Mapping

from aibridge_addon.formats import (
    anthropic_batches,
    anthropic_messages,
    bedrock_converse,
    bedrock_invoke,
    gemini,
    gemini_batches,
    gemini_interactions,
    gemini_live,
    ollama,
    openai_audio,
    openai_batches,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_moderations,
    openai_realtime,
    openai_responses,
    rerank,
)
from aibridge_addon.formats.base import EventDecoder, Format, RequestView, ResponseHead
from aibridge_addon.formats.gemini import caches as gemini_caches
from aibridge_addon.formats.gemini import embeddings as gemini_embeddings
from aibridge_addon.formats.gemini import predictions as gemini_predictions
from aibridge_addon.formats.ollama import embeddings as ollama_embeddings
from aibridge_addon.formats.openai_responses import compact as openai_responses_compact
from aibridge_addon.formats.reader import Reader

__all__ = [
    "FORMATS",
    "EventDecoder",
    "Format",
    "Reader",
    "RequestView",
    "ResponseHead",
    "register",
]

_formats: dict[str, Format] = {}

FORMATS: Mapping[str, Format] = _formats
"""Registered formats by name."""


def register(added: Format) -> None:
    """Add a wire format.

    Raises:
        ValueError: a format of this name is registered already.
    """
    if added.name in _formats:
        raise ValueError(f"a wire format named {added.name!r} is registered already")
    _formats[added.name] = added


for _format in (
    anthropic_messages.FORMAT,
    openai_chat.FORMAT,
    openai_responses.FORMAT,
    openai_responses_compact.FORMAT,
    bedrock_invoke.FORMAT,
    bedrock_converse.FORMAT,
    gemini.FORMAT,
    gemini_embeddings.FORMAT,
    gemini_predictions.FORMAT,
    gemini_caches.FORMAT,
    gemini_batches.FORMAT,
    gemini_interactions.FORMAT,
    gemini_live.FORMAT,
    openai_completions.FORMAT,
    openai_embeddings.FORMAT,
    openai_moderations.FORMAT,
    openai_images.FORMAT,
    openai_audio.TRANSCRIPTIONS,
    openai_audio.SPEECH,
    rerank.FORMAT,
    openai_batches.FORMAT,
    openai_realtime.FORMAT,
    anthropic_batches.FORMAT,
    ollama.CHAT,
    ollama.GENERATE,
    ollama_embeddings.FORMAT,
):
    register(_format)
