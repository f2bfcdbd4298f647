"""What a model does in one answer of Anthropic Messages: says, calls, uses up. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, mapping, text


def turn_of(blocks: Sequence[JSON], stop_reason: str | None, names: frozenset[str]) -> Turn:
    """Return the turn of a message's blocks; it waits for results only if it stopped for them."""
    calls = [mapping(block) for block in blocks if mapping(block).get("type") == "tool_use"]
    waits = stop_reason == "tool_use"
    return Turn(
        items=tuple(
            _acceptable(mapping(block))
            for block in blocks
            if not _is_blank(block) and (waits or not is_call_of(block, names))
        ),
        calls=tuple(
            InjectedCall(
                call_id=str(call.get("id")),
                name=str(call.get("name")),
                arguments=call.get("input"),
            )
            for call in calls
            if waits and is_call_of(call, names)
        ),
        client_calls=tuple(
            text(call.get("id")) or "" for call in calls if not is_call_of(call, names)
        ),
        text=text_of([mapping(block) for block in blocks]),
    )


def is_call_of(block: JSON, names: frozenset[str]) -> bool:
    """Whether a block calls a tool of one of these names."""
    whole = mapping(block)
    return whole.get("type") == "tool_use" and text(whole.get("name")) in names


def text_of(blocks: Sequence[dict[str, JSON]]) -> str:
    """Return what blocks say aloud."""
    return "".join(text(b.get("text")) or "" for b in blocks if b.get("type") == "text")


def _is_blank(block: JSON) -> bool:
    """Whether it is a text block without words, which the API gives but does not take back."""
    whole = mapping(block)
    return whole.get("type") == "text" and not (text(whole.get("text")) or "").strip()


def _acceptable(block: dict[str, JSON]) -> JSON:
    """Return a block as the API takes it back: arguments that are no JSON are no object."""
    if block.get("type") == "tool_use" and not isinstance(block.get("input"), dict):
        return {**block, "input": {}}
    return block
