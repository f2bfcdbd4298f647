"""Requests and responses of the three wire formats in common terms, with checks of their legality.

A conversation is read as a transcript, a line for each element:

    user: What is 2 + 40?
    thinks …
    says …
    calls add {"a":2,"b":40}
    gets 42

Anything that a provider would refuse, or a client not accept, is an `AssertionError`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from e2e.asking import API

type JSON = dict[str, Any]
type Tokens = tuple[int, int, int, int]
"""Input without caches, output, cache read, cache write."""


@dataclass(frozen=True, slots=True)
class Story:
    """A response as the client received it."""

    id: str
    lines: tuple[str, ...]
    stop: str
    """The stop reason."""
    tokens: Tokens | None


class FormatReader(ABC):
    """Reads the requests and responses of a wire format."""

    api: ClassVar[str]
    calls_stop: ClassVar[str]
    """The stop reason of a response with client calls."""

    @abstractmethod
    def definition(self, name: str, description: str, schema: JSON) -> JSON:
        """Return the definition of a tool in a request."""

    @abstractmethod
    def transcript(self, request: JSON) -> list[str]:
        """Return the conversation of a request, and assert that a provider would accept it."""

    @abstractmethod
    def story(self, answer: JSON) -> Story:
        """Read a buffered response."""

    @abstractmethod
    def streamed_story(self, raw: bytes) -> Story:
        """Read a stream, and assert that a client would accept it."""

    def names(self, request: JSON) -> list[str]:
        """Return the names of the tools that a request offers."""
        return [tool.get("function", tool)["name"] for tool in request.get("tools", ())]


def line_of_call(name: str, arguments: Any) -> str:
    """Return the line that describes a call."""
    return f"calls {name} {compact(arguments)}"


def compact(value: Any) -> str:
    """Encode compactly."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Calls:
    """Checks that each call has one result, and each result a call."""

    def __init__(self, *, may_be_stored: bool = False) -> None:
        self.open: list[str] = []
        self._may_be_stored = may_be_stored

    def call(self, call_id: str) -> None:
        assert call_id not in self.open, f"two calls of the id {call_id}"
        self.open.append(call_id)

    def result(self, call_id: str) -> None:
        if call_id not in self.open and self._may_be_stored:
            return
        assert call_id in self.open, f"a result of no call: {call_id}"
        self.open.remove(call_id)

    def end(self) -> None:
        assert not self.open, f"calls without results: {self.open}"


class MessagesReader(FormatReader):
    """Anthropic Messages."""

    api = "anthropic_messages"
    calls_stop = "tool_use"

    def definition(self, name: str, description: str, schema: JSON) -> JSON:
        return {"name": name, "description": description, "input_schema": schema}

    def transcript(self, request: JSON) -> list[str]:
        lines: list[str] = []
        calls = _Calls()
        for message in request["messages"]:
            blocks = _blocks(message["content"])
            kinds = [block["type"] for block in blocks]
            if message["role"] == "user":
                results = kinds.count("tool_result")
                assert kinds[:results] == ["tool_result"] * results, "results come first"
                assert results or not calls.open, f"calls without results: {calls.open}"
            else:
                calls.end()
                assert blocks, "an empty message"
            lines += [self._line(block, message["role"], calls) for block in blocks]
            if message["role"] == "user":
                calls.end()
        calls.end()
        uses_tools = any(line.startswith("calls") for line in lines)
        assert not uses_tools or request.get("tools"), "calls, and no tools defined"
        return lines

    def _line(self, block: JSON, role: str, calls: _Calls) -> str:
        match block["type"]:
            case "thinking":
                assert block["signature"], "thinking without its signature"
                return f"thinks {block['thinking']}"
            case "text":
                assert block["text"].strip(), "an empty text"
                return f"user: {block['text']}" if role == "user" else f"says {block['text']}"
            case "tool_use":
                calls.call(block["id"])
                assert isinstance(block["input"], dict), "arguments that are no object"
                return line_of_call(block["name"], block["input"])
            case "tool_result":
                calls.result(block["tool_use_id"])
                result = " | ".join(map(self._part, _blocks(block["content"])))
                return f"gets error: {result}" if block.get("is_error") else f"gets {result}"
        return f"has {block['type']}"

    def _part(self, part: JSON) -> str:
        if part["type"] == "text":
            return str(part["text"])
        source = part["source"]
        assert source["type"] == "base64"
        return f"[{source['media_type']} {source['data'][:8]}]"

    def story(self, answer: JSON) -> Story:
        assert answer["role"] == "assistant"
        lines = tuple(self._line(block, "assistant", _Calls()) for block in answer["content"])
        tokens = _anthropic_tokens(answer["usage"])
        return Story(answer["id"], lines, answer["stop_reason"], tokens)

    def streamed_story(self, raw: bytes) -> Story:
        events = named_events(raw)
        told = [event for event in events if event["type"] != "ping"]
        assert told[0]["type"] == "message_start"
        assert [event["type"] for event in told[-2:]] == ["message_delta", "message_stop"]
        message, end = told[0]["message"], told[-2]
        content: list[JSON] = []
        is_open = False
        for event in told[1:-2]:
            kind = event["type"]
            assert kind.startswith("content_block_"), f"{kind} in the middle"
            if kind == "content_block_start":
                assert not is_open, "a block within a block"
                assert event["index"] == len(content), "a gap between the blocks"
                content.append(dict(event["content_block"]))
            assert is_open == (kind != "content_block_start"), f"{kind} of no block"
            assert event["index"] == len(content) - 1, "a delta of another block"
            is_open = kind != "content_block_stop"
            if kind == "content_block_delta":
                _grow(content[-1], event["delta"])
        assert not is_open, "the last block has no end"
        for block in content:
            if "partial_json" in block:
                block["input"] = json.loads(block.pop("partial_json") or "{}")
        usage = message["usage"] | end["usage"]
        answer = {**message, **end["delta"], "content": content, "usage": usage}
        return self.story(answer)


