"""Anthropic Messages as the provider speaks it: requests in, events or a message out."""

import json
import time
from functools import lru_cache
from typing import Any

from standin.plan import Ask, Call, Plan, Tool
from standin.rendering import ID, Rendered, encode, fragments, mapping, named_event, text_of, words

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}

HEADERS = (
    ("anthropic-organization-id", "00000000-0000-4000-8000-000000000001"),
    ("anthropic-ratelimit-requests-limit", "4000"),
    ("anthropic-ratelimit-requests-remaining", "3999"),
    ("anthropic-ratelimit-tokens-remaining", "399000"),
    ("anthropic-ratelimit-unified-status", "allowed"),
    ("anthropic-ratelimit-unified-5h-utilization", "0.42"),
    ("anthropic-ratelimit-unified-5h-reset", str(int(time.time()) + 3 * 3600)),
    ("anthropic-ratelimit-unified-7d-utilization", "0.07"),
    ("anthropic-ratelimit-unified-7d-reset", str(int(time.time()) + 5 * 86400)),
)
REQUEST_ID_HEADER = "request-id"


def read(body: dict[str, Any], size: int) -> Ask:
    """Read a request."""
    said, results, turns = _read_conversation(body.get("messages") or [])
    choice = mapping(body.get("tool_choice"))
    kind = choice.get("type", "auto")
    offered = [] if kind == "none" else body.get("tools") or []
    return Ask(
        model=body.get("model", ""),
        stream=body.get("stream") is True,
        said=said,
        results=results,
        turns=turns,
        tools=tuple(
            Tool(tool["name"], tool["input_schema"]) for tool in offered if "input_schema" in tool
        ),
        forced={"tool": choice.get("name"), "any": ""}.get(kind),
        size=size,
    )


def _read_conversation(messages: list[dict[str, Any]]) -> tuple[str, tuple[str, ...], int]:
    """Return the last text of the user, the results at the end, and the turns in between."""
    last: tuple[str, ...] = ()
    turns = 0
    for message in reversed(messages):
        if message.get("role") != "user":
            continue
        results = _results(message.get("content"))
        if not results:
            return text_of(message.get("content")), last, turns
        last = last or results
        turns += 1
    return "", last, turns


def _results(content: Any) -> tuple[str, ...]:
    if not isinstance(content, list):
        return ()
    return tuple(
        ("error: " if block.get("is_error") else "") + text_of(block.get("content"))
        for block in content
        if block.get("type") == "tool_result"
    )


@lru_cache(1024)
def render_stream(plan: Plan, include_usage: bool = True) -> Rendered:
    """Render the events of a message."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": _start(plan)}]
    for index, block in enumerate(_blocks(plan)):
        opening, deltas = _streamed(block)
        events.append({"type": "content_block_start", "index": index, "content_block": opening})
        if index == 0:
            events.append({"type": "ping"})
        events += (
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        )
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": _stop_reason(plan), "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": _delta_usage(plan)})
    events.append({"type": "message_stop"})
    return Rendered(tuple(map(named_event, events)))


@lru_cache(1024)
def render_body(plan: Plan) -> Rendered:
    """Render a message."""
    message = _start(plan) | {
        "content": _blocks(plan),
        "stop_reason": _stop_reason(plan),
        "usage": _usage(plan) | {"output_tokens": plan.usage.output},
    }
    return Rendered((encode(message),))


def error_body(status: int, message: str) -> bytes:
    """Render an error."""
    error = {"type": _ERROR_TYPES.get(status, "api_error"), "message": message}
    return encode({"type": "error", "error": error, "request_id": f"req_{ID}"})


def error_event() -> bytes:
    """Render an error in the middle of a stream."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    return named_event({"type": "error", "error": error, "request_id": f"req_{ID}"})


def _start(plan: Plan) -> dict[str, Any]:
    return {
        "id": f"msg_{ID}",
        "type": "message",
        "role": "assistant",
        "model": plan.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(plan),
    }


def _blocks(plan: Plan) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if plan.thinking:
        signature = "c2lnbmF0dXJlIG9mIHRoZSBzdGFuZC1pbg=="
        blocks.append({"type": "thinking", "thinking": plan.thinking, "signature": signature})
    if plan.deltas:
        blocks.append({"type": "text", "text": plan.text})
    blocks += (_tool_use(number, call) for number, call in enumerate(plan.calls))
    if plan.after:
        blocks.append({"type": "text", "text": plan.after})
    return blocks


def _tool_use(number: int, call: Call) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": f"toolu_{ID}_{number}",
        "name": call.name,
        "input": json.loads(call.arguments),
    }


def _streamed(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how a block begins, and what follows."""
    match block["type"]:
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": piece}
                for piece in fragments(block["thinking"], 16)
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return block | {"thinking": "", "signature": ""}, deltas
        case "text":
            return block | {"text": ""}, [
                {"type": "text_delta", "text": piece} for piece in words(block["text"])
            ]
    pieces = ["", *fragments(json.dumps(block["input"]))]
    return block | {"input": {}}, [
        {"type": "input_json_delta", "partial_json": piece} for piece in pieces
    ]


def _stop_reason(plan: Plan) -> str:
    if plan.stop_short:
        return "max_tokens"
    return "tool_use" if plan.calls else "end_turn"


def _usage(plan: Plan) -> dict[str, Any]:
    """Return the usage as a message begins."""
    usage = plan.usage
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": 1,
        "service_tier": "standard",
    }


def _delta_usage(plan: Plan) -> dict[str, Any]:
    """Return the usage as a message ends: cumulative, and not all of it again."""
    usage = plan.usage
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
