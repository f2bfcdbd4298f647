"""Requests of the benchmark, as Claude Code and the providers' SDKs send them, as bytes."""

import json
from dataclasses import dataclass, replace
from typing import Any

_HEADERS = """\
POST /v1/messages?beta=true HTTP/1.1
host: 127.0.0.1
accept: application/json
accept-encoding: identity
anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14
anthropic-dangerous-direct-browser-access: true
anthropic-version: 2023-06-01
content-type: application/json
user-agent: claude-cli/2.1.0 (external, cli)
x-api-key: sk-ant-api03-benchmark-benchmark-benchmark
x-app: cli
x-claude-code-session-id: 01234567-89ab-cdef-0123-456789abcdef
x-stainless-arch: x64
x-stainless-lang: js
x-stainless-os: Linux
x-stainless-package-version: 0.70.0
x-stainless-retry-count: 0
x-stainless-runtime: node
x-stainless-runtime-version: v24.3.0
x-stainless-timeout: 600
"""


_CHAT_HEADERS = """\
POST /v1/chat/completions HTTP/1.1
host: 127.0.0.1
accept: application/json
accept-encoding: identity
authorization: Bearer sk-benchmark-benchmark-benchmark
content-type: application/json
user-agent: OpenAI/Python 2.8.0
x-stainless-arch: x64
x-stainless-async: false
x-stainless-lang: python
x-stainless-os: Linux
x-stainless-package-version: 2.8.0
x-stainless-retry-count: 0
x-stainless-runtime: CPython
x-stainless-runtime-version: 3.13.0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request."""

    body: bytes
    headers: str = _HEADERS
    special: str = ""
    """Header that asks the upstream for behaviour that only a benchmark needs."""

    @property
    def raw(self) -> bytes:
        """Head and body as they go over the wire."""
        head = self.headers + f"content-length: {len(self.body)}\n"
        if self.special:
            head += f"x-bench: {self.special}\n"
        return head.replace("\n", "\r\n").encode() + b"\r\n" + self.body

    def doing(self, special: str) -> "Asked":
        """Return the request with a header for special behaviour of the upstream."""
        return replace(self, special=special)


def _asked(body: dict[str, Any]) -> Asked:
    return Asked(
        body=json.dumps({"model": "claude-standin-1", "max_tokens": 1024, **body}).encode()
    )


def _saying(text: str, **more: Any) -> Asked:
    return _asked({"messages": [{"role": "user", "content": text}], **more})


_KIB_100 = 100 * 1024
_PROSE = "The quick brown fox reads the whole file, and then it says what it found there. "


def _tools(count: int) -> list[dict[str, Any]]:
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": _PROSE}}}
    return [
        {"name": f"tool_{number}", "description": _PROSE * 8, "input_schema": schema}
        for number in range(count)
    ]


def _conversation(size: int) -> dict[str, Any]:
    """Return the body of a request in the middle of an agent's work, of the given size in bytes."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What does this project do?"}]
    for number in range(15):
        call = {
            "type": "tool_use",
            "id": f"toolu_{number}",
            "name": "tool_1",
            "input": {"path": "a"},
        }
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": _PROSE * 40}
        messages.append({"role": "assistant", "content": [call]})
        messages.append({"role": "user", "content": [result]})
    messages.append({"role": "assistant", "content": [{"type": "text", "text": _PROSE}]})
    messages.append({"role": "user", "content": "Thank you. And what does it cost?"})
    body = {"system": [{"type": "text", "text": ""}], "messages": messages, "tools": _tools(20)}
    body["system"][0]["text"] = (_PROSE * 1000)[: size - len(json.dumps(body)) - 60]
    return body


SMALL = _saying("Hello")
SMALL_WITH_TOOLS = _saying("Hello", tools=_tools(3))
LARGE = _asked(_conversation(_KIB_100))
LARGE_REPEATED = Asked(body=LARGE.body.replace(b"what does it cost?", b"what costs #000000#?"))
"""A request that repeats its history: all but the last message is the same each time."""
STREAM = _saying("LONG:194", stream=True)
"""Deltas of a stream of 200 events; the other six are not deltas."""
CHAT_STREAM = Asked(
    headers=_CHAT_HEADERS,
    body=json.dumps(
        {
            "model": "gpt-standin-1",
            "messages": [{"role": "user", "content": "LONG:196"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode(),
)
STREAM_COALESCED = STREAM.doing("coalesced")
STREAM_ONE_BY_ONE = _saying("LONG:194 PACE:1", stream=True)
STREAM_WITH_TOOLS = _saying("LONG:194 PACE:1", stream=True, tools=_tools(3))
BURST_WITH_TOOLS = _saying("LONG:194", stream=True, tools=_tools(3))
STAMPED = _saying("Hello", stream=True).doing("stamped")
HELD = _saying("Hello", stream=True).doing("held")
HOLDING = _asked({}).doing("holding")
OFFERED = SMALL.doing("offered")
