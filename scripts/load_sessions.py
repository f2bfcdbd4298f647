"""Kinds of sessions that `scripts/load` runs: agents like Claude Code and Codex, and chats.

Each session has a text of its own, since equal texts are stored once; its words are drawn so that
it compresses as English and source code do, to between a half and a third.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _vocabulary() -> list[str]:
    draw = random.Random(1)
    ends = ("a", "e", "i", "o", "u", "an", "er", "in", "on", "st")
    syllables = [first + end for first in "bcdfghklmnprstvw" for end in ends]
    return ["".join(draw.choices(syllables, k=draw.choice((1, 2, 2, 3)))) for _ in range(2000)]


_WORDS = _vocabulary()
_WEIGHTS = [1 / (rank + 3) for rank in range(len(_WORDS))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of session."""

    path: str
    key_header: str
    body: Callable[[int, str], dict[str, Any]]
    """Body of the request of a turn of a session."""
    events: int
    """Events of the streamed response; 0: it is not streamed."""

    def request(self, turn: int, session: str) -> bytes:
        """Return the bytes of the request of a turn."""
        body = json.dumps(self.body(turn, session)).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"accept-encoding: identity\r\n{self.key_header}\r\n"
            f"x-claude-code-session-id: {session}\r\nsession_id: {session}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _prose(size: int, seed: str) -> str:
    """Return a text of so many characters, always the same for a seed."""
    return " ".join(random.Random(seed).choices(_WORDS, _WEIGHTS, k=size // 2))[:size]


def _history(turn: int, size: int, session: str) -> list[dict[str, Any]]:
    """Return the turns before this one, each of the given size."""
    turns = (
        (
            {
                "role": "user",
                "content": f"Step {number}: {_prose(size // 2, f'{session} {number}')}",
            },
            {"role": "assistant", "content": f"Done: {_prose(size // 2, f'{number} {session}')}"},
        )
        for number in range(turn)
    )
    return [message for pair in turns for message in pair]


def _agent(turn: int, session: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    tools = [
        {
            "name": f"tool_{number}",
            "description": _prose(600, f"tool {number}"),
            "input_schema": schema,
        }
        for number in range(20)
    ]
    asked = {"role": "user", "content": f"LONG:144 step {turn}"}
    return {
        "model": "claude-standin-1",
        "max_tokens": 8192,
        "stream": True,
        "tools": tools,
        "system": [{"type": "text", "text": _prose(28_000, "system")}],
        "messages": [*_history(turn, 6000, session), asked],
    }


def _codex(turn: int, session: str) -> dict[str, Any]:
    asked = {"role": "user", "content": f"LONG:70 step {turn}"}
    return {
        "model": "gpt-5",
        "stream": True,
        "instructions": _prose(12_000, "instructions"),
        "input": [*_history(turn, 3000, session), asked],
    }


def _chat(turn: int, session: str) -> dict[str, Any]:
    asked = _prose(200, f"{session} {turn}")
    return {"model": "gpt-5", "messages": [{"role": "user", "content": f"Question: {asked}?"}]}


_OPENAI_KEY = "authorization: Bearer sk-load-load-load-load-load"
KINDS = {
    "agent": Kind(
        path="/anthropic/v1/messages",
        key_header="x-api-key: sk-ant-api03-load-load-load\r\nanthropic-version: 2023-06-01",
        body=_agent,
        events=150,
    ),
    "codex": Kind(path="/openai/v1/responses", key_header=_OPENAI_KEY, body=_codex, events=80),
    "chat": Kind(path="/openai/v1/chat/completions", key_header=_OPENAI_KEY, body=_chat, events=0),
}
