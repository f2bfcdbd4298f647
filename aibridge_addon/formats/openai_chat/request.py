"""Reads requests of OpenAI Chat Completions. Sans-io."""

import msgspec

from aibridge_addon.facts import RequestFacts
from aibridge_addon.formats.billing_labels import chat_search_label, requested_labels
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, drop_prefill, trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import (
    JSON,
    as_raw,
    elements,
    mapping,
    member,
    read,
    sequence,
    text,
)

_TEXT_PARTS = ("text", "input_text")
"""Parts of a message that are text: hosts accept the second, which is of OpenAI Responses."""


def read_request(members: Members) -> RequestFacts:
    """Read a request, given its members."""
    messages = elements(members.get("messages"))
    system = _system(messages)
    turn = _read_trailing_turn(messages)
    model = text(member(members, "model"))
    return RequestFacts(
        model=model,
        streaming=member(members, "stream") is True,
        billing_labels=requested_labels(members) | chat_search_label(members, model),
        user_texts=turn.user_texts,
        position=turn.position,
        prefilled=turn.prefilled,
        system=system,
        correlating_tool_call_id=turn.tool_call_id,
        session_hint=text(member(members, "prompt_cache_key")),
    )


def ask_for_usage(request: Members) -> Members | None:
    """Return the request with `include_usage` set; None if the client has set it itself."""
    options = mapping(member(request, "stream_options"))
    if "include_usage" in options:
        return None
    return {**request, "stream_options": as_raw({**options, "include_usage": True})}


def _system(messages: list[msgspec.Raw]) -> tuple[str, ...]:
    first = mapping(read(messages[0])) if messages else {}
    is_system = first.get("role") in ("system", "developer")
    return beginnings(_texts(first.get("content"))) if is_system else ()


def _read_trailing_turn(left: list[msgspec.Raw]) -> TrailingTurn:
    """Read the user messages after the last response, and the tool call of the last result."""
    user_texts: list[list[str]] = []
    before: list[str] = []
    tool_call_id = None
    prefilled = drop_prefill(left, _is_text_of_the_model)
    while left:
        message = mapping(read(left.pop()))
        if message.get("role") == "user":
            user_texts.append(_texts(message.get("content")))
        elif message.get("role") in ("tool", "assistant", "function"):
            before = _texts(message.get("content"))
            tool_call_id = text(message.get("tool_call_id"))
            break
    return trailing_turn(
        user_texts, index=len(left), before=before, tool_call_id=tool_call_id, prefilled=prefilled
    )


def _is_text_of_the_model(message: JSON) -> bool:
    calls = message.get("tool_calls") or message.get("function_call")
    return message.get("role") == "assistant" and not calls


def _texts(content: JSON) -> list[str]:
    if isinstance(content, str):
        return [text(content) or ""]
    parts = map(mapping, sequence(content))
    return [text(part.get("text")) or "" for part in parts if part.get("type") in _TEXT_PARTS]
