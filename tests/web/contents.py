"""Requests with stored content, split as the recorder splits them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from aibridge_addon.formats import FORMATS
from aibridge_addon.report.rows import InterceptionDetail, StoredMessage

SYSTEM = "You are a helpful assistant.\nBe concise."
TOOLS = [{"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object"}}]
ASKED = {"role": "user", "content": "Why does the parser drop the **last** event?"}
CALLED = [
    {"type": "thinking", "thinking": "I should read the file.", "signature": "x"},
    {"type": "tool_use", "id": "tu_1", "name": "Read", "input": {"path": "/repo/sse.py"}},
]
RESULT = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "tu_1", "content": "class SSEParser: ..."}],
}
ANSWERED = [{"type": "text", "text": "It does not: `close()` returns the rest."}]


def anthropic_request(*messages: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a request of Anthropic Messages."""
    body = {"model": "opus", "max_tokens": 100, "system": SYSTEM, "tools": TOOLS}
    return body | {"messages": list(messages)} | changes


def anthropic_response(content: Any, response_id: str = "msg_1") -> dict[str, Any]:
    """Return a response of Anthropic Messages."""
    return {
        "id": response_id,
        "type": "message",
        "role": "assistant",
        "model": "opus-1",
        "stop_reason": "end_turn",
        "content": content,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def with_content(
    made: InterceptionDetail, *exchanges: tuple[Mapping[str, Any], Mapping[str, Any] | None]
) -> InterceptionDetail:
    """Return a request with the content of its upstream requests and their responses."""
    parts = [
        part
        for upstream, (request, response) in enumerate(exchanges)
        for part in _parts(made.row.api, upstream, request, response)
    ]
    return replace(made, messages=tuple(parts))


def _parts(
    api: str, upstream: int, request: Mapping[str, Any], response: Mapping[str, Any] | None
) -> Iterable[StoredMessage]:
    view = FORMATS[api].view
    assert view
    position = 0
    for position, part in enumerate(view.split_request(json.dumps(request).encode())):
        yield _stored(upstream, position, part.role, part.kind, part.content)
    if response:
        content = json.dumps(response).encode()
        yield _stored(upstream, position + 1, "assistant", "response", content)


def _stored(upstream: int, position: int, role: str, kind: str, content: bytes) -> StoredMessage:
    return StoredMessage(
        upstream=upstream,
        position=position,
        role=role,
        kind=kind,
        digest=hashlib.sha256(content).hexdigest(),
        content=content,
    )
