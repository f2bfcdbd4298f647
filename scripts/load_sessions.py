"""Kinds of sessions that `scripts/load` runs: agents like Claude Code and Codex, and chats."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_PROSE = "The quick brown fox reads the whole file, and then it says what it found there. "


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of session."""

    path: str
    key_header: str
    body: Callable[[int], dict[str, Any]]
    """Body of the request of a turn."""

    def request(self, turn: int, session: str) -> bytes:
        """Return the bytes of the request of a turn."""
        body = json.dumps(self.body(turn)).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"accept-encoding: identity\r\n{self.key_header}\r\n"
            f"x-claude-code-session-id: {session}\r\nsession_id: {session}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _prose(size: int) -> str:
    return (_PROSE * (size // len(_PROSE) + 1))[:size]


def _history(turn: int, size: int) -> list[dict[str, Any]]:
    """Return the turns before this one, each of the given size."""
    turns = (
        (
            {"role": "user", "content": f"Step {number}: {_prose(size // 2)}"},
            {"role": "assistant", "content": f"Done {number}: {_prose(size // 2)}"},
        )
        for number in range(turn)
    )
    return [message for pair in turns for message in pair]


def _agent(turn: int) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    tools = [
        {"name": f"tool_{number}", "description": _prose(600), "input_schema": schema}
        for number in range(20)
    ]
    asked = {"role": "user", "content": f"LONG:144 step {turn}"}
    return {
        "model": "claude-standin-1",
        "max_tokens": 8192,
        "stream": True,
        "tools": tools,
        "system": [{"type": "text", "text": _prose(28_000)}],
        "messages": [*_history(turn, 6000), asked],
    }


def _codex(turn: int) -> dict[str, Any]:
    asked = {"role": "user", "content": f"LONG:70 step {turn}"}
    return {
        "model": "gpt-5",
        "stream": True,
        "instructions": _prose(12_000),
        "input": [*_history(turn, 3000), asked],
    }


def _chat(turn: int) -> dict[str, Any]:
    return {"model": "gpt-5", "messages": [{"role": "user", "content": f"Question {turn}?"}]}


_OPENAI_KEY = "authorization: Bearer sk-load-load-load-load-load"
KINDS = {
    "agent": Kind(
        path="/anthropic/v1/messages",
        key_header="x-api-key: sk-ant-api03-load-load-load\r\nanthropic-version: 2023-06-01",
        body=_agent,
    ),
    "codex": Kind(path="/openai/v1/responses", key_header=_OPENAI_KEY, body=_codex),
    "chat": Kind(path="/openai/v1/chat/completions", key_header=_OPENAI_KEY, body=_chat),
}
