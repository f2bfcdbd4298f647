"""Ollama's own API as the server speaks it: requests in, lines of JSON or a document out."""

from functools import lru_cache
from typing import Any

import msgspec

from standin.asked import Asked
from standin.plan import Ask, Call, Plan, Tool
from standin.rendering import Rendered, encode, mapping, text_of

CONTENT_TYPE = "application/x-ndjson"
HEADERS = ()
REQUEST_ID_HEADER = "x-standin-request-id"


def read(body: dict[str, Any], size: int) -> Ask:
    """Read a request of either route."""
    said, results, turns = _read_conversation(body.get("messages") or [])
    return Ask(
        model=body.get("model", ""),
        stream=body.get("stream") is not False,
        said=said or body.get("prompt", ""),
        results=results,
        turns=turns,
        tools=tuple(map(_tool, body.get("tools") or [])),
        forced=None,
        size=size,
    )


def _tool(tool: dict[str, Any]) -> Tool:
    function = mapping(tool.get("function"))
    return Tool(function["name"], function.get("parameters"))


def _read_conversation(messages: list[dict[str, Any]]) -> tuple[str, tuple[str, ...], int]:
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


class _Route:
    """One of the two routes: they differ in the member that has the text."""

    CONTENT_TYPE, HEADERS, REQUEST_ID_HEADER = CONTENT_TYPE, HEADERS, REQUEST_ID_HEADER
    read = staticmethod(read)

    def __init__(self, *, is_chat: bool) -> None:
        self._is_chat = is_chat

    @lru_cache(1024)  # noqa: B019 there are two instances
    def render_stream(self, plan: Plan, include_usage: bool = True) -> Rendered:
        """Render the lines of a response."""
        pieces = [self._piece(thinking=plan.thinking)] if plan.thinking else []
        pieces += [self._piece(text) for text in (*plan.deltas, plan.after) if text]
        if plan.calls:
            pieces.append(self._piece(calls=plan.calls))
        lines = [_head(plan) | piece | {"done": False} for piece in pieces]
        lines.append(_head(plan) | self._piece() | _end(plan))
        return Rendered(tuple(encode(line) + b"\n" for line in lines))

    @lru_cache(1024)  # noqa: B019 there are two instances
    def render_body(self, plan: Plan) -> Rendered:
        """Render a response as one document."""
        piece = self._piece(plan.text + plan.after, thinking=plan.thinking, calls=plan.calls)
        return Rendered((encode(_head(plan) | piece | _end(plan)),))

    def _piece(
        self, text: str = "", *, thinking: str = "", calls: tuple[Call, ...] = ()
    ) -> dict[str, Any]:
        thought = {"thinking": thinking} if thinking else {}
        if not self._is_chat:
            return {"response": text, **thought}
        message: dict[str, Any] = {"role": "assistant", "content": text, **thought}
        if calls:
            message["tool_calls"] = [_call(call) for call in calls]
        return {"message": message}

    @staticmethod
    def error_event() -> bytes:
        """Render an error in the middle of a stream."""
        return encode({"error": "an error was encountered while running the model"}) + b"\n"

    @staticmethod
    def error_body(status: int, message: str) -> bytes:
        """Render an error."""
        return encode({"error": message})


def _call(call: Call) -> dict[str, Any]:
    return {"function": {"name": call.name, "arguments": msgspec.json.decode(call.arguments)}}


def _head(plan: Plan) -> dict[str, Any]:
    return {"model": plan.model, "created_at": "2026-01-01T00:00:00Z"}


def _end(plan: Plan) -> dict[str, Any]:
    usage = plan.usage
    return {
        "done": True,
        "done_reason": "length" if plan.stop_short else "stop",
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": usage.input_total,
        "prompt_eval_cached_count": usage.cache_read,
        "prompt_eval_duration": 1_000_000,
        "eval_count": usage.output,
        "eval_duration": 3_000_000,
    }


ROUTES: dict[str, Any] = {
    "/api/chat": _Route(is_chat=True),
    "/api/generate": _Route(is_chat=False),
}


def embedded(asked: Asked) -> dict[str, Any]:
    """Return the answer of `/api/embed`, and of the older route, which counts no tokens."""
    if asked.path == "/api/embeddings":
        return {"embedding": [0.25, -0.5]}
    given = asked.members.get("input")
    number = len(given) if isinstance(given, list) else 1
    counted = {"prompt_eval_count": asked.plan.usage.input_total, "total_duration": 5_000_000}
    return {"model": asked.model, "embeddings": [[0.25, -0.5]] * number, **counted}
