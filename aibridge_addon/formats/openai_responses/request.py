"""Reads requests of OpenAI Responses. Sans-io."""

from collections.abc import Sequence

import msgspec

from aibridge_addon.facts import RequestFacts, RequestKind
from aibridge_addon.formats.billing_labels import requested_labels
from aibridge_addon.formats.openai_responses.items import answered_call_id, is_result
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, drop_prefill, trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, elements, mapping, member, read, sequence, text


def read_request(members: Members) -> RequestFacts:
    """Read a request, given its members."""
    follows = text(member(members, "previous_response_id")) or ""
    items = elements(members.get("input"))
    turn = _read_trailing_turn(members.get("input"), items.copy(), follows)
    return RequestFacts(
        model=text(member(members, "model")),
        streaming=member(members, "stream") is True,
        billing_labels=requested_labels(members),
        background=member(members, "background") is True,
        user_texts=turn.user_texts,
        # Only the provider knows the positions in a conversation that it stores.
        position=None if "conversation" in members else turn.position,
        prefilled=turn.prefilled,
        system=beginnings(_texts(member(members, "instructions")) or _system(items)),
        request_kind=_declared_kind(members, items),
        correlating_tool_call_id=turn.tool_call_id,
        session_hint=text(member(members, "prompt_cache_key")),
        client_metadata=_client_metadata(member(members, "client_metadata")),
    )


def _client_metadata(given: JSON) -> dict[str, str]:
    return {name: found for name, value in mapping(given).items() if (found := text(value))}


def _system(items: list[msgspec.Raw]) -> list[str]:
    """Return the texts of a system prompt at the beginning of the input."""
    first = mapping(read(items[0])) if items else {}
    return _texts(first.get("content")) if first.get("role") in ("system", "developer") else []


def _declared_kind(members: dict[str, msgspec.Raw], items: list[msgspec.Raw]) -> RequestKind | None:
    if member(members, "generate") is False:  # Codex warms up and wants no response
        return "warmup"
    is_trigger = any(mapping(read(item)).get("type") == "compaction_trigger" for item in items[-1:])
    return "compaction" if is_trigger else None


def _read_trailing_turn(
    given: msgspec.Raw | None, left: list[msgspec.Raw], follows: str
) -> TrailingTurn:
    """Read the user messages after the last response, and the tool call of the last result."""
    if given is not None and bytes(memoryview(given)[:1]) == b'"':
        return trailing_turn([[text(read(given)) or ""]], index=0, follows=follows)
    user_texts: list[list[str]] = []
    before: list[str] = []
    tool_call_id = None
    prefilled = drop_prefill(left, _is_text_of_the_model)
    while left:
        item = mapping(read(left.pop()))
        if is_result(item):
            tool_call_id = answered_call_id(item)
            break
        if item.get("type") not in (None, "message") or item.get("role") == "assistant":
            before = _texts(item.get("content"), ("output_text",))
            break
        if item.get("role") == "user":
            user_texts.append(_texts(item.get("content")))
    return trailing_turn(
        user_texts,
        index=len(left),
        before=before,
        follows=follows,
        tool_call_id=tool_call_id,
        prefilled=prefilled,
    )


def _is_text_of_the_model(item: JSON) -> bool:
    return item.get("role") == "assistant" and item.get("type") in (None, "message")


def _texts(content: JSON, kinds: Sequence[str] = ("input_text", "text")) -> list[str]:
    if isinstance(content, str):
        return [text(content) or ""]
    parts = map(mapping, sequence(content))
    return [text(part.get("text")) or "" for part in parts if part.get("type") in kinds]
