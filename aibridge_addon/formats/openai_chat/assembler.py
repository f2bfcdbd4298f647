"""Assembles a streamed completion of OpenAI Chat Completions into one document. Sans-io."""

from aibridge_addon.formats.openai_chat.reader import CompletionReader
from aibridge_addon.formats.openai_chat.streamed_message import StreamedMessage
from aibridge_addon.raw_json import JSON, mapping

_OWN = frozenset({"object", "choices", "usage", "x_groq", "error", "delta"})
"""Members of a chunk that are not copied to the completion."""


class CompletionAssembler(CompletionReader):
    """Assembles one streamed completion."""

    def __init__(self) -> None:
        super().__init__()
        self._envelope: dict[str, JSON] = {}
        self._messages: dict[int, StreamedMessage] = {}
        self._finish_reasons: dict[int, JSON] = {}
        self._error_data: JSON = None

    def on_data(self, chunk: dict[str, JSON]) -> None:
        """Read a chunk."""
        super().on_data(chunk)
        self._envelope |= {k: v for k, v in chunk.items() if k not in _OWN and v is not None}
        if self._error and not self._error_data:
            self._error_data = chunk.get("error") or mapping(chunk.get("x_groq")).get("error")
        for choice in chunk.get("choices") or ():
            self._gather(choice)

    def _gather(self, choice: dict[str, JSON]) -> None:
        index = choice.get("index") or 0
        message = self._messages.setdefault(index, StreamedMessage())
        delta = mapping(choice.get("delta"))
        message.add(delta)
        for call in delta.get("tool_calls") or ():
            message.add_call(call)
        if reason := choice.get("finish_reason"):
            self._finish_reasons[index] = reason

    def document(self) -> dict[str, JSON]:
        """Return the completion so far."""
        if not self._messages and not self._usage:
            return {"error": self._error_data} if self._error else {}
        completion: dict[str, JSON] = {"object": "chat.completion", **self._envelope}
        completion |= {"id": self._id, "model": self._model}
        completion["choices"] = [
            {
                "index": index,
                "message": message.complete(),
                "finish_reason": self._finish_reasons.get(index),
            }
            for index, message in self._messages.items()
        ]
        if self._service_tier:
            completion["service_tier"] = self._service_tier
        if self._usage:
            completion["usage"] = self._usage
        if self._error:
            completion["error"] = self._error_data
        return completion
