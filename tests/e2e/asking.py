"""One question, whichever API: asked by the official SDK, answered in the same terms.

`API.ask` goes through the SDKs' own stream helpers where it streams, so an answer that comes back
has been accepted by their accumulators.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from e2e.clients import Clients, Way

TOOL_SCHEMAS: dict[str, dict[str, Any]] = {
    "get_weather": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "get_time": {"type": "object", "properties": {}},
}
"""The tools that a question may offer, by name."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call as the SDK gives it."""

    id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as the SDK gives it."""

    id: str
    text: str
    calls: tuple[ToolCall, ...]
    item: Any
    """The SDK's own object."""
    turn: list[Any]
    """Parts of the response that the next request carries."""


class API(ABC):
    """A wire format and its SDK."""

    name: ClassVar[str]
    """As the records name it."""
    provider: ClassVar[Literal["anthropic", "openai"]]
    path: ClassVar[str]
    """Below the provider's base URL."""
    model: ClassVar[str]
    thought_source: ClassVar[str]

    def __str__(self) -> str:
        return self.name

    def ask(
        self,
        clients: Clients,
        way: Way,
        prompt: str | list[Any],
        *,
        stream: bool = False,
        tools: Sequence[str] = (),
        client_options: dict[str, Any] | None = None,
    ) -> Answer:
        """Ask; `said` is a text of the user's or a whole conversation."""
        with self._client(clients, way, client_options or {}) as client:
            return self._ask(client, self.request(prompt, tools), stream)

    @abstractmethod
    def request(self, prompt: str | list[Any], tools: Sequence[str] = ()) -> dict[str, Any]:
        """Return the arguments of the SDK's method, which are the members of the body."""

    @abstractmethod
    def result(self, call: ToolCall, text: str) -> Any:
        """Return the result of a tool call as it stands in a conversation."""

    @abstractmethod
    async def ask_async(self, client: Any, prompt: str | list[Any], *, stream: bool) -> Answer:
        """Ask with an asynchronous client."""

    @abstractmethod
    def async_client(self, clients: Clients, way: Way) -> Any:
        """Return the asynchronous client."""

    @abstractmethod
    def counts(self, fresh: int, output: int, read: int, write: int) -> tuple[int, int, int, int]:
        """Return what is recorded of `TOKENS:fresh,output,read,write`."""

    def body(
        self, prompt: str | list[Any], *, stream: bool = False, tools: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return the body of a bare request."""
        request = self.request(prompt, tools)
        return request | {"stream": True} if stream else request

    @abstractmethod
    def _client(self, clients: Clients, way: Way, options: dict[str, Any]) -> Any: ...

    @abstractmethod
    def _ask(self, client: Any, request: dict[str, Any], stream: bool) -> Answer: ...


class AnthropicMessages(API):
    """Anthropic Messages."""

    name = "anthropic_messages"
    provider = "anthropic"
    path = "/v1/messages"
    model = "claude-standin-1"
    thought_source = "thinking"

    def request(self, prompt: str | list[Any], tools: Sequence[str] = ()) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "max_tokens": 100,
            "messages": _conversation(prompt),
        }
        if tools:
            request["tools"] = [
                {"name": name, "input_schema": TOOL_SCHEMAS[name]} for name in tools
            ]
        return request

    def result(self, call: ToolCall, text: str) -> Any:
        block = {"type": "tool_result", "tool_use_id": call.id, "content": text}
        return {"role": "user", "content": [block]}

    def counts(self, fresh: int, output: int, read: int, write: int) -> tuple[int, int, int, int]:
        return fresh, output, read, write

    def async_client(self, clients: Clients, way: Way) -> Any:
        return clients.async_anthropic(way)

    async def ask_async(self, client: Any, prompt: str | list[Any], *, stream: bool) -> Answer:
        if not stream:
            return self._answer(await client.messages.create(**self.request(prompt)))
        async with client.messages.stream(**self.request(prompt)) as events:
            return self._answer(await events.get_final_message())

    def _client(self, clients: Clients, way: Way, options: dict[str, Any]) -> Any:
        return clients.anthropic(way, **options)

    def _ask(self, client: Any, request: dict[str, Any], stream: bool) -> Answer:
        if not stream:
            return self._answer(client.messages.create(**request))
        with client.messages.stream(**request) as events:
            return self._answer(events.get_final_message())

    def _answer(self, message: Any) -> Answer:
        blocks = message.content
        return Answer(
            id=message.id,
            text="".join(block.text for block in blocks if block.type == "text"),
            calls=tuple(
                ToolCall(block.id, block.name, block.input)
                for block in blocks
                if block.type == "tool_use"
            ),
            item=message,
            turn=[{"role": "assistant", "content": [_plain(block) for block in blocks]}],
        )


class ChatCompletions(API):
    """OpenAI Chat Completions; its streams ask for the usage."""

    name = "openai_chat"
    provider = "openai"
    path = "/chat/completions"
    model = "gpt-5"
    thought_source = "thinking"

    def request(self, prompt: str | list[Any], tools: Sequence[str] = ()) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.model, "messages": _conversation(prompt)}
        if tools:
            request["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": TOOL_SCHEMAS[name]}}
                for name in tools
            ]
        return request

    def result(self, call: ToolCall, text: str) -> Any:
        return {"role": "tool", "tool_call_id": call.id, "content": text}

    def counts(self, fresh: int, output: int, read: int, write: int) -> tuple[int, int, int, int]:
        return fresh + write, output, read, 0  # it does not tell cache writes

    def body(
        self, prompt: str | list[Any], *, stream: bool = False, tools: Sequence[str] = ()
    ) -> dict[str, Any]:
        body = super().body(prompt, stream=stream, tools=tools)
        return body | _WITH_USAGE if stream else body

    def async_client(self, clients: Clients, way: Way) -> Any:
        return clients.async_openai(way)

    async def ask_async(self, client: Any, prompt: str | list[Any], *, stream: bool) -> Answer:
        request = self.request(prompt)
        if not stream:
            return self._answer(await client.chat.completions.create(**request))
        async with client.chat.completions.stream(**request, **_WITH_USAGE) as events:
            return self._answer(await events.get_final_completion())

    def _client(self, clients: Clients, way: Way, options: dict[str, Any]) -> Any:
        return clients.openai(way, **options)

    def _ask(self, client: Any, request: dict[str, Any], stream: bool) -> Answer:
        if not stream:
            return self._answer(client.chat.completions.create(**request))
        with client.chat.completions.stream(**request, **_WITH_USAGE) as events:
            return self._answer(events.get_final_completion())

    def _answer(self, completion: Any) -> Answer:
        message = completion.choices[0].message
        return Answer(
            id=completion.id,
            text=message.content or "",
            calls=tuple(
                ToolCall(call.id, call.function.name, json.loads(call.function.arguments))
                for call in message.tool_calls or ()
            ),
            item=completion,
            turn=[_plain(message)],
        )


class Responses(API):
    """OpenAI Responses."""

    name = "openai_responses"
    provider = "openai"
    path = "/responses"
    model = "gpt-5"
    thought_source = "reasoning_summary"

    def request(self, prompt: str | list[Any], tools: Sequence[str] = ()) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.model, "input": _conversation(prompt)}
        if tools:
            request["tools"] = [
                {
                    "type": "function",
                    "name": name,
                    "parameters": TOOL_SCHEMAS[name],
                    "strict": False,
                }
                for name in tools
            ]
        return request

    def result(self, call: ToolCall, text: str) -> Any:
        return {"type": "function_call_output", "call_id": call.id, "output": text}

    def counts(self, fresh: int, output: int, read: int, write: int) -> tuple[int, int, int, int]:
        return fresh, output, read, write

    def async_client(self, clients: Clients, way: Way) -> Any:
        return clients.async_openai(way)

    async def ask_async(self, client: Any, prompt: str | list[Any], *, stream: bool) -> Answer:
        if not stream:
            return self._answer(await client.responses.create(**self.request(prompt)))
        async with client.responses.stream(**self.request(prompt)) as events:
            return self._answer(await events.get_final_response())

    def _client(self, clients: Clients, way: Way, options: dict[str, Any]) -> Any:
        return clients.openai(way, **options)

    def _ask(self, client: Any, request: dict[str, Any], stream: bool) -> Answer:
        if not stream:
            return self._answer(client.responses.create(**request))
        with client.responses.stream(**request) as events:
            return self._answer(events.get_final_response())

    def _answer(self, response: Any) -> Answer:
        return Answer(
            id=response.id,
            text=response.output_text,
            calls=tuple(
                ToolCall(item.call_id, item.name, json.loads(item.arguments))
                for item in response.output
                if item.type == "function_call"
            ),
            item=response,
            turn=[_plain(item) for item in response.output],
        )


APIS: tuple[API, ...] = (AnthropicMessages(), ChatCompletions(), Responses())

_WITH_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


def user(text: str) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": text}


def _conversation(prompt: str | list[Any]) -> list[Any]:
    return [user(prompt)] if isinstance(prompt, str) else prompt


def _plain(item: Any) -> dict[str, Any]:
    # What SDK helpers add to an answer is not part of the API.
    dumped: Any = item.model_dump(mode="json", exclude_none=True, by_alias=True)
    plain: dict[str, Any] = _without_parsed(dumped)
    return plain


def _without_parsed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_parsed(member)
            for key, member in value.items()
            if not key.startswith("parsed")
        }
    if isinstance(value, list):
        return [_without_parsed(member) for member in value]
    return value
