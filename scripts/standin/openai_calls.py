"""OpenAI's smaller APIs as the provider speaks them: texts, vectors, ranks, images, and audio."""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from standin.asked import Asked
from standin.messages import Response
from standin.plan import Usage
from standin.rendering import CREATED, ID, bare_event, named_event

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
AUDIO = b"\xff\xfb\x90\x64" + bytes(414)
"""A silent frame of an MP3 file."""
SECONDS = 2.5
"""Length of all recordings."""
_VECTOR = [0.25, -0.5]
_IMAGE = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}


def completion(asked: Asked) -> Response:
    """Answer `POST /completions`."""
    head = {"id": f"cmpl-{ID}", "object": "text_completion", "created": CREATED}
    head |= {"model": asked.model}
    usage = chat_usage(asked.plan.usage)
    if not asked.streams:
        choice = _choice(asked.plan.text, "stop")
        return asked.json({**head, "choices": [choice], "usage": usage})
    chunks = [{**head, "choices": [_choice(text, None)]} for text in asked.plan.deltas]
    chunks.append({**head, "choices": [_choice("", "stop")]})
    if (asked.members.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": usage})
    return asked.events([*map(bare_event, chunks), b"data: [DONE]\n\n"])


def _choice(text: str, reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Return a usage object as Chat Completions names its counts."""
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output,
        "total_tokens": usage.input_total + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    }


def _input_usage(asked: Asked) -> dict[str, int]:
    given = asked.plan.usage.input_total
    return {"prompt_tokens": given, "total_tokens": given}


def embeddings(asked: Asked) -> Response:
    """Answer `POST /embeddings`; the SDK asks for vectors in base64."""
    given = asked.members.get("input")
    texts = given if isinstance(given, list) else [given]
    is_coded = asked.members.get("encoding_format") == "base64"
    vector = base64.b64encode(b"\0\0\x80\x3e\0\0\0\xbf").decode() if is_coded else _VECTOR
    data = [
        {"object": "embedding", "index": number, "embedding": vector}
        for number, _ in enumerate(texts)
    ]
    usage = _input_usage(asked)
    return asked.json({"object": "list", "data": data, "model": asked.model, "usage": usage})


def moderation(asked: Asked) -> Response:
    """Answer `POST /moderations`, which is free of charge and reports no usage."""
    categories = dict.fromkeys(("harassment", "hate", "violence"), False)
    result = {
        "flagged": False,
        "categories": categories,
        "category_scores": dict.fromkeys(categories, 0.01),
        "category_applied_input_types": {name: ["text"] for name in categories},
    }
    model = asked.model or "omni-moderation-latest"
    return asked.json({"id": f"modr-{ID}", "model": model, "results": [result]})


def ranks(asked: Asked) -> Response:
    """Answer `POST /rerank`: Cohere's models state search units, others tokens."""
    documents = asked.members.get("documents") or []
    results = [
        {"index": number, "relevance_score": 0.9 / (number + 1)}
        for number, _ in enumerate(documents)
    ]
    found = {"id": f"rerank-{ID}", "model": asked.model, "results": results}
    if asked.model.startswith("rerank-"):
        return asked.json(found | {"meta": {"billed_units": {"search_units": 1}}})
    return asked.json(found | {"usage": {"total_tokens": asked.plan.usage.input_total}})


def images(asked: Asked) -> Response:
    """Answer `POST /images/generations`, `/images/edits` and `/images/variations`."""
    kind = "image_edit" if asked.path.endswith("edits") else "image_generation"
    number = int(asked.members.get("n") or 1)
    data = base64.b64encode(PNG).decode()
    if not asked.model.startswith("gpt-"):
        url = {"url": "https://images.example/1.png"}
        return asked.json({"created": CREATED, "data": [url] * number})
    usage = _image_usage(asked)
    if asked.streams:
        image = {"b64_json": data, "created_at": CREATED, **_IMAGE}
        preview = {"type": f"{kind}.partial_image", "partial_image_index": 0, **image}
        whole = {"type": f"{kind}.completed", **image, "usage": usage}
        return asked.events([named_event(preview), *[named_event(whole)] * number])
    found = {"created": CREATED, "data": [{"b64_json": data}] * number, "usage": usage, **_IMAGE}
    return asked.json(found)


def _image_usage(asked: Asked) -> dict[str, Any]:
    usage = asked.plan.usage
    given = usage.input_total
    of_images = given // 2 if "image" in asked.members else 0
    return {
        "input_tokens": given,
        "input_tokens_details": {"text_tokens": given - of_images, "image_tokens": of_images},
        "output_tokens": usage.output,
        "total_tokens": given + usage.output,
    }


def transcript(asked: Asked) -> Response:
    """Answer `POST /audio/transcriptions`: of Whisper seconds are billed, of others tokens."""
    text = asked.plan.text
    kind = asked.members.get("response_format") or "json"
    if kind in ("text", "srt", "vtt"):
        return asked.body(text.encode() + b"\n", "text/plain; charset=utf-8")
    is_whisper = asked.model.startswith("whisper")
    usage = {"type": "duration", "seconds": SECONDS} if is_whisper else _token_usage(asked)
    if not asked.streams:
        return asked.json({"text": text, "usage": usage, **_verbose(kind)})
    events: list[dict[str, Any]] = [
        {"type": "transcript.text.delta", "delta": delta} for delta in asked.plan.deltas
    ]
    events.append({"type": "transcript.text.done", "text": text, "usage": usage})
    return asked.events(map(named_event, events))


def translation(asked: Asked) -> Response:
    """Answer `POST /audio/translations`, whose response has no usage object."""
    kind = asked.members.get("response_format") or "json"
    return asked.json({"text": asked.plan.text, **_verbose(kind)})


def _verbose(kind: str) -> dict[str, Any]:
    is_verbose = kind == "verbose_json"
    return {"language": "english", "duration": SECONDS, "segments": []} if is_verbose else {}


def _token_usage(asked: Asked) -> dict[str, Any]:
    usage = asked.plan.usage
    given, of_text = usage.input_total, usage.input_total // 4
    return {
        "type": "tokens",
        "input_tokens": given,
        "input_token_details": {"text_tokens": of_text, "audio_tokens": given - of_text},
        "output_tokens": usage.output,
        "total_tokens": given + usage.output,
    }


def speech(asked: Asked) -> Response:
    """Answer `POST /audio/speech`: audio, or events that end with a usage."""
    if asked.members.get("stream_format") != "sse":
        return asked.body(AUDIO, "audio/mpeg")
    return asked.events(map(named_event, _spoken(asked)))


def _spoken(asked: Asked) -> Iterator[dict[str, Any]]:
    usage = asked.plan.usage
    yield {"type": "speech.audio.delta", "audio": base64.b64encode(AUDIO).decode()}
    counts = {"input_tokens": usage.input_total, "output_tokens": usage.output}
    total = {"total_tokens": sum(counts.values())}
    yield {"type": "speech.audio.done", "usage": counts | total}


CALLS: Mapping[str, Callable[[Asked], Response]] = {
    "completions": completion,
    "embeddings": embeddings,
    "moderations": moderation,
    "rerank": ranks,
    "images/generations": images,
    "images/edits": images,
    "images/variations": images,
    "audio/transcriptions": transcript,
    "audio/translations": translation,
    "audio/speech": speech,
}
"""By the path below the base URL."""
