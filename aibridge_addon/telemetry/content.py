"""Texts of prompts, responses and tool calls as attributes of spans, if the operator wants them.

Only what the record holds is exported, with the same redaction.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from aibridge_addon.facts import RequestContent, ResponseContent, ToolUsage, UserPrompt
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.content import Message, Part
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import encode
from aibridge_addon.telemetry.messages import Messages, RedactText
from aibridge_addon.telemetry.span import Value

_WORDS: Mapping[str, str] = {
    "text": "answers",
    "tool_call": "tools",
    "thinking": "thoughts",
    "tool_result": "results",
}
"""Words of `aibridge_capture` by the kind of the parts of a response."""


class Content:
    """The content of one interception.

    Args:
        api: Its wire format.
        redact: Redacts a text.
    """

    def __init__(self, api: str, redact: RedactText) -> None:
        self._view = _view_of(api)
        self._messages = Messages(redact)
        self._prompt: str | None = None
        self._attributes: dict[int, dict[str, Value]] = {}
        """By upstream request; bodies are not held once they are read."""

    def add(self, fact: UserPrompt | RequestContent | ResponseContent) -> None:
        """Add content that was published."""
        if isinstance(fact, UserPrompt):
            self._prompt = fact.prompt
        elif self._view:
            known = self._attributes.setdefault(fact.upstream, {})
            if isinstance(fact, RequestContent):
                known |= self._of_request(fact, self._view)
            else:
                known |= self._of_response(fact, self._view)

    def attributes(self, upstream: int) -> dict[str, Value]:
        """Return the messages of an upstream request and its response."""
        found = dict(self._attributes.get(upstream, {}))
        if self._prompt is not None and upstream == 0:
            typed = Message(role="user", parts=(Part(kind="text", text=self._prompt),))
            found.setdefault("gen_ai.input.messages", self._messages.input([typed]))
        return found

    def of_tool(self, tool: ToolUsage) -> dict[str, Value]:
        """Return the arguments of a tool call."""
        arguments = tool.input if isinstance(tool.input, str) else encode(tool.input)
        return {"gen_ai.tool.call.arguments": self._messages.text(arguments)}

    def _of_request(self, fact: RequestContent, view: View) -> dict[str, Value]:
        conversation = view.read_request(fact.body)
        everything = "requests" in fact.capture
        found: dict[str, Value] = {}
        if conversation.system and (everything or "system" in fact.capture):
            found["gen_ai.system_instructions"] = self._messages.parts(conversation.system)
        messages: Iterable[Message] = conversation.messages
        if not everything:
            kinds = {"tool_result"} if "results" in fact.capture else set()
            messages = [kept for message in messages if (kept := _only(message, kinds)).parts]
        if messages:
            found["gen_ai.input.messages"] = self._messages.input(tuple(messages))
        return found

    def _of_response(self, fact: ResponseContent, view: View) -> dict[str, Value]:
        if "answers" not in fact.capture:
            return {}
        response = view.read_response(fact.body)
        kinds = {kind for kind, word in _WORDS.items() if word in fact.capture}
        if kinds != _WORDS.keys():
            response = replace(response, message=_only(response.message, kinds))
        found: dict[str, Value] = {"gen_ai.output.messages": self._messages.output(response)}
        if response.stop_reason:
            found["gen_ai.response.finish_reasons"] = [response.stop_reason]
        return found


def _only(message: Message, kinds: Collection[str]) -> Message:
    """Return a message with the parts of some kinds."""
    return replace(message, parts=tuple(part for part in message.parts if part.kind in kinds))


def _view_of(api: str) -> View | None:
    wire_format = FORMATS.get(api)
    return wire_format.view if wire_format else None
