"""Texts of prompts, responses and tool calls as attributes of spans, if the operator wants them.

Only what the record holds is exported, with the same redaction.
"""

from collections.abc import Callable

from aibridge_addon.facts import RequestContent, ResponseContent, ToolUsage, UserPrompt
from aibridge_addon.raw_json import encode
from aibridge_addon.telemetry.span import Value

MAX_TEXT = 64 * 1024
"""Characters of one attribute."""

type Redact = Callable[[str], str]


class Content:
    """The content of one interception."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._prompt: str | None = None

    def add(self, fact: UserPrompt | RequestContent | ResponseContent) -> None:
        """Add content that was published."""
        if isinstance(fact, UserPrompt):
            self._prompt = fact.prompt

    def attributes(self, upstream: int) -> dict[str, Value]:
        """Return the messages of an upstream request and its response."""
        if self._prompt is None or upstream:
            return {}
        text = self._shown(self._prompt)
        message = {"role": "user", "parts": [{"type": "text", "content": text}]}
        return {"gen_ai.input.messages": encode([message])}

    def of_tool(self, tool: ToolUsage) -> dict[str, Value]:
        """Return the arguments of a tool call."""
        arguments = tool.input if isinstance(tool.input, str) else encode(tool.input)
        return {"gen_ai.tool.call.arguments": self._shown(arguments)}

    def _shown(self, text: str) -> str:
        return self._redact(text[:MAX_TEXT])
