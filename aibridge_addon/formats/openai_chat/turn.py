"""What a model does in one answer of OpenAI Chat Completions: says, calls, uses up. Sans-io."""

from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, arguments, mapping, sequence, text

_CUT_OFF = frozenset({"length", "content_filter"})
"""Reasons to finish after which calls may be incomplete."""


def turn_of(message: dict[str, JSON], finish_reason: str | None, names: frozenset[str]) -> Turn:
    """Return the turn of a message; it waits for results unless it was cut off."""
    given = [mapping(call) for call in sequence(message.get("tool_calls"))]
    # Some hosts give no ids; results need them.
    calls = [{**call, "id": call_id(call) or f"call_{n}"} for n, call in enumerate(given)]
    waits = finish_reason not in _CUT_OFF
    kept = [call for call in calls if waits or call_name(call) not in names]
    said = {name: value for name, value in message.items() if name != "tool_calls"}
    return Turn(
        items=({**said, "tool_calls": kept} if kept else said,),
        calls=tuple(
            InjectedCall(
                call_id=call["id"],
                name=call_name(call),
                arguments=_arguments(mapping(call.get("function")).get("arguments")),
            )
            for call in calls
            if waits and call_name(call) in names
        ),
        client_calls=tuple(call_id(call) for call in given if call_name(call) not in names),
        text=text_of(message.get("content")),
    )


def call_id(call: JSON) -> str:
    """Return the id of a call; empty where a host gives none."""
    return text(mapping(call).get("id")) or ""


def call_name(call: JSON) -> str:
    """Return the name of the tool that is called or defined; empty if it has none."""
    whole = mapping(call)
    return text(mapping(whole.get("function") or whole.get("custom")).get("name")) or ""


def _arguments(given: JSON) -> JSON:
    """Return what a call is given; some hosts give an object, not the text of one."""
    return given if isinstance(given, dict) else arguments(text(given) or "")


def text_of(content: JSON) -> str:
    """Return what the content of a message says."""
    if isinstance(content, str):
        return content
    parts = [mapping(part) for part in sequence(content)]
    return "\n".join(text(p.get("text")) or "" for p in parts if p.get("type") == "text")


def first_choice(data: dict[str, JSON]) -> dict[str, JSON]:
    """Return the choice of a chunk or a completion; empty if it has none."""
    return mapping((sequence(data.get("choices")) or [None])[0])
