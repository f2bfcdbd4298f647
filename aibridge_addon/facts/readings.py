"""Readings: contents of requests and responses, as the wire formats read them. Not published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aibridge_addon.facts.token_counts import known_sum

type ThoughtSource = Literal["thinking", "reasoning_summary", "commentary"]
type RequestKind = Literal["turn", "title", "compaction", "subagent", "memory", "warmup", "side"]
"""Purpose of a request: `turn` is a person's or a script's own request, all others are made by the
client program itself. `side` covers quota probes, classifiers and the like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """Contents of a request, as its wire format reads them."""

    model: str | None = None
    streaming: bool = False
    background: bool = False
    """True if the provider continues although nobody waits for its response."""
    user_texts: tuple[tuple[str, ...], ...] = ()
    """Texts of each user message after the last response, oldest first, as the client sent them."""
    position: str | None = None
    """Position of `user_texts` in the conversation: the same in a retry, not in the next turn."""
    prefilled: bool = False
    """True if the request ends with the beginning of the response, which the model continues."""
    system: tuple[str, ...] = ()
    """Beginnings of the texts of the system prompt."""
    correlating_tool_call_id: str | None = None
    session_hint: str | None = None
    """The session that the body names."""
    prompt_id: str | None = None
    """The client's id of the typed prompt, if the body names it."""
    request_kind: RequestKind | None = None
    """The purpose, if the wire format states it."""
    billing_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that change the price, such as `service_tier`."""
    client_metadata: Mapping[str, str] = field(default_factory=dict)
    """Texts of `client_metadata`, in which Codex repeats its headers."""


REQUESTED = "requested_"
"""Prefix of keys in the `extra` of a usage: labels that the request asked for, and that the usage
itself does not report."""

PRICING = "pricing"
"""Key in the `extra` of a usage: `free` for a call that the provider does not bill."""
FREE = "free"

UNEXPLAINED_TOKENS = "unexplained_tokens"
"""Key in the `extra` of a usage: the reported total less input and output, if unexplained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call, with the fields of `TokenUsage`."""

    input_tokens: int | None
    output_tokens: int | None
    """None, like any count, if the provider does not state it. A call that is billed in another
    unit, which `extra` has, has neither input nor output."""
    cache_read_input_tokens: int | None = 0
    """0 if the provider states no cache: caches are optional in all APIs."""
    cache_write_input_tokens: int | None = 0
    extra: Mapping[str, int | float | str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    call: str | None = None
    """Kind of a call that the provider made by itself; None for the response's own tokens."""
    model: str | None = None
    """The model of such a call."""
    response_id: str | None = None
    """The id of the response of such a call, if it has one of its own."""
    key: str | None = None
    """Identifies a call of a batch, so that it is recorded once."""

    @property
    def context_tokens(self) -> int | None:
        """Tokens of a session after the call, which its next call reads again."""
        return known_sum(self.input_tokens, self.cache_read_input_tokens, self.output_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call in a response."""

    tool: str
    call_id: str | None
    input: Any
    server_side: bool = False
    """True if the provider itself runs it (web search, …), so that the client sends no result."""
    asks_approval: bool = False
    """True if the provider waits for permission to run it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """A thought in a response."""

    content: str
    source: ThoughtSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderError:
    """An error with the type and message that the provider states."""

    type: str | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFacts:
    """Contents of a response, as its wire format reads them, complete or so far."""

    response_id: str | None = None
    model: str | None = None
    """The model that served the request."""
    usage: Usage | None = None
    """The response's own tokens."""
    hidden_usages: tuple[Usage, ...] = ()
    """Tokens of calls that the provider made by itself and does not count in `usage`."""
    tool_calls: tuple[ToolCall, ...] = ()
    thoughts: tuple[Thought, ...] = ()
    error: ProviderError | None = None
    complete: bool = False
    """True if the response reached the end that its format defines."""
    pending: bool = False
    """True if the response states that the provider still works on it."""
    results_id: str | None = None
    """The id of the file whose content has the usage of a batch."""
    cancelled: bool = False
    """True if the response states that it was cancelled."""
    unreadable: int = 0
    """Number of events or bodies that should have been JSON of a known shape and were not."""
    usage_unreadable: bool = False
    """True if a usage object states tokens, and no input or output can be read from it."""
    unknown: tuple[str, ...] = ()
    """Kinds of events that no reader knows; they are relayed all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenInput:
    """Input of a request beside its text: audio, images, and the session of its WebSocket."""

    audio_tokens: int = 0
    """Tokens of audio that no response has read yet."""
    video_tokens: int = 0
    image_tokens: int = 0
    """Tokens of images in files of a form."""
    blobs: int = 0
    """Number of base64 values in the request that are in `audio_tokens`."""
    context_tokens: int = 0
    """Tokens of the session so far, which the provider reads again for each response."""
    is_answered_in_audio: bool = False
    is_answered_in_images: bool = False


NOTHING_SPOKEN = SpokenInput()
