"""Reads responses of OpenAI Chat Completions. Sans-io.

The format that most hosts imitate, each a little differently: usage may stand on the last chunk, on
the finish chunk or under `x_groq`; tool calls may come without an index, or all with the same one.
"""

import re

from aibridge_addon.facts import ResponseFacts, Thought, Usage
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat.streamed_call import StreamedCall
from aibridge_addon.formats.openai_chat.thoughts import thought_of
from aibridge_addon.formats.openai_chat.usage import TIMINGS, stated_usage, tier_of
from aibridge_addon.formats.openai_errors import read_error
from aibridge_addon.formats.openai_usage import CHAT_NAMES, read_usage
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.skippable import STRING, events, scalars, whole
from aibridge_addon.formats.usage import Extra, merge_usage
from aibridge_addon.raw_json import JSON, count, decode, mapping, sequence, text

_TEXT = whole(
    {"content": STRING},
    beside=scalars("content", "tool_calls", "function_call", "reasoning_content", "reasoning"),
)
_CHOICE = whole({"delta": _TEXT}, beside=scalars("delta", "finish_reason", "usage"))
_TEXT_DELTAS = events(
    whole({"choices": rf"\[{_CHOICE}\]"}, beside=scalars("choices", "error", "usage", "x_groq"))
)

_GOOGLES = ("gemini-", "models/gemini-", "google/gemini-")
"""Beginnings of models, as Google's own endpoints name them."""


def is_usage_only(event: Event) -> bool:
    """Return whether an event is the chunk that only `include_usage` brings."""
    if not event.data or b'"usage"' not in event.data:
        return False
    try:
        chunk = mapping(decode(event.data))
    except ValueError:
        return False
    has_more = chunk.get("choices") or _has_error(chunk)
    return not has_more and isinstance(chunk.get("usage"), dict)


def _has_error(chunk: dict[str, JSON]) -> bool:
    return bool(chunk.get("error") or mapping(chunk.get("x_groq")).get("error"))


class CompletionReader(Reader):
    """Reads one streamed completion."""

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._model: str | None = None
        self._usage: dict[str, JSON] = {}
        self._service_tier: str | None = None
        self._calls: list[StreamedCall] = []
        self._calls_by_index: dict[tuple[int, int], StreamedCall] = {}
        self._thoughts: list[str] = []
        self._tools_of_host: set[JSON] = set()
        """Numbers of the calls that the host has made itself."""

    @property
    def skippable(self) -> re.Pattern[bytes] | None:
        """Pattern of pieces of text, once the values that every chunk repeats are known."""
        return _TEXT_DELTAS if self._id and self._model else None

    @property
    def complete(self) -> bool:
        """True if a choice has finished or `[DONE]` has come, and no error."""
        return self._has_end and self._error is None

    def content(self) -> ResponseFacts:
        """Return the facts of the completion."""
        return ResponseFacts(
            response_id=self._id,
            model=self._model,
            usage=(
                usage := _read_usage(
                    self._usage, self._service_tier, self._model, len(self._tools_of_host)
                )
            ),
            usage_unreadable=usage is None and bool(self._usage),
            tool_calls=tuple(call.facts() for call in self._calls),
            thoughts=_thoughts("".join(self._thoughts)),
        )

    def decoded(self, data: bytes, event: Event) -> JSON:
        """Decode a chunk, which has no type."""
        return decode(data)

    def on_done(self) -> None:
        """End the completion."""
        self._has_end = self.ended = True

    def on_data(self, chunk: dict[str, JSON]) -> None:
        """Read a chunk."""
        if _has_error(chunk):
            self._error = read_error(chunk) or read_error(mapping(chunk.get("x_groq")))
            self.ended = True
        choices = chunk.get("choices") or ()
        has_usage = (
            chunk.get("usage")
            or "x_groq" in chunk
            or TIMINGS in chunk
            or any("usage" in c for c in choices)
        )
        if has_usage:
            self._usage = merge_usage(self._usage, stated_usage(chunk))
        if has_usage or not (self._id and self._model):  # later chunks may be skipped
            self._service_tier = tier_of(chunk) or self._service_tier
        self._id = self._id or text(chunk.get("id"))
        self._model = self._model or text(chunk.get("model"))
        for choice in choices:
            self._on_choice(choice)
        if self._usage and not self._has_end:
            self.report_usage()

    def _on_choice(self, choice: dict[str, JSON]) -> None:
        if choice.get("finish_reason"):
            self._has_end = True
        delta = choice.get("delta")
        if not delta:
            return
        for call in delta.get("tool_calls") or ():
            self._on_tool_call(choice.get("index") or 0, call)
        if legacy := delta.get("function_call"):
            self._on_tool_call(choice.get("index") or 0, {"index": -1, "function": legacy})
        if thought := thought_of(delta):
            self._thoughts.append(thought)
        self._tools_of_host.update(_tools_of_host(delta))

    def _on_tool_call(self, choice_index: int, delta: dict[str, JSON]) -> None:
        key = (choice_index, delta.get("index") or 0)
        call = self._calls_by_index.get(key)
        if call is None or call.is_followed_by(delta):
            call = self._calls_by_index[key] = StreamedCall()
            self._calls.append(call)
        call.merge(delta)


def read_whole(body: bytes) -> ResponseFacts:
    """Read a completion that was not streamed, or an error."""
    try:
        completion = mapping(decode(body))
    except ValueError:
        return ResponseFacts(unreadable=1)
    if error := read_error(completion):
        return ResponseFacts(error=error, complete=True)
    if not isinstance(completion.get("choices"), list):
        return ResponseFacts(unreadable=1)
    calls: list[StreamedCall] = []
    thoughts: list[str] = []
    tools: set[JSON] = set()
    for choice in map(mapping, completion["choices"]):
        message = mapping(choice.get("message"))
        tools.update(_tools_of_host(message))
        deltas = [mapping(call) for call in sequence(message.get("tool_calls"))]
        if message.get("function_call"):
            deltas.append({"function": message["function_call"]})
        for delta in deltas:
            calls.append(StreamedCall())
            calls[-1].merge(delta)
        thoughts.append(thought_of(message) or "")
    usage = stated_usage(completion)
    return ResponseFacts(
        response_id=text(completion.get("id")),
        model=(model := text(completion.get("model"))),
        usage=(own := _read_usage(usage, tier_of(completion), model, len(tools))),
        usage_unreadable=own is None and bool(usage),
        tool_calls=tuple(call.facts() for call in calls),
        thoughts=_thoughts("".join(thoughts)),
        complete=True,
    )


def _thoughts(content: str) -> tuple[Thought, ...]:
    return (Thought(content=text(content) or "", source="thinking"),) if content else ()


def _tools_of_host(message: dict[str, JSON]) -> set[JSON]:
    """Return the numbers of the calls of Groq's own tools, which it bills apart."""
    tools = map(mapping, sequence(message.get("executed_tools")))
    return {count(tool.get("index")) or 0 for tool in tools}


def _read_usage(
    usage: dict[str, JSON], service_tier: str | None, model: str | None, tools_of_host: int
) -> Usage | None:
    outside: Extra = {"service_tier": service_tier} if service_tier else {}
    outside |= {"executed_tool_requests": tools_of_host} if tools_of_host else {}
    # Google's compatible endpoint leaves thoughts out of the completion, and other details too.
    by_google = (model or "").startswith(_GOOGLES)
    return read_usage(usage, CHAT_NAMES, outside=outside, total_has_thoughts=by_google)
