"""Reads the model's turn from a message of Ollama's API. Sans-io.

Calls come whole, with an object as arguments; most versions of the server give them no ids.
"""

from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, arguments, encode, mapping, sequence, text

_CUT_OFF = "length"
"""Reason for which a response ends that may have been going to call more tools."""
_MADE_ID = "aibridge-call-"
"""Prefix of the ids of calls to which the server gives none."""


def turn_of(message: dict[str, JSON], done_reason: str | None, names: frozenset[str]) -> Turn:
    """Return the turn; the model waits for results unless it was cut off."""
    calls = [mapping(call) for call in sequence(message.get("tool_calls"))]
    waits = done_reason != _CUT_OFF
    kept = [call for call in calls if waits or call_name(call) not in names]
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    return Turn(
        items=({"role": "assistant", "content": "", **rest, **_with_calls(kept)},),
        calls=tuple(
            InjectedCall(
                call_id=call_id(call) or f"{_MADE_ID}{number}",
                name=call_name(call),
                arguments=_arguments(call),
            )
            for number, call in enumerate(calls)
            if waits and call_name(call) in names
        ),
        client_calls=tuple(call_id(call) for call in calls if call_name(call) not in names),
        text=shown_text(without_calls_of(message, names)),
    )


def provided_id(given: str) -> str | None:
    """Return the id of a call if the server gave it."""
    return None if given.startswith(_MADE_ID) else given


def call_id(call: JSON) -> str:
    """Return the id of a call; empty if the server gave none."""
    return text(mapping(call).get("id")) or ""


def call_name(call: JSON) -> str:
    """Return the name of the tool that is called or defined; empty if it has no name."""
    return text(mapping(mapping(call).get("function")).get("name")) or ""


def without_calls_of(message: dict[str, JSON], names: frozenset[str]) -> dict[str, JSON]:
    """Return a message without its calls of these names; the same message if it has none."""
    calls = sequence(message.get("tool_calls"))
    shown = [call for call in calls if call_name(call) not in names]
    if len(shown) == len(calls):
        return message
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    return {**rest, **_with_calls(shown)}


def shown_text(message: dict[str, JSON]) -> str:
    """Return the visible text of a message, and its calls: they may have no ids."""
    calls = sequence(message.get("tool_calls"))
    named = (f"{call_name(call)}{encode(_arguments(mapping(call)))}" for call in calls)
    return (text(message.get("content")) or "") + "".join(named)


def _with_calls(calls: list[JSON]) -> dict[str, JSON]:
    return {"tool_calls": calls} if calls else {}


def _arguments(call: dict[str, JSON]) -> JSON:
    """Return the arguments of a call; hosts that imitate the API send the text of an object."""
    given = mapping(call.get("function")).get("arguments")
    return arguments(given) if isinstance(given, str) else given or {}
