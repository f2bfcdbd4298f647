"""Reads the model's turn from the items of OpenAI Responses. Sans-io."""

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
"""Types of items in a response, besides messages and calls."""


def turn_of(items: Sequence[JSON], is_completed: bool, names: frozenset[str]) -> Turn:
    """Return the turn; the model waits for results only if its response is completed."""
    read = [mapping(item) for item in items]
    return Turn(
        items=tuple(item for item in read if is_completed or not is_call_of(item, names)),
        calls=tuple(
            InjectedCall(
                call_id=str(item.get("call_id")),
                name=str(item.get("name")),
                arguments=arguments(text(item.get("arguments")) or ""),
            )
            for item in read
            if is_completed and is_call_of(item, names)
        ),
        client_calls=tuple(
            text(item.get("call_id")) or ""
            for item in read
            if is_client_call(item) and not is_call_of(item, names)
        ),
        text=text_of(read),
    )


def is_call_of(item: JSON, names: frozenset[str]) -> bool:
    """Return whether an item calls a tool of one of these names."""
    call = mapping(item)
    return call.get("type") == "function_call" and text(call.get("name")) in names


def is_of_model(item: dict[str, JSON]) -> bool:
    """Return whether an item comes from the model, not from the client."""
    kind = str(item.get("type"))
    return item.get("role") == "assistant" or kind in _OF_MODELS or kind.endswith("_call")


def text_of(items: Sequence[dict[str, JSON]]) -> str:
    """Return the visible text of the model's messages among items."""
    return "".join(
        part
        for item in items
        if item.get("role") == "assistant"
        for part in texts_of(item.get("content"))
    )


def texts_of(content: JSON) -> list[str]:
    """Return the texts of a message's content."""
    if isinstance(content, str):
        return [content]
    kinds = ("input_text", "output_text")
    parts = [mapping(part) for part in sequence(content)]
    return [text(part.get("text")) or "" for part in parts if part.get("type") in kinds]


def summed(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last response's usage with the output of all responses."""
    return summed_usage(usage, before, RESPONSES_NAMES)
