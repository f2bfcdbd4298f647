"""Reads requests of Anthropic Messages. Sans-io."""

from aibridge_addon.facts import RequestFacts
from aibridge_addon.formats.billing_labels import requested_labels
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, trailing_turn_of_messages
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, mapping, member, read, sequence, text

_PROBE = "."


def read_request(members: Members) -> RequestFacts:
    """Read a request, given its members."""
    turn = trailing_turn_of_messages(
        members.get("messages"),
        is_prefill=_is_text_of_the_model,
        texts_of=_texts,
        last_result=_last_result,
    )
    return RequestFacts(
        model=text(member(members, "model")),
        streaming=member(members, "stream") is True,
        billing_labels=requested_labels(members),
        user_texts=turn.user_texts,
        position=turn.position,
        prefilled=turn.prefilled,
        system=beginnings(_texts(member(members, "system"))),
        correlating_tool_call_id=turn.tool_call_id,
        request_kind="side" if _is_probe(members, turn) else None,
        session_hint=_session(mapping(member(members, "metadata")).get("user_id")),
    )


def _is_probe(members: Members, turn: TrailingTurn) -> bool:
    """Return True for a request of Claude Code that only tries a model, at its start on Bedrock."""
    return turn.user_texts == ((_PROBE,),) and member(members, "max_tokens") == 1


def _is_text_of_the_model(message: JSON) -> bool:
    """Return True for a response of text alone: calls and thoughts come from the model only."""
    content = message.get("content")
    blocks = map(mapping, sequence(content))
    return message.get("role") == "assistant" and (
        isinstance(content, str) or all(block.get("type") == "text" for block in blocks)
    )


def _texts(content: JSON) -> list[str]:
    if isinstance(content, str):
        return [text(content) or ""]
    blocks = map(mapping, sequence(content))
    return [text(block.get("text")) or "" for block in blocks if block.get("type") == "text"]


def _last_result(turn: list[JSON]) -> str | None:
    """Return the id of the call that the last result belongs to; the newest message is first."""
    for block in (mapping(block) for content in turn for block in reversed(sequence(content))):
        is_result = block.get("type") == "tool_result"
        if is_result and (tool_call_id := text(block.get("tool_use_id"))):
            return tool_call_id
    return None


def _session(user_id: JSON) -> str | None:
    """Return the session in `metadata.user_id`, in either shape that Claude Code uses."""
    if not isinstance(user_id, str):
        return None
    if user_id.startswith("{"):
        return text(mapping(read(user_id.encode("utf-8", "replace"))).get("session_id"))
    _, _, session = user_id.partition("_session_")
    return text(session) or None