def _blocks(content: Any) -> list[JSON]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _grow(block: JSON, delta: JSON) -> None:
    [field] = delta.keys() - {"type"}
    block[field] = block.get(field, "") + delta[field]


def _anthropic_tokens(usage: JSON) -> Tokens:
    return (
        usage["input_tokens"],
        usage["output_tokens"],
        usage["cache_read_input_tokens"],
        usage["cache_creation_input_tokens"],
    )


class ChatReader(FormatReader):
    """OpenAI Chat Completions."""

    api = "openai_chat"
    calls_stop = "tool_calls"

    def definition(self, name: str, description: str, schema: JSON) -> JSON:
        function = {"name": name, "description": description, "parameters": schema}
        return {"type": "function", "function": function}

    def transcript(self, request: JSON) -> list[str]:
        lines: list[str] = []
        calls = _Calls()
        for message in request["messages"]:
            if message["role"] == "tool":
                calls.result(message["tool_call_id"])
                assert isinstance(message["content"], str)
                lines.append(f"gets {message['content']}")
                continue
            calls.end()
            if message["role"] == "assistant":
                lines += self._lines(message, calls)
            else:
                lines.append(f"{message['role']}: {message['content']}")
        calls.end()
        return lines

    def _lines(self, message: JSON, calls: _Calls) -> list[str]:
        lines = []
        if thought := message.get("reasoning_content"):
            lines.append(f"thinks {thought}")
        if content := message.get("content"):
            lines.append(f"says {content}")
        for call in message.get("tool_calls") or ():
            calls.call(call["id"])
            kind = call["type"]
            given = call[kind].get("arguments", call[kind].get("input"))
            lines.append(f"calls {call[kind]['name']} {_tidy(given)}")
        return lines

    def story(self, answer: JSON) -> Story:
        [choice] = answer["choices"]
        lines = tuple(self._lines(choice["message"], _Calls()))
        return Story(answer["id"], lines, choice["finish_reason"], _chat_tokens(answer["usage"]))

    def streamed_story(self, raw: bytes) -> Story:
        *events, last = data_of(raw)
        assert last == "[DONE]"
        chunks = [json.loads(event) for event in events]
        envelopes = {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}
        assert len(envelopes) == 1, "two completions"
        usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
        assert len(usages) <= 1, "two usages"
        assert not usages or chunks[-1]["usage"], "the usage does not come last"
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        finishes = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
        assert finishes == [choices[-1]["finish_reason"]], "one end, at the end"
        roles = [choice["delta"]["role"] for choice in choices if choice["delta"].get("role")]
        assert roles == ["assistant"], "one beginning"
        message: JSON = {"tool_calls": []}
        for choice in choices:
            _add_delta(message, choice["delta"])
        tokens = _chat_tokens(usages[0]) if usages else None
        lines = tuple(self._lines(message, _Calls()))
        return Story(chunks[0]["id"], lines, finishes[0], tokens)


def _add_delta(message: JSON, delta: JSON) -> None:
    for field in ("content", "reasoning_content"):
        message[field] = message.get(field, "") + (delta.get(field) or "")
    calls = message["tool_calls"]
    for fragment in delta.get("tool_calls") or ():
        if fragment.get("id"):
            assert fragment["index"] == len(calls), "a gap between the calls"
            calls.append({"id": fragment["id"], "type": fragment["type"], "index": len(calls)})
        call = calls[fragment["index"]]
        part = call.setdefault(call["type"], {})
        for name, value in fragment[call["type"]].items():
            part[name] = part.get(name, "") + value


def _tidy(arguments: str) -> str:
    try:
        return compact(json.loads(arguments))
    except ValueError:
        return arguments


