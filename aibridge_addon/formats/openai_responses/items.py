"""Reads the items of OpenAI Responses: calls with their input, and thoughts. Sans-io.

A call whose output is in the same response was run by the provider, whatever its type.
"""

from collections.abc import Iterator, Mapping, Sequence

from aibridge_addon.facts import Thought, ToolCall
from aibridge_addon.raw_json import JSON, arguments, mapping, sequence, text

CLIENT_CALLS: Mapping[str, tuple[str, ...]] = {
    "function_call": ("arguments",),
    "custom_tool_call": ("input",),
    "local_shell_call": ("action",),
    "shell_call": ("action",),
    "apply_patch_call": ("operation",),
    "computer_call": ("actions", "action"),
    "tool_search_call": ("arguments",),
}
"""Types of calls that the client runs, and the members for their input: the first one counts."""

_SERVER_CALLS: Mapping[str, tuple[str, ...]] = {
    "web_search_call": ("action", "queries", "query"),
    "file_search_call": ("queries",),
    "code_interpreter_call": ("code",),
    "image_generation_call": ("prompt", "revised_prompt"),
    "mcp_call": ("arguments",),
    "mcp_approval_request": ("arguments",),
    "program": ("code",),
}
"""Types of calls that the provider runs itself, perhaps after the client's approval."""

_ANY_INPUT = ("arguments", "input", "actions", "action", "operation", "queries", "code", "prompt")
"""Members that may hold the input of a call of unknown type."""

_THINKING_PARTS = ("thinking", "reasoning", "reasoning_text")


def read_calls(items: Sequence[dict[str, JSON]]) -> tuple[ToolCall, ...]:
    """Read the calls among the items of a response."""
    answered = answered_calls(items)
    return tuple(
        call for n, item in enumerate(items) if (call := read_call(item, is_answered=n in answered))
    )


def answered_calls(items: Sequence[dict[str, JSON]]) -> frozenset[int]:
    """Find the calls whose output is among the items too, by position.

    An output that names no call belongs to the last call of its type before it.
    """
    answered = set()
    by_id: dict[str, int] = {}
    last_of_kind: dict[str, int] = {}
    for n, item in enumerate(items):
        kind = str(item.get("type"))
        if not kind.endswith("_output"):
            last_of_kind[kind.removesuffix("_call")] = n
            ids = (text(item.get("id")), text(item.get("call_id")))
            by_id |= {one: n for one in ids if one}
            continue
        named = text(item.get("call_id"))
        call = by_id.get(named or text(item.get("id")) or "")
        if call is None and named is None:
            call = last_of_kind.get(kind.removesuffix("_output").removesuffix("_call"))
        if call is not None:
            answered.add(call)
    return frozenset(answered)


def is_client_call(item: dict[str, JSON], *, is_answered: bool = False) -> bool:
    """Return whether an item is a call that the client must run."""
    kind = str(item.get("type"))
    if is_answered or kind in _SERVER_CALLS or item.get("execution") == "server":
        return False
    place = mapping(item.get("environment")).get("type")
    return place in (None, "local") and (kind in CLIENT_CALLS or _is_unknown_call(item))


def answered_call_id(item: dict[str, JSON]) -> str | None:
    """Return the id of the call or approval request that an item of a request answers, if any."""
    kind = str(item.get("type"))
    if kind == "mcp_approval_response":
        return text(item.get("approval_request_id"))
    if kind == "local_shell_call_output":  # it has no `call_id`: its id is the call's
        return text(item.get("call_id")) or text(item.get("id"))
    return text(item.get("call_id")) if kind.endswith("_output") else None


def is_result(item: dict[str, JSON]) -> bool:
    """Return whether an item of a request is a call's output or an approval."""
    kind = str(item.get("type"))
    return kind.endswith("_output") or kind == "mcp_approval_response"


def input_field(item: dict[str, JSON]) -> str | None:
    """Return the member for the input of a client's call, which a stream sends in fragments."""
    fields = CLIENT_CALLS.get(str(item.get("type")))
    return fields[0] if fields else None


def _is_unknown_call(item: dict[str, JSON]) -> bool:
    kind = str(item.get("type"))
    return kind.endswith("_call") and kind not in CLIENT_CALLS and bool(text(item.get("call_id")))


def read_call(item: dict[str, JSON], *, is_answered: bool) -> ToolCall | None:
    """Read an item; None if it is not a call. `is_answered`: its output is in the same response."""
    kind = str(item.get("type"))
    fields = CLIENT_CALLS.get(kind) or _SERVER_CALLS.get(kind)
    if fields is None:
        if not kind.endswith("_call"):
            return None
        fields = _ANY_INPUT
    return ToolCall(
        tool=text(item.get("name")) or kind.removesuffix("_call"),
        call_id=text(item.get("call_id")) or text(item.get("id")),
        input=_input(item, fields),
        server_side=not is_client_call(item, is_answered=is_answered),
        asks_approval=kind == "mcp_approval_request",
    )


def _input(item: dict[str, JSON], fields: Sequence[str]) -> JSON:
    for field in fields:
        if (given := item.get(field)) is not None:
            is_coded = field == "arguments" and isinstance(given, str)
            return arguments(given) if is_coded else given
    return {}


def read_thoughts(items: Sequence[dict[str, JSON]]) -> tuple[Thought, ...]:
    """Read the thoughts among the items of a response."""
    return tuple(thought for item in items for thought in _thoughts(item))


def _thoughts(item: dict[str, JSON]) -> Iterator[Thought]:
    content = item.get("content")
    match item.get("type"):
        case "reasoning":
            if summary := _texts(item.get("summary"), "summary_text"):
                yield Thought(content=summary, source="reasoning_summary")
            elif thinking := _texts(content, "text", *_THINKING_PARTS):
                yield Thought(content=thinking, source="thinking")
        case "message" | None:
            if thinking := _texts(content, *_THINKING_PARTS):
                yield Thought(content=thinking, source="thinking")
            if item.get("phase") == "commentary" and (comment := _texts(content, "output_text")):
                yield Thought(content=comment, source="commentary")


def _texts(parts: JSON, *kinds: str) -> str:
    found = [mapping(part) for part in sequence(parts)]
    texts = [
        text(part.get("text")) or text(part.get(str(part.get("type"))))
        for part in found
        if part.get("type") in kinds
    ]
    return "\n".join(filter(None, texts))
