"""Words for calls other than messages, such as embeddings: nobody types them, some have no text.

Pure.
"""

from collections.abc import Mapping

from aibridge_addon.report.rows import RequestRow

_NAMES: Mapping[str, str] = {
    "embeddings": "embeddings",
    "moderations": "moderation",
    "images": "images",
    "transcriptions": "transcription",
    "speech": "speech",
    "rerank": "ranking",
    "batches": "batch",
    "predictions": "prediction",
    "caches": "cache",
}
"""Name of a call, by the end of its wire format's name."""

_UNSTORED: Mapping[str, str] = {
    "speech": "audio is never stored",
    "batches": "the results of a batch are read apart from it",
}
"""Reasons why an answer is in no record, by the same."""


_PROMPTED = ("images", "predictions")
"""Calls among them that a person may have typed a prompt for."""


def in_place_of_prompt(row: RequestRow) -> str:
    """Return the words that stand for a request without a typed prompt."""
    return "tool results" if row.brings_results else _NAMES.get(_end(row.api), "no prompt")


def may_have_prompt(api: str) -> bool:
    """Return True if a request in a wire format may have a typed prompt."""
    return _end(api) not in _NAMES or _end(api) in _PROMPTED


def why_unstored(api: str) -> str | None:
    """Return the reason why answers of a wire format are never stored; None if they can be."""
    return _UNSTORED.get(_end(api))


def _end(api: str) -> str:
    return api.rpartition("_")[2]
