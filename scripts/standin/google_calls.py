"""Google's calls other than generating content: vectors, images, caches and interactions."""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from standin.asked import Asked
from standin.messages import Response
from standin.openai_calls import PNG
from standin.plan import THOUGHT, Plan, tokens
from standin.rendering import ID, encode

_VECTOR = {"values": [0.25, -0.5]}
_TIME = "2026-11-28T10:00:00Z"


def count_tokens(asked: Asked) -> Response:
    """Answer `:countTokens`."""
    return asked.json({"totalTokens": asked.plan.usage.input_total})


def embed(asked: Asked) -> Response:
    """Answer `:embedContent`."""
    return asked.json({"embedding": _VECTOR, "usageMetadata": _prompt_usage(asked)})


def embed_all(asked: Asked) -> Response:
    """Answer `:batchEmbedContents`, which the SDK uses for a single text too."""
    vectors = [_VECTOR] * len(asked.members.get("requests") or [0])
    return asked.json({"embeddings": vectors, "usageMetadata": _prompt_usage(asked)})


def _prompt_usage(asked: Asked) -> dict[str, int]:
    return {"promptTokenCount": asked.plan.usage.input_total}


def predict(asked: Asked) -> Response:
    """Answer `:predict`: images of Imagen, vectors of other models."""
    instances = asked.members.get("instances") or []
    parameters = asked.members.get("parameters") or {}
    if asked.model.startswith("imagen"):
        image = {"mimeType": "image/png", "bytesBase64Encoded": base64.b64encode(PNG).decode()}
        return asked.json({"predictions": [image] * int(parameters.get("sampleCount") or 1)})
    found = []
    for instance in instances:
        statistics = {"token_count": tokens(str(instance.get("content", ""))), "truncated": False}
        found.append({"embeddings": {**_VECTOR, "statistics": statistics}})
    return asked.json({"predictions": found})


CALLS: Mapping[str, Callable[[Asked], Response]] = {
    "countTokens": count_tokens,
    "embedContent": embed,
    "batchEmbedContents": embed_all,
    "predict": predict,
}
"""By the verb at the end of a path."""


def cache(asked: Asked) -> Response:
    """Answer `POST /cachedContents`."""
    return asked.json(
        {
            "name": f"cachedContents/{ID}",
            "model": asked.model,
            "createTime": _TIME,
            "expireTime": "2026-11-28T11:00:00Z",
            "usageMetadata": {"totalTokenCount": asked.plan.usage.input_total},
        }
    )


def interaction(asked: Asked) -> Response:
    """Answer `POST /interactions`, streamed or whole."""
    whole = _interaction(asked)
    if not asked.streams:
        return asked.json(whole)
    begun = {name: whole[name] for name in ("id", "object", "model")} | {"status": "in_progress"}
    events = [{"event_type": "interaction.created", "interaction": begun}]
    for number, step in enumerate(whole["steps"]):
        events += _steps(number, step)
    events.append({"event_type": "interaction.completed", "interaction": {**whole, "steps": []}})
    return asked.events([*map(_event, events), b"event: done\ndata: [DONE]\n\n"])


def _interaction(asked: Asked) -> dict[str, Any]:
    plan = asked.plan
    steps: list[dict[str, Any]] = []
    if plan.thinking:
        summary = [{"type": "text", "text": THOUGHT}]
        steps.append({"type": "thought", "signature": "c2ln", "summary": summary})
    steps.append({"type": "model_output", "content": [{"type": "text", "text": plan.text}]})
    return {
        "id": f"v1_{ID}",
        "object": "interaction",
        "model": asked.model,
        "status": "completed",
        "created": _TIME,
        "updated": _TIME,
        "usage": _interaction_usage(plan),
        "steps": steps,
    }


def _interaction_usage(plan: Plan) -> dict[str, int]:
    usage = plan.usage
    return {
        "total_input_tokens": usage.input_total,
        "total_cached_tokens": usage.cache_read,
        "total_output_tokens": usage.output - usage.reasoning,
        "total_thought_tokens": usage.reasoning,
        "total_tool_use_tokens": 0,
        "total_tokens": usage.input_total + usage.output,
    }


def _steps(number: int, step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"index": number}
    yield {"event_type": "step.start", **place, "step": {"type": step["type"]}}
    content = step.get("content") or step["summary"]
    for part in content:
        thought = {"type": "thought_summary", "content": part}
        yield {
            "event_type": "step.delta",
            **place,
            "delta": thought if "summary" in step else part,
        }
    yield {"event_type": "step.stop", **place}


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["event_type"].encode(), encode(data))


def verb_of(path: str) -> tuple[str, str]:
    """Return the model and the verb of a path, both empty if it names no model."""
    before, _, verb = unquote(path).rpartition(":")
    return (before.rpartition("/")[2], verb) if "/models/" in before else ("", "")
