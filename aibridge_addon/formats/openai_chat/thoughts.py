"""Reads the reasoning in a message or delta of Chat Completions, in any host's place for it."""

from aibridge_addon.raw_json import JSON, mapping, sequence

_TEXTS = ("reasoning_content", "reasoning")
"""Members that hold the text: DeepSeek, vLLM; OpenRouter, Groq."""
_DETAILS = ("text", "summary")
_PARTS = ("thinking", "reasoning")
"""Types of content parts, each with a member of the same name: Mistral."""


def thought_of(message: dict[str, JSON]) -> str | None:
    """Return the reasoning text; None if the message has no reasoning."""
    for name in _TEXTS:
        if (thought := message.get(name)) and isinstance(thought, str):
            return thought
    content = message.get("content")
    if isinstance(content, list) and (thought := "".join(map(_of_part, content))):
        return thought
    details = [mapping(detail) for detail in sequence(message.get("reasoning_details"))]
    return "".join(_first_text(detail, _DETAILS) for detail in details) or None


def _of_part(part: JSON) -> str:
    kind = mapping(part).get("type")
    if kind not in _PARTS:
        return ""
    thought = part.get(kind)
    if isinstance(thought, list):
        return "".join(_first_text(mapping(piece), ("text",)) for piece in thought)
    return thought if isinstance(thought, str) else _first_text(part, ("text",))


def _first_text(part: dict[str, JSON], names: tuple[str, ...]) -> str:
    return next((found for name in names if isinstance(found := part.get(name), str)), "")
