"""What a model does in one answer of OpenAI Responses: says, calls, uses up. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.openai_responses.items import is_client_call
from aibridge_addon.formats.openai_tools import summed_usage
from aibridge_addon.formats.openai_usage import RESPONSES_NAMES
from aibridge_addon.formats.tool_protocol import InjectedCall, Turn
from aibridge_addon.raw_json import JSON, arguments, mapping, sequence, text

_OF_MODELS = frozenset(
    {
        "reasoning",
        "compaction",
        "additional_tools",
        "mcp_list_tools",
        "mcp_approval_request",
        "program",
        "program_output",
    }
)
"""Items of an answer, besides messages and calls."""


def turn_of(items: Sequence[JSON], is_completed: bool, names: frozenset[str]) -> Turn:
    """Return the turn of a response's items; it waits for results only if it is complete."""
    whole = [mapping(item) for item in items]
    return Turn(
        items=tuple(item for item in whole if is_completed or not is_call_of(item, names)),
        calls=tuple(
            InjectedCall(
                call_id=str(item.get("call_id")),
                name=str(item.get("name")),
                arguments=arguments(text(item.get("arguments")) or ""),
            )
            for item in whole
            if is_completed and is_call_of(item, names)
        ),
        client_calls=tuple(
            text(item.get("call_id")) or ""
            for item in whole
            if is_client_call(item) and not is_call_of(item, names)
        ),
        text=text_of(whole),
    )


def is_call_of(item: JSON, names: frozenset[str]) -> bool:
    """Whether an item calls a tool of one of these names."""
    whole = mapping(item)
    return whole.get("type") == "function_call" and text(whole.get("name")) in names


def is_models(item: dict[str, JSON]) -> bool:
    """Whether an item is the model's, not the client's."""
    kind = str(item.get("type"))
    return item.get("role") == "assistant" or kind in _OF_MODELS or kind.endswith("_call")


def text_of(items: Sequence[dict[str, JSON]]) -> str:
    """Return what the messages among the model's items say aloud."""
    return "".join(
        said
        for item in items
        if item.get("role") == "assistant"
        for said in said_in(item.get("content"))
    )


def said_in(content: JSON) -> list[str]:
    """Return the texts of a message's content."""
    if isinstance(content, str):
        return [content]
    kinds = ("input_text", "output_text")
    parts = [mapping(part) for part in sequence(content)]
    return [text(part.get("text")) or "" for part in parts if part.get("type") in kinds]


def summed(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last answer's usage with the output of all: what the client's context holds."""
    return summed_usage(usage, before, RESPONSES_NAMES)
