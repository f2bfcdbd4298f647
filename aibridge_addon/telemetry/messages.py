"""The content model as messages of the GenAI semantic conventions. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aibridge_addon.formats.content import Message, ModelMessage, Part
from aibridge_addon.raw_json import encode

MAX_MESSAGES = 256 * 1024
"""Characters of all messages of a span; the oldest are left out."""
MAX_TEXT = 64 * 1024
"""Characters of one text; the rest is cut off."""
_MARGIN = 4096
"""Characters beyond that are redacted too, so that no secret is cut in two before."""

type RedactText = Callable[[str], str]


class Messages:
    """Writes messages as JSON, with redacted texts."""

    def __init__(self, redact: RedactText) -> None:
        self._redact = redact

    def text(self, text: str) -> str:
        """Return a text, redacted and bounded."""
        return self._redact(text[: MAX_TEXT + _MARGIN])[:MAX_TEXT]

    def input(self, messages: Sequence[Message]) -> str:
        """Return the messages of a request; the newest, if they are too many."""
        newest: list[str] = []
        size = 0
        for message in reversed(messages):
            written = encode(self._message(message))
            size += len(written)
            if newest and size > MAX_MESSAGES:
                break
            newest.append(written)
        return f"[{','.join(reversed(newest))}]"

    def output(self, response: ModelMessage) -> str:
        """Return the message of a response."""
        message = self._message(response.message)
        if response.stop_reason:
            message["finish_reason"] = response.stop_reason
        return encode([message])

    def parts(self, parts: Iterable[Part]) -> str:
        """Return parts, such as those of a system prompt."""
        return encode([self._part(part) for part in parts])

    def _message(self, message: Message) -> dict[str, Any]:
        return {"role": message.role, "parts": [self._part(part) for part in message.parts]}

    def _part(self, part: Part) -> dict[str, Any]:
        text = self.text(part.text)
        match part.kind:
            case "text":
                return {"type": "text", "content": text}
            case "thinking":
                return {"type": "reasoning", "content": text}
            case "tool_call":
                call = {"type": "tool_call", "id": part.call_id, "name": part.name}
                return call | {"arguments": text}
            case "tool_result":
                return {"type": "tool_call_response", "id": part.call_id, "response": text}
        # The bytes of images, audio and documents are not exported.
        kind = {"type": part.name or part.kind if part.kind == "other" else part.kind}
        return kind | {"media_type": part.media_type, "size": part.size, "content": text}
