"""The Gemini API as the provider speaks it: model and streaming are in the path.

Streams are server-sent events with `alt=sse`, and a JSON array without. A path of Code Assist has
each request and response in an envelope.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from standin.plan import Ask, Call, Plan, Tool, sample
from standin.rendering import ID, Rendered, bare_event, encode, fragments, mapping

_MODEL = re.compile(r"/models/([^/:]+):")
_COUNTED = ("generateContent", "streamGenerateContent")
_STATUS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


@dataclass(slots=True)
class Api:
    """The API at one path."""

    model: str
    """Of the path; empty for Code Assist."""
    streams: bool
    is_sse: bool
    schema: Any = None
    """Schema of the answer, if the request asks for JSON."""

    HEADERS = (("vary", "Origin, X-Origin, Referer"), ("server", "scaffolding on HTTPServer2"))
    REQUEST_ID_HEADER = "x-gemini-request-id"

    @property
    def CONTENT_TYPE(self) -> str:  # noqa: N802 as of the modules of other APIs
        """Content type of a stream."""
        return "text/event-stream" if self.is_sse else "application/json; charset=UTF-8"

    @property
    def is_enveloped(self) -> bool:
        """True for Code Assist."""
        return not self.model

    def read(self, body: dict[str, Any], size: int) -> Ask:
        """Read a request."""
        request = mapping(body.get("request")) if self.is_enveloped else body
        said, results, turns = _read_conversation(request.get("contents") or [])
        config = mapping(_of(_of(request, "toolConfig"), "functionCallingConfig"))
        mode = config.get("mode", "AUTO")
        self.schema = _of(_of(request, "generationConfig"), "responseJsonSchema")
        names = _of(config, "allowedFunctionNames") or [""]
        return Ask(
            model=self.model or body.get("model", ""),
            stream=self.streams,
            said=said,
            results=results,
            turns=turns,
            tools=() if mode == "NONE" else tuple(_tools(request.get("tools") or [])),
            forced=names[0] if mode == "ANY" else None,
            size=size,
        )

    def render_stream(self, plan: Plan, include_usage: bool = True) -> Rendered:
        """Render the chunks of a response."""
        parts: list[Any] = [
            {"text": piece, "thought": True} for piece in fragments(plan.thinking, 16)
        ]
        parts += [{"text": piece} for piece in plan.deltas]
        parts += _calls(plan)
        parts += [{"text": plan.after}] if plan.after else []
        chunks = [_chunk(plan, [part], _usage(plan, whole=False)) for part in parts]
        last = _chunk(plan, [{"text": ""}], _usage(plan))
        last["candidates"][0]["finishReason"] = _finish_reason(plan)
        enveloped = [self._enveloped(chunk) for chunk in (*chunks, last)]
        if self.is_sse:
            return Rendered(tuple(map(bare_event, enveloped)))
        starts = [b"[", *[b",\r\n"] * (len(enveloped) - 1)]
        elements = [start + encode(chunk) for start, chunk in zip(starts, enveloped, strict=True)]
        return Rendered((*elements, b"]"))

    def render_body(self, plan: Plan) -> Rendered:
        """Render a response without streaming."""
        parts: list[Any] = [{"text": plan.thinking, "thought": True}] if plan.thinking else []
        said = plan.text if self.schema is None else json.dumps(sample(self.schema))
        parts += [{"text": said}] if said else []
        parts += _calls(plan)
        parts += [{"text": plan.after}] if plan.after else []
        response = _chunk(plan, parts, _usage(plan))
        response["candidates"][0]["finishReason"] = _finish_reason(plan)
        return Rendered((encode(self._enveloped(response)),))

    def error_body(self, status: int, message: str) -> bytes:
        """Render an error; on a stream it comes as an array."""
        name = _STATUS.get(status, "UNAVAILABLE")
        error = {"error": {"code": status, "message": message, "status": name}}
        return encode([error] if self.streams and not self.is_sse else error)

    def error_event(self) -> bytes:
        """Render an error in the middle of a stream: plain JSON over several lines."""
        error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
        text = json.dumps({"error": error}, indent=2).encode()
        return text + b"\n" if self.is_sse else b",\r\n" + text + b"\n]"

    def _enveloped(self, response: dict[str, Any]) -> dict[str, Any]:
        return {"response": response, "traceId": "trace-1"} if self.is_enveloped else response


def api_of(path: str, query: str) -> Api | None:
    """Return the API at a path that generates content."""
    plain = unquote(path)
    verb = plain.rpartition(":")[2]
    if verb not in _COUNTED:
        return None
    model = _MODEL.search(plain)
    return Api(
        model=model[1] if model else "", streams=verb == _COUNTED[1], is_sse="alt=sse" in query
    )


def _of(given: Any, name: str) -> Any:
    """Return a member in either spelling."""
    snake = re.sub(r"(?=[A-Z])", "_", name).lower()
    return mapping(given).get(name, mapping(given).get(snake))


def _tools(tools: list[Any]) -> list[Tool]:
    declared = [found for tool in tools for found in _of(tool, "functionDeclarations") or []]
    return [
        Tool(found["name"], _of(found, "parametersJsonSchema") or found.get("parameters"))
        for found in declared
    ]


def _read_conversation(contents: list[Any]) -> tuple[str, tuple[str, ...], int]:
    """Return the last text of the user, the results at the end, and the turns in between."""
    results: list[str] = []
    turns = 0
    for content in reversed(contents):
        parts = content.get("parts") or []
        calls = [part for part in parts if _of(part, "functionCall")]
        given = [found for part in parts if (found := _of(part, "functionResponse"))]
        texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
        if content.get("role") == "model":
            turns += bool(calls)
        elif given:
            results = [*map(_result, given), *results] if turns == 0 else results
        elif texts:
            return "\n".join(texts), tuple(results), turns
    return "", tuple(results), turns


def _result(given: dict[str, Any]) -> str:
    response = mapping(given.get("response"))
    shown = next((response[name] for name in ("output", "error") if name in response), response)
    return shown if isinstance(shown, str) else json.dumps(shown)


def _calls(plan: Plan) -> list[dict[str, Any]]:
    """Render calls, of which only the first is signed."""
    parts = [_call(call, number) for number, call in enumerate(plan.calls)]
    return [parts[0] | {"thoughtSignature": "c2lnbmF0dXJl"}, *parts[1:]] if parts else []


def _call(call: Call, number: int) -> dict[str, Any]:
    given = json.loads(call.arguments)
    return {"functionCall": {"name": call.name} | ({"args": given} if given else {})}


def _chunk(plan: Plan, parts: list[Any], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
        "usageMetadata": usage,
        "modelVersion": plan.model,
        "responseId": f"response-{ID}",
    }


def _finish_reason(plan: Plan) -> str:
    return "MAX_TOKENS" if plan.stop_short else "STOP"


def _usage(plan: Plan, *, whole: bool = True) -> dict[str, Any]:
    """Render the usage; before the end of a stream only its input is known."""
    usage = plan.usage
    answered, thoughts = (usage.output - usage.reasoning, usage.reasoning) if whole else (0, 0)
    counted = {
        "promptTokenCount": usage.input_total,
        "cachedContentTokenCount": usage.cache_read,
        "candidatesTokenCount": answered,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": usage.input_total + answered + thoughts,
    }
    return {name: number for name, number in counted.items() if number}
