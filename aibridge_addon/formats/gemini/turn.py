"""Reads the model's turn from the parts of a candidate of the Gemini API. Sans-io.

Parts stay whole: a signature of thoughts counts only on the part that it came with.
"""

from collections.abc import Sequence

from aibridge_addon.formats.gemini.names import named
from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, encode, mapping, text

_WAITS = (None, "STOP", "FINISH_REASON_UNSPECIFIED")
"""Finish reasons after which the model waits for results; after others, calls may be incomplete."""
_MADE_ID = "aibridge-call-"
"""Prefix of the ids of calls to which the provider gives none."""


def turn_of(parts: Sequence[JSON], finish_reason: str | None, names: frozenset[str]) -> Turn:
    """Return the turn; the model waits for results unless it was cut off."""
    calls = [call for part in parts if (call := call_in(part))]
    waits = finish_reason in _WAITS
    return Turn(
        items=tuple(
            part for part in parts if not is_blank(part) and (waits or not is_call_of(part, names))
        ),
        calls=tuple(
            InjectedCall(
                call_id=text(call.get("id")) or f"{_MADE_ID}{number}",
                name=_name(call),
                arguments=call.get("args") or {},
            )
            for number, call in enumerate(calls)
            if waits and _name(call) in names
        ),
        client_calls=tuple(
            text(call.get("id")) or "" for call in calls if _name(call) not in names
        ),
        text=shown_text([part for part in parts if not is_call_of(part, names)]),
    )


def provided_id(call_id: str) -> str | None:
    """Return the id of a call if the provider gave it."""
    return None if call_id.startswith(_MADE_ID) else call_id


def call_in(part: JSON) -> dict[str, JSON]:
    """Return the call of a part; empty if it is another."""
    return mapping(named(part, "functionCall"))


def is_call_of(part: JSON, names: frozenset[str]) -> bool:
    """Return whether a part calls a tool of one of these names."""
    call = call_in(part)
    return bool(call) and _name(call) in names


def is_blank(part: JSON) -> bool:
    """Return whether a part has no content and no signature; the API does not accept it back."""
    given = mapping(part)
    return named(part, "text") == "" and not named(part, "thoughtSignature") and len(given) <= 2


def shown_text(parts: Sequence[JSON]) -> str:
    """Return the visible text of parts, and the calls of the client: they may have no ids."""
    pieces = []
    for part in parts:
        said = named(part, "text")
        if isinstance(said, str) and named(part, "thought") is not True:
            pieces.append(text(said) or "")
        elif call := call_in(part):
            pieces.append(f"{_name(call)}{encode(call.get('args') or {})}")
    return "".join(pieces)


def _name(call: dict[str, JSON]) -> str:
    return text(call.get("name")) or ""
