"""What is recorded: facts, each made in one place and never changed.

A fact goes to every subscriber (recorder, metrics, …); nobody computes it again. Times are UTC,
ISO 8601 with microseconds; ids are UUIDv7, so they sort by time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import uuid_utils


class Status(StrEnum):
    """How an interception ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    """The upstream answered with an error, could not be reached, or broke off."""
    CANCELLED = "cancelled"
    """The client left before the end."""
    REFUSED = "refused"
    """A policy of ours said no."""
    INTERRUPTED = "interrupted"
    """Our process died; written at the next start."""


type CredentialKind = Literal["centralized", "byok"]
type ThoughtSource = Literal["thinking", "reasoning_summary", "commentary"]
type RequestKind = Literal["turn", "title", "compaction", "subagent", "memory", "warmup", "side"]
"""Purpose of a request: `turn` is a person's or a script's own request, all others are made by the
client program itself. `side` covers quota probes, classifiers and the like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interception:
    """One bridged client request, as known when it goes up."""

    id: str
    initiator_id: str
    metadata: Mapping[str, Any]
    provider: str
    """The provider's type: `anthropic` or `openai`."""
    provider_name: str
    """The provider instance."""
    api: str
    """The wire format."""
    route: str
    """The route as the route table names it, never a raw path."""
    method: str
    model: str | None
    """As the client asked for it."""
    client: str
    user_agent: str | None
    client_session_id: str | None
    request_kind: RequestKind
    prompt_id: str | None
    """The client's id of the typed prompt: joins its attempts, tool round trips and sub-agents."""
    agent_id: str | None
    """The client's id of the sub-agent that sends this request."""
    correlating_tool_call_id: str | None
    """The tool call whose result this request brings: it links to who issued that call."""
    credential_kind: CredentialKind | None
    credential_hint: str | None
    streaming: bool
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InterceptionEnded:
    """The one end of an interception."""

    interception: Interception
    provider_response_id: str | None
    metadata: Mapping[str, Any]
    """That of the interception, with what only its end tells."""
    ended_at: str
    status: Status
    http_status: int | None
    error_type: str | None
    error_message: str | None
    partial: bool
    """Whether something of the answer could not be seen or understood."""
    prompted: bool
    """Whether a prompt was recorded."""
    usage_told: bool
    """Whether an answer told its token usage."""
    in_background: bool
    """Whether it stayed open as a `BackgroundResponse` before."""
    unreadable: int
    """Events or bodies that should have been understood and were not."""
    unknown: tuple[str, ...]
    """Kinds of events that no reader knows."""
    seconds: float
    """From the request's head to the end."""
    seconds_to_first_byte: float | None
    """From the request's head to the first byte of a streamed body."""

    @property
    def usage_is_unknown(self) -> bool:
        """Whether a provider may have billed something, and told no usage.

        What was refused, answered with an error or never answered costs nothing.
        """
        if self.usage_told or self.status is Status.REFUSED:
            return False
        if self.http_status is None:
            return self.status in (Status.CANCELLED, Status.INTERRUPTED)
        return self.http_status < 400


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundResponse:
    """A response that the provider goes on to make in the background.

    Its interception stays open until a later request, such as a poll, brings its end.
    """

    interception: Interception
    provider_response_id: str
    prompted: bool
    """Whether a prompt was recorded."""
    token_usage_id: str
    """The id of the usage to come, so that it has one row however often its end is seen."""
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """What one model call cost: an upstream response, or a call that the provider made for it."""

    id: str
    interception: Interception
    provider_response_id: str | None
    model: str | None
    """As the provider names it."""
    input_tokens: int
    """Without what was read from or written to a cache."""
    output_tokens: int
    cache_read_input_tokens: int
    cache_write_input_tokens: int
    extra: Mapping[str, int | float | str]
    raw: Mapping[str, Any]
    """The provider's own usage object."""
    call: str | None = None
    """The kind of the call if the provider made it by itself, such as `compaction`."""
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsageSoFar(TokenUsage):
    """What a stream told of its tokens before its end. A `TokenUsage` with the same id follows,
    unless the process dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPrompt:
    """What a person typed; recorded with the first request that brings it, before its answer."""

    id: str
    interception: Interception
    prompt: str
    digest: str | None
    """Names the typed prompt, so that a store keeps it once; None where a retry is unknown."""
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
    """The MCP server of an injected tool."""
    input: Any
    """The arguments, as JSON; a string where they are not JSON."""
    injected: bool
    invocation_error: str | None
    metadata: Mapping[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelThought:
    """A thought that the model showed."""

    id: str
    interception: Interception
    provider_response_id: str | None
    content: str
    source: ThoughtSource
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenTurns:
    """Turns of the inner loop that the client did not see, to be put back into later requests."""

    scope: str
    """A digest of whose conversation it is."""
    key: str
    """What the visible answer is known by in later requests."""
    content: str
    """JSON."""
    created_at: str


type Fact = (
    Interception
    | InterceptionEnded
    | BackgroundResponse
    | TokenUsage
    | TokenUsageSoFar
    | UserPrompt
    | ToolUsage
    | ModelThought
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What a wire format's module reads from a request."""

    model: str | None = None
    streaming: bool = False
    background: bool = False
    """Whether the provider goes on although nobody waits for its answer."""
    said: tuple[tuple[str, ...], ...] = ()
    """Texts of each user message after the last answer, oldest first, as the client sent them."""
    position: str | None = None
    """Where `said` stands in the conversation: the same in a retry, another in the next turn."""
    system: tuple[str, ...] = ()
    """Beginnings of the texts of the system prompt."""
    correlating_tool_call_id: str | None = None
    session_hint: str | None = None
    """The session as the body names it."""
    request_kind: RequestKind | None = None
    """The purpose, where the wire format itself tells it."""
    client_metadata: Mapping[str, str] = field(default_factory=dict)
    """The texts of `client_metadata`, in which Codex repeats its headers."""


UNEXPLAINED_TOKENS = "unexplained_tokens"
"""In the `extra` of a usage: the told total less input and output, where nothing explains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call, in the terms of `TokenUsage`."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    extra: Mapping[str, int | float | str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    call: str | None = None
    """The kind of the call if the provider made it by itself; None: the response's own tokens."""
    model: str | None = None
    """The model of such a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call in a response."""

    tool: str
    call_id: str | None
    input: Any
    server_side: bool = False
    """Run by the provider itself (web search, …): not the client's to answer."""
    asks_approval: bool = False
    """Not run yet: the provider asks whether it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """A thought in a response."""

    content: str
    source: ThoughtSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderError:
    """An error as the provider names it."""

    type: str | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFacts:
    """What a wire format's module reads from a response, whole or as far as it came."""

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
    """Whether the response came to the end that its format defines."""
    pending: bool = False
    """Whether the provider has not come to the end of its work, as the response itself says."""
    cancelled: bool = False
    """Whether the response says that it was cancelled."""
    unreadable: int = 0
    """Events or bodies that should have been JSON of a known shape and were not."""
    unknown: tuple[str, ...] = ()
    """Kinds of events that no reader knows; they pass all the same."""


def new_id() -> str:
    """Return a new id that sorts after all ids made before."""
    return str(uuid_utils.uuid7())


def now() -> str:
    """Return the time, UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
