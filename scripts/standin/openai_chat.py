"""OpenAI Chat Completions as the provider speaks it: requests in, chunks or a completion out."""

from functools import lru_cache
from typing import Any

from standin.openai_shared import HEADERS, REQUEST_ID_HEADER, error_body
from standin.plan import Ask, Call, Plan, Tool
from standin.rendering import (
    CREATED,
    ID,
    Rendered,
    bare_event,
    encode,
    fragments,
    mapping,
    text_of,
)

__all__ = [
    "HEADERS",
    "REQUEST_ID_HEADER",
    "error_body",
    "error_event",
    "read",
    "render_body",
    "render_stream",
]


def read(body: dict[str, Any], size: int) -> Ask:
    """Read a request."""
    said, results, turns = _read_conversation(body.get("messages") or [])
    choice = body.get("tool_choice", "auto")
    offered = [] if choice == "none" else body.get("tools") or []
    return Ask(
        model=body.get("model", ""),
        stream=body.get("stream") is True,
        said=said,
        results=results,
        turns=turns,
        tools=tuple(_tool(tool) for tool in offered if tool.get("type") in ("function", "custom")),
        forced="" if choice == "required" else _named(mapping(choice)),
        size=size,
        include_usage=mapping(body.get("stream_options")).get("include_usage") is True,
    )


def _tool(tool: dict[str, Any]) -> Tool:
    definition = tool[tool["type"]]
    return Tool(definition["name"], definition.get("parameters"), tool["type"] == "custom")


def _named(choice: dict[str, Any]) -> str | None:
    return mapping(choice.get(choice.get("type", ""))).get("name")


def _read_conversation(messages: list[dict[str, Any]]) -> tuple[str, tuple[str, ...], int]:
    """Return the last text of the user, the results at the end, and the turns in between."""
    results: list[str] = []
    turns = 0
    for message in reversed(messages):
        match message.get("role"):
            case "user":
                return text_of(message.get("content")), tuple(reversed(results)), turns
            case "tool" if turns == 0:
                results.append(text_of(message.get("content")))
            case "assistant" if message.get("tool_calls"):
                turns += 1
    return "", tuple(reversed(results)), turns


@lru_cache(1024)
def render_stream(plan: Plan, include_usage: bool = True) -> Rendered:
    """Render the chunks of a completion."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += ({"reasoning_content": piece} for piece in fragments(plan.thinking, 16))
    deltas += ({"content": piece} for piece in plan.deltas)
    for number, call in enumerate(plan.calls):
        deltas += ({"tool_calls": [piece]} for piece in _streamed(number, call))
    if plan.after:
        deltas.append({"content": plan.after})
    chunks = [_chunk(plan, [_choice(delta, None)], include_usage) for delta in deltas]
    chunks.append(_chunk(plan, [_choice({}, _finish_reason(plan))], include_usage))
    if include_usage:
        chunks.append(_chunk(plan, [], include_usage) | {"usage": _usage(plan)})
    return Rendered((*map(bare_event, chunks), b"data: [DONE]\n\n"))


@lru_cache(1024)
def render_body(plan: Plan) -> Rendered:
    """Render a completion."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": plan.text + plan.after,
        "refusal": None,
        "annotations": [],
    }
    if plan.thinking:
        message["reasoning_content"] = plan.thinking
    if plan.calls:
        message["tool_calls"] = [_tool_call(*pair) for pair in enumerate(plan.calls)]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish_reason(plan),
    }
    completion = _head(plan, "chat.completion") | {"choices": [choice], "usage": _usage(plan)}
    return Rendered((encode(completion),))


def error_event() -> bytes:
    """Render an error in the middle of a stream."""
    error = {"message": "The server had an error.", "type": "server_error", "code": None}
    return bare_event({"error": error | {"param": None}})


def _head(plan: Plan, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{ID}",
        "object": kind,
        "created": CREATED,
        "model": plan.model,
        "service_tier": "default",
        "system_fingerprint": "fp_standin",
    }


def _chunk(plan: Plan, choices: list[dict[str, Any]], include_usage: bool) -> dict[str, Any]:
    chunk = _head(plan, "chat.completion.chunk") | {"choices": choices}
    return chunk | {"usage": None} if include_usage else chunk


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _tool_call(number: int, call: Call) -> dict[str, Any]:
    head = {"id": f"call_{ID}_{number}", "type": "custom" if call.custom else "function"}
    if call.custom:
        return head | {"custom": {"name": call.name, "input": call.arguments}}
    return head | {"function": {"name": call.name, "arguments": call.arguments}}


def _streamed(number: int, call: Call) -> list[dict[str, Any]]:
    """Return how a call begins, and what follows."""
    kind, field = ("custom", "input") if call.custom else ("function", "arguments")
    opening = {"index": number} | _tool_call(number, call)
    opening[kind] = {"name": call.name, field: ""}
    return [
        opening,
        *({"index": number, kind: {field: piece}} for piece in fragments(call.arguments)),
    ]


def _finish_reason(plan: Plan) -> str:
    if plan.stop_short:
        return "length"
    return "tool_calls" if plan.calls else "stop"


def _usage(plan: Plan) -> dict[str, Any]:
    # This API names no cache writes: to it they are input like any other.
    usage = plan.usage
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output,
        "total_tokens": usage.input_total + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
