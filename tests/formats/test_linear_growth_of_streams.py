"""Reading streams of the further formats takes linear steps: see `test_linear_growth`."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aibridge_addon.formats import FORMATS, Format, openai_batches
from aibridge_addon.formats.decoders.sse import Event
from formats.test_linear_growth import assert_linear

type Events = Iterator[Any]

USAGE = {"input_tokens": 1, "output_tokens": 2}
GEMINI_USAGE = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
CHAT_USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


def gemini(count: int) -> Events:
    for n in range(count):
        call = {"functionCall": {"name": "Bash", "args": {}, "id": f"c{n}"}}
        candidate = {"index": 0, "content": {"parts": [{"text": "a"}, call]}}
        yield {"candidates": [candidate], "usageMetadata": GEMINI_USAGE}


def gemini_call_in_pieces(count: int) -> Events:
    for n in range(count):
        piece = {"jsonPath": f"$.a{n}", "stringValue": "x"}
        call = {"name": "Bash", "id": "c", "partialArgs": [piece], "willContinue": True}
        yield {"candidates": [{"content": {"parts": [{"functionCall": call}]}}]}


def live(count: int) -> Events:
    for n in range(count):
        call = {"name": "Bash", "id": f"c{n}", "args": {}}
        yield {"toolCall": {"functionCalls": [call]}, "usageMetadata": GEMINI_USAGE}
        yield {"serverContent": {"outputTranscription": {"text": "a"}}}


def converse(count: int) -> Events:
    for n in range(count):
        use = {"toolUse": {"toolUseId": f"c{n}", "name": "Bash"}}
        delta = {"toolUse": {"input": "{}"}}
        yield "contentBlockStart", {"contentBlockIndex": n, "start": use}
        yield "contentBlockDelta", {"contentBlockIndex": n, "delta": delta}
        yield "contentBlockStop", {"contentBlockIndex": n}
    yield "messageStop", {"stopReason": "tool_use"}
    yield "metadata", {"usage": {"inputTokens": 1, "outputTokens": 2}}


def ollama(count: int) -> Events:
    for n in range(count):
        call = {"function": {"name": "Bash", "arguments": {"n": n}}}
        yield {"message": {"content": "a", "tool_calls": [call]}, "done": False}
    yield {"done": True, "prompt_eval_count": 1, "eval_count": 2}


def images(count: int) -> Events:
    for n in range(count):
        yield {"type": "image_generation.partial_image", "partial_image_index": n}
    yield {"type": "image_generation.completed", "usage": USAGE}


def transcript(count: int) -> Events:
    for _ in range(count):
        yield {"type": "transcript.text.delta", "delta": "a"}
    yield {"type": "transcript.text.done", "text": "a" * count, "usage": USAGE}


def realtime(count: int) -> Events:
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "Bash"} for n in range(count)]
    response: dict[str, Any] = {"object": "realtime.response", "id": "r"}
    yield {"type": "response.created", "response": response}
    for call in calls:
        yield {"type": "response.output_item.added", "item": call}
    yield {"type": "response.done", "response": {**response, "output": calls, "usage": USAGE}}


def batch(count: int) -> Events:
    for n in range(count):
        body = {"object": "chat.completion", "choices": [], "usage": CHAT_USAGE}
        yield {"custom_id": f"q{n}", "response": {"status_code": 200, "body": body}}


STREAMS: dict[str, tuple[Format, Callable[[int], Events]]] = {
    "gemini": (FORMATS["gemini"], gemini),
    "gemini, a call in pieces": (FORMATS["gemini"], gemini_call_in_pieces),
    "live": (FORMATS["gemini_live"], live),
    "converse": (FORMATS["bedrock_converse"], converse),
    "ollama": (FORMATS["ollama_chat"], ollama),
    "images": (FORMATS["openai_images"], images),
    "transcript": (FORMATS["openai_transcriptions"], transcript),
    "realtime": (FORMATS["openai_realtime"], realtime),
    "batch": (openai_batches.RESULTS, batch),
}


def events_of(stream: Events) -> list[Event]:
    """Return decoded events; a pair has the name of its event."""
    named = (part if isinstance(part, tuple) else ("", part) for part in stream)
    return [Event(name.encode(), json.dumps(data).encode(), b"") for name, data in named]


@pytest.mark.parametrize(("wire_format", "stream"), STREAMS.values(), ids=STREAMS)
def test_reading_a_stream_of_a_further_format_takes_linear_steps(
    wire_format: Format, stream: Callable[[int], Events]
) -> None:
    def work(events: list[Event]) -> None:
        reader = wire_format.reader()
        for event in events:
            reader.feed(event)
        facts = reader.facts()
        assert not facts.unreadable
        assert not facts.unknown

    assert_linear(lambda n: events_of(stream(n)), work)
