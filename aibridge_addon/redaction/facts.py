"""Redacts facts: every field that holds what a person, a model or a tool said."""

from collections.abc import Callable, Mapping
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
    said = _READERS[type(fact)](fact)
    if not said:
        return fact
    after = redaction.value(said, redaction.credentials.of(fact.interception.id))
    return fact if after == said else replace(fact, **after)


def _said_at_end(fact: InterceptionEnded) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if fact.error_message is not None:
        said["error_message"] = fact.error_message
    if "server_tools" in fact.metadata:
        said["metadata"] = dict(fact.metadata)
    return said


_READERS: Mapping[type, Callable[[Any], dict[str, Any]]] = {
    UserPrompt: lambda fact: {"prompt": fact.prompt},
    ModelThought: lambda fact: {"content": fact.content},
    ToolUsage: lambda fact: {"input": fact.input, "invocation_error": fact.invocation_error},
    InterceptionEnded: _said_at_end,
}
"""Fields that hold contents, by the type of the fact."""
