"""Reads the model's turn from the content blocks of Converse. Sans-io.

A block is an object whose only member names its kind.
"""

from collections.abc import Sequence

from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, mapping, sequence, text

_WAITS = ("tool_use", "end_turn")
"""Stop reasons after which the model waits for results: with some models, calls end a turn."""


def turn_of(blocks: Sequence[JSON], stop_reason: str | None, names: frozenset[str]) -> Turn:
    """Return the turn; the model waits for results unless it was cut off."""
    calls = [call for block in blocks if (call := call_in(block))]
    waits = stop_reason in _WAITS
    return Turn(
        items=tuple(
            _acceptable(mapping(block))
            for block in blocks
            if not is_blank(block) and (waits or not is_call_of(block, names))
        ),
        calls=tuple(
            InjectedCall(call_id=_id(call), name=_name(call), arguments=call.get("input"))
            for call in calls
            if waits and _name(call) in names
        ),
        client_calls=tuple(_id(call) for call in calls if _name(call) not in names),
        text=text_of(blocks),
    )


def call_in(block: JSON) -> dict[str, JSON]:
    """Return the call in a block that somebody has to run; empty for any other block."""
    call = mapping(mapping(block).get("toolUse"))
    return {} if call.get("type") == "server_tool_use" else call


def is_call_of(block: JSON, names: frozenset[str]) -> bool:
    """Return whether a block calls a tool of one of these names."""
    call = call_in(block)
    return bool(call) and _name(call) in names


def text_of(blocks: Sequence[JSON]) -> str:
    """Return the visible text of blocks, that with citations too."""
    return "".join(_text(mapping(block)) for block in blocks)


def call_ids(blocks: Sequence[JSON]) -> list[str]:
    """Return the ids of the calls in blocks."""
    return [_id(call) for block in blocks if (call := call_in(block))]


def is_blank(block: JSON) -> bool:
    """Return whether a block is empty or a blank text, which the API does not accept."""
    given = mapping(block)
    return not given or ("text" in given and not (text(given["text"]) or "").strip())


def _acceptable(block: dict[str, JSON]) -> JSON:
    """Return a block as the API accepts it: the input of a call must be an object."""
    call = mapping(block.get("toolUse"))
    if call and not isinstance(call.get("input"), dict):
        return {**block, "toolUse": {**call, "input": {}}}
    return block


def _text(block: dict[str, JSON]) -> str:
    cited = sequence(mapping(block.get("citationsContent")).get("content"))
    return (text(block.get("text")) or "") + "".join(
        text(mapping(part).get("text")) or "" for part in cited
    )


def _id(call: dict[str, JSON]) -> str:
    return text(call.get("toolUseId")) or ""


def _name(call: dict[str, JSON]) -> str:
    return text(call.get("name")) or ""
