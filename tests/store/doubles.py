"""Builders of facts for tests, and readers of recorded rows."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from aibridge_addon.config.capture import CAPTURABLE
from aibridge_addon.facts import (
    Fact,
    Interception,
    InterceptionEnded,
    ModelThought,
    RateLimitsSeen,
    RequestContent,
    ResponseContent,
    Status,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    UserPrompt,
    new_id,
    now,
)
from aibridge_addon.store.recorder import Recorder, fact_handlers

type AllFacts = tuple[
    Interception, UserPrompt, TokenUsage, ToolUsage, ModelThought, InterceptionEnded
]


def started(**changes: Any) -> Interception:
    """Return the start of an interception."""
    fact = Interception(
        id=new_id(),
        initiator_id="alice",
        metadata={"team": "search"},
        provider="anthropic",
        provider_name="anthropic",
        api="anthropic_messages",
        route="/v1/messages",
        method="POST",
        model="claude-opus-4-5",
        client="Claude Code",
        user_agent="claude-cli/2",
        client_session_id="s-1",
        request_kind="turn",
        prompt_id="p-1",
        agent_id=None,
        correlating_tool_call_id=None,
        credential_kind="byok",
        credential_hint="sk-a...cdef",
        streaming=True,
        started_at=now(),
        access_token_id="aaaaaaaaaa",
    )
    return replace(fact, **changes)


def ended(interception: Interception, **changes: Any) -> InterceptionEnded:
    """Return the end of an interception."""
    fact = InterceptionEnded(
        interception=interception,
        provider_response_id="msg_1",
        metadata={**interception.metadata, "end": True},
        ended_at=now(),
        status=Status.COMPLETED,
        http_status=200,
        error_type=None,
        error_message=None,
        partial=False,
        prompted=True,
        usage_reported=True,
        in_background=False,
        unreadable=0,
        unknown=(),
        seconds=1.5,
        seconds_to_first_byte=0.25,
    )
    return replace(fact, **changes)


def tokens(interception: Interception, **changes: Any) -> TokenUsage:
    """Return the usage of a response."""
    fact = TokenUsage(
        id=new_id(),
        interception=interception,
        provider_response_id="msg_1",
        model="claude-opus-4-5-20251101",
        input_tokens=10,
        output_tokens=20,
        cache_read_input_tokens=30,
        cache_write_input_tokens=40,
        extra={"web_search_requests": 2, "service_tier": "standard"},
        raw={"input_tokens": 10},
        created_at=now(),
        upstream=1,
        started_at="2026-11-28T12:00:00.000000+00:00",
        duration_ms=1500,
        ttft_ms=200,
    )
    return replace(fact, **changes)


def tokens_so_far(usage: TokenUsage, **changes: Any) -> TokenUsageSoFar:
    """Return the usage that a stream reported before its final usage."""
    values = {field.name: getattr(usage, field.name) for field in fields(usage)}
    return TokenUsageSoFar(**values | {"output_tokens": 0, "extra": {}} | changes)


def limits(interception: Interception, **headers: str) -> RateLimitsSeen:
    """Return rate limits; `_` in the names of headers becomes `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RateLimitsSeen(interception=interception, headers=named, seen_at=now())


def prompt(interception: Interception, text: str = "Hello") -> UserPrompt:
    """Return a prompt."""
    return UserPrompt(
        id=new_id(), interception=interception, prompt=text, digest=None, created_at=now()
    )


def tool(interception: Interception, **changes: Any) -> ToolUsage:
    """Return a tool call."""
    fact = ToolUsage(
        id=new_id(),
        interception=interception,
        provider_response_id="msg_1",
        tool="Read",
        tool_call_id="toolu_1",
        server_url=None,
        input={"path": "/x"},
        injected=False,
        invocation_error=None,
        metadata={},
        created_at=now(),
        duration_ms=30,
        result_bytes=12,
    )
    return replace(fact, **changes)


def thought(interception: Interception, content: str = "Hm.") -> ModelThought:
    """Return a thought."""
    return ModelThought(
        id=new_id(),
        interception=interception,
        provider_response_id="msg_1",
        content=content,
        source="thinking",
        created_at=now(),
    )


def request_content(
    interception: Interception, body: bytes | dict[str, Any], **changes: Any
) -> RequestContent:
    """Return the content of a request, given as it was sent or as JSON."""
    fact = RequestContent(
        interception=interception,
        upstream=0,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        capture=frozenset(CAPTURABLE),
        created_at=now(),
    )
    return replace(fact, **changes)


def response_content(
    interception: Interception, body: bytes | dict[str, Any], **changes: Any
) -> ResponseContent:
    """Return the content of a response, given as it was sent or as JSON."""
    fact = ResponseContent(
        interception=interception,
        upstream=0,
        provider_response_id=None,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        status=200,
        capture=frozenset(CAPTURABLE),
        created_at=now(),
    )
    return replace(fact, **changes)


def all_of_one(interception: Interception) -> AllFacts:
    """Return every fact of an interception, in order."""
    return (
        interception,
        prompt(interception),
        tokens(interception),
        tool(interception),
        thought(interception),
        ended(interception),
    )


def record(recorder: Recorder, *facts: Fact) -> None:
    """Give facts to a recorder."""
    handlers = fact_handlers(recorder)
    for fact in facts:
        handlers[type(fact)](fact)


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def rows(path: Path, table: str, order: str = "rowid") -> list[dict[str, Any]]:
    """Return the rows of a table; the name is without `aibridge_`."""
    with looking(path) as connection:
        found = connection.execute(f"SELECT * FROM aibridge_{table} ORDER BY {order}")
        return [dict(row) for row in found]


def prompts(path: Path) -> list[str]:
    """Return the prompts, in the order of writing."""
    return [row["prompt"] for row in rows(path, "user_prompts")]
