"""Reads requests of Converse. Sans-io."""

from aibridge_addon.facts import RequestFacts
from aibridge_addon.formats.bedrock import labels_in
from aibridge_addon.formats.prompts import beginnings, trailing_turn_of_messages
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, mapping, member, sequence, text


def read_request(members: Members) -> RequestFacts:
    """Read a request, given its members."""
    turn = trailing_turn_of_messages(
        members.get("messages"),
        is_prefill=_is_text_of_the_model,
        texts_of=_texts,
        last_result=_last_result,
    )
    labels = ("serviceTier", "performanceConfig")
    return RequestFacts(
        streaming=member(members, "stream") is True,
        billing_labels={
            name: str(label)
            for name, label in labels_in({name: member(members, name) for name in labels}).items()
        },
        user_texts=turn.user_texts,
        position=turn.position,
        prefilled=turn.prefilled,
        system=beginnings(_texts(member(members, "system"))),
        correlating_tool_call_id=turn.tool_call_id,
    )


def _is_text_of_the_model(message: JSON) -> bool:
    """Return True for a response of text alone: calls and thoughts come from the model only."""
    blocks = map(mapping, sequence(message.get("content")))
    return message.get("role") == "assistant" and all("text" in block for block in blocks)


def _texts(content: JSON) -> list[str]:
    blocks = map(mapping, sequence(content))
    return [found for block in blocks if (found := text(block.get("text"))) is not None]


def _last_result(turn: list[JSON]) -> str | None:
    """Return the id of the call that the last result belongs to; the newest message is first."""
    for block in (mapping(block) for content in turn for block in reversed(sequence(content))):
        if tool_call_id := text(mapping(block.get("toolResult")).get("toolUseId")):
            return tool_call_id
    return None
