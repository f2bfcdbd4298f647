"""What a model does in one answer of OpenAI Chat Completions: says, calls, uses up. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.openai_tools import summed_usage
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


def usage_of(data: dict[str, JSON]) -> dict[str, JSON]:
    """Find the usage, in each of the places where hosts put it."""
    places = (data, mapping(data.get("x_groq")), first_choice(data))
    return next((usage for place in places if (usage := mapping(place.get("usage")))), {})


def with_summed_usage(data: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return a chunk or a completion with its usage summed, wherever it stands."""
    summed = dict(data)
    if usage := mapping(data.get("usage")):
        summed["usage"] = _summed(usage, before)
    x_groq, choice = mapping(data.get("x_groq")), first_choice(data)
    if usage := mapping(x_groq.get("usage")):
        summed["x_groq"] = {**x_groq, "usage": _summed(usage, before)}
    if usage := mapping(choice.get("usage")):
        summed["choices"] = [{**choice, "usage": _summed(usage, before)}]
    return summed


def _summed(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    return summed_usage(usage, before, input_name="prompt_tokens", output_name="completion_tokens")
