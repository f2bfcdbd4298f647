"""Reads the model's turn from the blocks of an Anthropic message. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, mapping, text


def turn_of(blocks: Sequence[JSON], stop_reason: str | None, names: frozenset[str]) -> Turn:
    """Return the turn; the model waits for results only if `stop_reason` is `tool_use`."""
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
    """Return whether a block calls a tool of one of these names."""
    call = mapping(block)
    return call.get("type") == "tool_use" and text(call.get("name")) in names


def text_of(blocks: Sequence[dict[str, JSON]]) -> str:
    """Return the visible text of blocks."""
    return "".join(text(b.get("text")) or "" for b in blocks if b.get("type") == "text")


def _is_blank(block: JSON) -> bool:
    """Return whether a block is a blank text, which the API sends but does not accept."""
    given = mapping(block)
    return given.get("type") == "text" and not (text(given.get("text")) or "").strip()


def _acceptable(block: dict[str, JSON]) -> JSON:
    """Return a block as the API accepts it: the input of a call must be an object."""
    if block.get("type") == "tool_use" and not isinstance(block.get("input"), dict):
        return {**block, "input": {}}
    return block