def _chat_tokens(usage: JSON) -> Tokens:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    return usage["prompt_tokens"] - cached, usage["completion_tokens"], cached, 0


class ResponsesReader(FormatReader):
    """OpenAI Responses."""

    api = "openai_responses"
    calls_stop = "completed"

    def definition(self, name: str, description: str, schema: JSON) -> JSON:
        return {
            "type": "function",
            "name": name,
            "description": description,
            "parameters": schema,
            "strict": False,
        }

    def transcript(self, request: JSON) -> list[str]:
        given = request["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        stored = request.get("previous_response_id") or request.get("conversation")
        calls = _Calls(may_be_stored=bool(stored))
        if request.get("store") is False:
            for item in items:
                assert_needs_no_store(item)
        ids = [item["id"] for item in items if "id" in item]
        assert len(ids) == len(set(ids)), "an item twice"
        lines = [line for item in items for line in self._lines(item, calls)]
        calls.end()
        return lines

    def _lines(self, item: JSON, calls: _Calls) -> list[str]:
        match item.get("type", "message"):
            case "message":
                text = "".join(_texts(item["content"]))
                if item["role"] == "user":
                    calls.end()
                return [f"says {text}" if item["role"] == "assistant" else f"user: {text}"]
            case "reasoning":
                secret = item.get("encrypted_content")
                thought = "".join(part["text"] for part in item["summary"])
                return [f"thinks {thought}" + (f" ({secret})" if secret else "")]
            case "function_call":
                calls.call(item["call_id"])
                return [f"calls {item['name']} {_tidy(item['arguments'])}"]
            case "custom_tool_call":
                calls.call(item["call_id"])
                return [f"calls {item['name']} {item['input']}"]
            case "function_call_output" | "custom_tool_call_output":
                calls.result(item["call_id"])
                return [f"gets {self._output(item['output'])}"]
        return [f"has {item['type']}"]

    def _output(self, output: Any) -> str:
        if isinstance(output, str):
            return output
        return " | ".join(
            f"[{part['image_url'].partition(',')[0]} {part['image_url'].partition(',')[2][:8]}]"
            if part["type"] == "input_image"
            else part["text"]
            for part in output
        )

    def story(self, answer: JSON) -> Story:
        lines = [line for item in answer["output"] for line in self._lines(item, _Calls())]
        tokens = _responses_tokens(answer["usage"])
        return Story(answer["id"], tuple(lines), answer["status"], tokens)

    def streamed_story(self, raw: bytes) -> Story:
        events = named_events(raw)
        numbers = [event["sequence_number"] for event in events]
        assert numbers == list(range(len(events))), "events are numbered without gaps"
        kinds = [event["type"] for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds[-1] in ("response.completed", "response.incomplete")
        whole = events[-1]["response"]
        done: list[JSON] = []
        current = None
        for event in events[2:-1]:
            if event["type"] == "response.output_item.added":
                assert current is None, "an item within an item"
                assert event["output_index"] == len(done), "a gap between the items"
                current = event["item"]["id"]
            assert event["output_index"] == len(done), "an event of another item"
            assert event.get("item_id", current) == current
            if event["type"] == "response.output_item.done":
                done.append(event["item"])
                current = None
        assert current is None, "the last item has no end"
        assert whole["output"] == done, "the end tells what has come"
        assert whole["id"] == events[0]["response"]["id"]
        return self.story(whole)


def assert_needs_no_store(item: JSON) -> None:
    """Assert that an item does not refer to a response that the provider was told not to store."""
    if item.get("type") == "reasoning":
        assert item.get("encrypted_content"), "reasoning that is not stored"
    else:
        assert "id" not in item, "an id of what is not stored"


def _texts(content: Any) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content]


def _responses_tokens(usage: JSON) -> Tokens:
    details = usage["input_tokens_details"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    read, write = details["cached_tokens"], details["cache_write_tokens"]
    return usage["input_tokens"] - read - write, usage["output_tokens"], read, write


READERS: dict[str, FormatReader] = {
    reader.api: reader for reader in (MessagesReader(), ChatReader(), ResponsesReader())
}


def reader_of(api: API) -> FormatReader:
    """Return the reader of a wire format."""
    return READERS[api.name]


def data_of(raw: bytes) -> list[str]:
    """Return the data of a stream's events, without comments."""
    assert raw.endswith(b"\n\n"), "the last event has no end"
    lines = raw.decode().split("\n")
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def named_events(raw: bytes) -> list[JSON]:
    """Return the events of a stream, and assert that each has the name of its type."""
    events = []
    for block in raw.decode().split("\n\n")[:-1]:
        lines: Sequence[str] = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        name, data = lines
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert raw.endswith(b"\n\n"), "the last event has no end"
    return events
