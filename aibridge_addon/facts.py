"""Facts: the frozen records of requests and responses, each created in one place.

`fact_bus` delivers a fact to its subscribers (recorder, metrics, …); nobody computes it again.
Times are UTC, ISO 8601 with microseconds; ids are UUIDv7, so they sort by time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import uuid_utils


class Status(StrEnum):
    """Outcome of an interception."""

    COMPLETED = "completed"
    FAILED = "failed"
    """The upstream responded with an error, could not be reached, or broke off."""
    CANCELLED = "cancelled"
    """The client disconnected before the end."""
    REFUSED = "refused"
    """A policy refused the request."""
    INTERRUPTED = "interrupted"
    """The proxy ended, or its process died; then written at the next start."""


type CredentialKind = Literal["centralized", "byok"]
type ThoughtSource = Literal["thinking", "reasoning_summary", "commentary"]
type RequestKind = Literal["turn", "title", "compaction", "subagent", "memory", "warmup", "side"]
"""Purpose of a request: `turn` is a person's or a script's own request, all others are made by the
client program itself. `side` covers quota probes, classifiers and the like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interception:
    """One bridged client request, as known when it is sent upstream."""

    id: str
    initiator_id: str
    metadata: Mapping[str, Any]
    provider: str
    """The provider's type: `anthropic` or `openai`."""
    provider_name: str
    """The provider instance."""
    api: str
    """Name of the wire format."""
    route: str
    """Label of the route in the route table, never a raw path."""
    method: str
    model: str | None
    """The model that the client requested."""
    client: str
    user_agent: str | None
    client_session_id: str | None
    request_kind: RequestKind
    prompt_id: str | None
    """The client's id of the typed prompt: joins its attempts, tool round trips and sub-agents."""
    agent_id: str | None
    """The client's id of the sub-agent that sends this request."""
    correlating_tool_call_id: str | None
    """The tool call whose result this request contains."""
    credential_kind: CredentialKind | None
    credential_hint: str | None
    streaming: bool
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InterceptionEnded:
    """The end of an interception; each has exactly one."""

    interception: Interception
    provider_response_id: str | None
    metadata: Mapping[str, Any]
    """The interception's metadata, with what is known only at its end."""
    ended_at: str
    status: Status
    http_status: int | None
    error_type: str | None
    error_message: str | None
    partial: bool
    """True if part of the request or response could not be read."""
    prompted: bool
    """True if a prompt was recorded."""
    usage_reported: bool
    """True if a response reported its token usage."""
    in_background: bool
    """True if it stayed open as a `BackgroundResponse` before."""
    unreadable: int
    """Number of events or bodies of a known kind that could not be read."""
    unknown: tuple[str, ...]
    """Kinds of events that no reader knows."""
    seconds: float
    """Time from the request's head to the end."""
    seconds_to_first_byte: float | None
    """Time from the request's head to the first byte of a streamed body."""

    usage_unreadable: bool = False
    """True if a usage object states tokens, and no input or output can be read from it."""

    @property
    def usage_is_unknown(self) -> bool:
        """True if a provider may have billed the request, and reported no usage.

        A refused request, an error and a request without a response cost nothing.
        """
        if self.usage_reported or self.status is Status.REFUSED:
            return False
        if self.http_status is None:
            return self.status in (Status.CANCELLED, Status.INTERRUPTED)
        return self.http_status < 400


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundResponse:
    """A response that the provider continues to generate in the background.

    Its interception stays open until the response to a later request, such as a poll, contains its
    end.
    """

    interception: Interception
    provider_response_id: str
    prompted: bool
    """True if a prompt was recorded."""
    token_usage_id: str
    """Id of the usage that follows, so that it has one row however often its end is seen."""
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one model call: an upstream response, or a call that the provider made for it."""

    id: str
    interception: Interception
    provider_response_id: str | None
    model: str | None
    """The model that the provider names."""
    input_tokens: int
    """Input tokens, without those read from or written to a cache."""
    output_tokens: int
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    extra: Mapping[str, int | float | str]
    raw: Mapping[str, Any]
    """The provider's own usage object."""
    call: str | None = None
    """Kind of a call that the provider made by itself, such as `compaction`."""
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsageSoFar(TokenUsage):
    """Tokens that a stream reported before its end.

    A `TokenUsage` with the same id follows, unless the process dies.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPrompt:
    """A prompt that a person typed; recorded with the first request that contains it."""

    id: str
    interception: Interception
    prompt: str
    digest: str | None
    """Identifies the typed prompt, so that it is stored once; None if retries are undetectable."""
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUsage:
    """One tool call that the model selected."""

    id: str
    interception: Interception
    provider_response_id: str | None
    tool: str
    tool_call_id: str | None
    server_url: str | None
    """Address of the MCP server of an injected tool."""
    input: Any
    """The arguments as JSON; a string if they are not JSON."""
    injected: bool
    invocation_error: str | None
    metadata: Mapping[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelThought:
    """A thought that the model displayed."""

    id: str
    interception: Interception
    provider_response_id: str | None
    content: str
    source: ThoughtSource
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenTurns:
    """Turns of the inner loop that the client did not see, to be restored in later requests."""

    scope: str
    """A digest that identifies the owner of the conversation."""
    key: str
    """Identifies the visible response in later requests."""
    content: str
    """JSON."""
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitsSeen:
    """Headers about rate limits in the head of a provider's response."""

    interception: Interception
    """The request that was answered; a handshake of a WebSocket has no record of its own."""
    headers: Mapping[str, str]
    """Values as the provider sent them, by names in lower case."""
    seen_at: str


type Fact = (
    Interception
    | InterceptionEnded
    | BackgroundResponse
    | TokenUsage
    | TokenUsageSoFar
    | UserPrompt
    | ToolUsage
    | ModelThought
    | RateLimitsSeen
)


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
    system: tuple[str, ...] = ()
    """Beginnings of the texts of the system prompt."""
    correlating_tool_call_id: str | None = None
    session_hint: str | None = None
    """The session that the body names."""
    request_kind: RequestKind | None = None
    """The purpose, if the wire format states it."""
    client_metadata: Mapping[str, str] = field(default_factory=dict)
    """Texts of `client_metadata`, in which Codex repeats its headers."""


UNEXPLAINED_TOKENS = "unexplained_tokens"
"""Key in the `extra` of a usage: the reported total less input and output, if unexplained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call, with the fields of `TokenUsage`."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    extra: Mapping[str, int | float | str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    call: str | None = None
    """Kind of a call that the provider made by itself; None for the response's own tokens."""
    model: str | None = None
    """The model of such a call."""


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
    cancelled: bool = False
    """True if the response states that it was cancelled."""
    unreadable: int = 0
    """Number of events or bodies that should have been JSON of a known shape and were not."""
    usage_unreadable: bool = False
    """True if a usage object states tokens, and no input or output can be read from it."""
    unknown: tuple[str, ...] = ()
    """Kinds of events that no reader knows; they are relayed all the same."""


def new_id() -> str:
    """Return a new id that sorts after all earlier ids."""
    return str(uuid_utils.uuid7())


def now() -> str:
    """Return the time, UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
