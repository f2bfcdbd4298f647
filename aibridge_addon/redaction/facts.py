"""Redacts facts: every field that holds what a person, a model or a tool said."""

from dataclasses import replace
from typing import Any

from aibridge_addon.facts import (
    Fact,
    HiddenTurns,
    InterceptionEnded,
    ModelThought,
    ToolUsage,
    UserPrompt,
)
from aibridge_addon.redaction.redaction import Redaction


def redacted[F: Fact | HiddenTurns](fact: F, redaction: Redaction) -> F:
    """Return a fact without secrets; bodies are redacted where they are split.

    Hidden turns stay: they are sent to the provider again.
    """
    if not isinstance(fact, UserPrompt | ModelThought | ToolUsage | InterceptionEnded):
        return fact
    said = _said_in(fact)
    after = redaction.value(said, redaction.credentials.of(fact.interception.id))
    return fact if after == said else replace(fact, **after)


def _said_in(fact: UserPrompt | ModelThought | ToolUsage | InterceptionEnded) -> dict[str, Any]:
    """Return the fields of a fact that hold contents."""
    match fact:
        case UserPrompt():
            return {"prompt": fact.prompt}
        case ModelThought():
            return {"content": fact.content}
        case ToolUsage():
            return {"input": fact.input, "invocation_error": fact.invocation_error}
    said: dict[str, Any] = {"error_message": fact.error_message}
    if "server_tools" in fact.metadata:
        said["metadata"] = dict(fact.metadata)
    return said
