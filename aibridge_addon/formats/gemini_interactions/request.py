"""Reads requests of the Interactions API. Sans-io.

The input is a text, contents, or steps. The provider has the steps before them.
"""

from aibridge_addon.facts import RequestFacts
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, elements, mapping, member, read, sequence, text

_USER = "user_input"
_RESULT = "function_result"


def read_request(members: Members) -> RequestFacts:
    """Read a request; an agent stands in the place of a model."""
    turn = _read_turn(members)
    tier = text(member(members, "service_tier"))
    return RequestFacts(
        model=text(member(members, "model")) or text(member(members, "agent")),
        streaming=member(members, "stream") is True,
        background=member(members, "background") is True,
        user_texts=turn.user_texts,
        position=turn.position,
        system=beginnings([text(member(members, "system_instruction")) or ""]),
        correlating_tool_call_id=turn.tool_call_id,
        billing_labels={"service_tier": tier.lower()} if tier else {},
    )


def texts_of(contents: JSON) -> list[str]:
    """Return the texts of contents; a lone content or text stands for an array of one."""
    if isinstance(contents, str):
        return [text(contents) or ""]
    given = [contents] if isinstance(contents, dict) else sequence(contents)
    found = [mapping(content) for content in given]
    return [text(content.get("text")) or "" for content in found if content.get("type") == "text"]


def _read_turn(members: Members) -> TrailingTurn:
    """Read the steps of the user at the end of the input, and the last result among them."""
    given = members.get("input")
    if given is None:
        return trailing_turn((), index=0)
    items = [mapping(read(item)) for item in elements(given)]
    follows = text(member(members, "previous_interaction_id")) or ""
    if not _are_steps(items):  # a text, or contents of one message
        return trailing_turn([texts_of(read(given))], index=0, follows=follows)
    turn: list[dict[str, JSON]] = []
    while items and items[-1].get("type") in (_USER, _RESULT):
        turn.append(items.pop())
    results = [text(step.get("call_id")) for step in turn if step.get("type") == _RESULT]
    return trailing_turn(
        [texts_of(step.get("content")) for step in turn if step.get("type") == _USER],
        index=len(items),
        follows=follows,
        tool_call_id=results[0] if results else None,
    )


def _are_steps(items: list[dict[str, JSON]]) -> bool:
    kinds = [text(item.get("type")) or "" for item in items]
    return any(kind.endswith(("_input", "_output", "_call", "_result")) for kind in kinds) or (
        "thought" in kinds
    )
