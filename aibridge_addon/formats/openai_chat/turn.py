"""Reads the model's turn from a message of OpenAI Chat Completions. Sans-io."""

from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, arguments, mapping, sequence, text

_CUT_OFF = frozenset({"length", "content_filter"})
"""Finish reasons after which calls may be incomplete."""


def turn_of(message: dict[str, JSON], finish_reason: str | None, names: frozenset[str]) -> Turn:
    """Return the turn; the model waits for results unless its message was cut off."""
    given = [mapping(call) for call in sequence(message.get("tool_calls"))]
    # Some hosts send no ids; results need them.
    calls = [{**call, "id": call_id(call) or f"call_{n}"} for n, call in enumerate(given)]
    waits = finish_reason not in _CUT_OFF
    kept = [call for call in calls if waits or call_name(call) not in names]
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    return Turn(
        items=({**rest, "tool_calls": kept} if kept else rest,),
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
    """Return the id of a call; empty if the host sends none."""
    return text(mapping(call).get("id")) or ""


def call_name(call: JSON) -> str:
    """Return the name of the tool that is called or defined; empty if it has no name."""
    given = mapping(call)
    return text(mapping(given.get("function") or given.get("custom")).get("name")) or ""


def _arguments(given: JSON) -> JSON:
    """Return the arguments of a call; some hosts send an object instead of its JSON text."""
    return given if isinstance(given, dict) else arguments(text(given) or "")


def text_of(content: JSON) -> str:
    """Return the text of a message's content."""
    if isinstance(content, str):
        return content
    parts = [mapping(part) for part in sequence(content)]
    return "\n".join(text(p.get("text")) or "" for p in parts if p.get("type") == "text")


def first_choice(data: dict[str, JSON]) -> dict[str, JSON]:
    """Return the first choice of a chunk or completion; empty if it has no choice."""
    return mapping((sequence(data.get("choices")) or [None])[0])
