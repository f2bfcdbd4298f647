"""Reads requests of Ollama's API. Sans-io.

A request without messages or prompt only loads the model into memory, or unloads it.
"""

import msgspec

from aibridge_addon.facts import RequestFacts
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import elements, mapping, member, read, text


def read_chat_request(members: Members) -> RequestFacts:
    """Read a request of `POST /api/chat`."""
    messages = elements(members.get("messages"))
    first = mapping(read(messages[0])) if messages else {}
    system = text(first.get("content")) if first.get("role") == "system" else None
    is_load = not (messages and mapping(read(messages[-1])))
    return _facts(members, _trailing_turn(messages), system, is_load=is_load)


def read_generation_request(members: Members) -> RequestFacts:
    """Read a request of `POST /api/generate`; nobody typed code before a suffix."""
    prompt = text(member(members, "prompt"))
    typed = [[prompt]] if prompt and not member(members, "suffix") else []
    turn = trailing_turn(typed, index=0)
    return _facts(members, turn, text(member(members, "system")), is_load=not prompt)


def _facts(
    members: Members, turn: TrailingTurn, system: str | None, *, is_load: bool
) -> RequestFacts:
    return RequestFacts(
        model=text(member(members, "model")),
        streaming=member(members, "stream") is not False,  # the default is to stream
        user_texts=turn.user_texts,
        position=turn.position,
        system=beginnings([system]) if system else (),
        request_kind="side" if is_load else None,
    )


def _trailing_turn(left: list[msgspec.Raw]) -> TrailingTurn:
    """Read the user messages after the last response."""
    user_texts: list[list[str]] = []
    before: list[str] = []
    while left:
        message = mapping(read(left.pop()))
        content = text(message.get("content")) or ""
        if message.get("role") == "user":
            user_texts.append([content])
        elif message.get("role") in ("assistant", "tool"):
            before = [content]
            break
    return trailing_turn(user_texts, index=len(left), before=before)
