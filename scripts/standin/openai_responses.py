"""OpenAI Responses as the provider speaks it: requests in, events or a response out."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from standin.openai_shared import HEADERS, REQUEST_ID_HEADER, error_body
from standin.plan import Ask, Call, Plan, Tool, Usage
from standin.rendering import (
    CREATED,
    ID,
    Rendered,
    encode,
    fragments,
    mapping,
    named_event,
    text_of,
    words,
)

__all__ = [
    "HEADERS",
    "REQUEST_ID_HEADER",
    "error_body",
    "error_event",
    "read",
    "render_body",
    "render_stream",
    "render_warm_up",
]

_RESULTS = ("function_call_output", "custom_tool_call_output")


def read(body: dict[str, Any], size: int) -> Ask:
    """Read a request."""
    given = body.get("input") or ""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    said, results, turns = _read_conversation(items)
    choice = body.get("tool_choice", "auto")
    offered = [] if choice == "none" else body.get("tools") or []
    return Ask(
        model=body.get("model", ""),
        stream=body.get("stream") is True,
        said=said,
        results=results,
        turns=turns,
        tools=tuple(
            Tool(tool["name"], tool.get("parameters"), tool["type"] == "custom")
            for tool in offered
            if tool.get("type") in ("function", "custom")
        ),
        forced="" if choice == "required" else mapping(choice).get("name"),
        size=size,
    )


def _read_conversation(items: list[dict[str, Any]]) -> tuple[str, tuple[str, ...], int]:
    """Return the last text of the user, the results at the end, and the turns in between."""
    results: list[str] = []
    turns = 0
    among_results = False
    for item in reversed(items):
        if item.get("type") in _RESULTS:
            turns += not among_results
            among_results = True
            if turns == 1:
                results.append(text_of(item.get("output")))
            continue
        among_results = False
        if item.get("role") == "user":
            return text_of(item.get("content")), tuple(reversed(results)), turns
    return "", tuple(reversed(results)), turns


@lru_cache(1024)
def render_stream(plan: Plan, include_usage: bool = True) -> Rendered:
    """Render the events of a response."""
    started = _response(plan, [], "in_progress")
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    items = _items(plan)
    for index, item in enumerate(items):
        events += ({**event, "output_index": index} for event in _streamed(item))
    ended = _ended(plan, items)
    events.append({"type": f"response.{ended['status']}", "response": ended})
    numbered = ({**event, "sequence_number": number} for number, event in enumerate(events))
    return Rendered(tuple(map(named_event, numbered)))


@lru_cache
def render_warm_up(model: str) -> Rendered:
    """Render the answer to a request that generates nothing."""
    plan = Plan(model, (), "", (), Usage(0, 0, 0, 0))
    started, ended = _response(plan, [], "in_progress"), _ended(plan, [])
    return Rendered(
        (
            named_event({"type": "response.created", "response": started, "sequence_number": 0}),
            named_event({"type": "response.completed", "response": ended, "sequence_number": 1}),
        )
    )


@lru_cache(1024)
def render_body(plan: Plan) -> Rendered:
    """Render a response."""
    return Rendered((encode(_ended(plan, _items(plan))),))


def error_event() -> bytes:
    """Render an error in the middle of a stream."""
    return named_event(
        {
            "type": "error",
            "code": "server_error",
            "message": "The server had an error.",
            "param": None,
            "sequence_number": 0,
        }
    )


def _response(plan: Plan, output: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {
        "id": f"resp_{ID}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": plan.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }


def _ended(plan: Plan, items: list[dict[str, Any]]) -> dict[str, Any]:
    status = "incomplete" if plan.stop_short else "completed"
    response = _response(plan, items, status) | {"usage": _usage(plan)}
    if plan.stop_short:
        response["incomplete_details"] = {"reason": "max_output_tokens"}
    return response


def _items(plan: Plan) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if plan.thinking:
        summary = [{"type": "summary_text", "text": plan.thinking}]
        items.append({"id": f"rs_{ID}", "type": "reasoning", "summary": summary})
    if plan.deltas:
        items.append(_message(f"msg_{ID}", plan.text))
    items += (_call(number, call) for number, call in enumerate(plan.calls))
    if plan.after:
        items.append(_message(f"msg_{ID}_after", plan.after))
    return items


def _message(message_id: str, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": message_id,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _call(number: int, call: Call) -> dict[str, Any]:
    kind, field = ("custom_tool_call", "input") if call.custom else ("function_call", "arguments")
    return {
        "id": f"{'ctc' if call.custom else 'fc'}_{ID}_{number}",
        "type": kind,
        "status": "completed",
        "call_id": f"call_{ID}_{number}",
        "name": call.name,
        field: call.arguments,
    }


def _streamed(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give out the events of one item."""
    about = {"item_id": item["id"]}
    match item["type"]:
        case "reasoning":
            yield {"type": "response.output_item.added", "item": item | {"summary": []}}
            yield from _streamed_summary(item, about)
        case "message":
            opening = item | {"content": [], "status": "in_progress"}
            yield {"type": "response.output_item.added", "item": opening}
            yield from _streamed_text(item, about)
        case kind:
            field = "input" if kind == "custom_tool_call" else "arguments"
            name = "custom_tool_call_input" if field == "input" else "function_call_arguments"
            opening = item | {field: "", "status": "in_progress"}
            yield {"type": "response.output_item.added", "item": opening}
            for piece in fragments(item[field]):
                yield {"type": f"response.{name}.delta", **about, "delta": piece}
            done = {"type": f"response.{name}.done", **about, field: item[field]}
            yield done if field == "input" else done | {"name": item["name"]}
    yield {"type": "response.output_item.done", "item": item}


def _streamed_summary(item: dict[str, Any], about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for index, part in enumerate(item["summary"]):
        at = {**about, "summary_index": index}
        event = "response.reasoning_summary"
        yield {"type": f"{event}_part.added", **at, "part": part | {"text": ""}}
        for piece in fragments(part["text"], 16):
            yield {"type": f"{event}_text.delta", **at, "delta": piece}
        yield {"type": f"{event}_text.done", **at, "text": part["text"]}
        yield {"type": f"{event}_part.done", **at, "part": part}


def _streamed_text(item: dict[str, Any], about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    part = item["content"][0]
    at = {**about, "content_index": 0}
    yield {"type": "response.content_part.added", **at, "part": part | {"text": ""}}
    for piece in words(part["text"]):
        yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}


def _usage(plan: Plan) -> dict[str, Any]:
    usage = plan.usage
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input_total + usage.output,
    }
