"""Records: the facts that are published, one dataclass for each kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from aibridge_addon.facts.ids import this_process_id
from aibridge_addon.facts.readings import RequestKind, ThoughtSource
from aibridge_addon.facts.token_counts import known_sum, unknown_counts


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
    """The proxy ended, or its process died; another one then writes it."""


type CredentialKind = Literal["centralized", "byok", "subscription"]
"""A subscription is a login whose calls are not billed one by one."""


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
    access_token_id: str | None = None
    """The id of the access token that the request came with."""
    billing_labels: Mapping[str, str] = field(default_factory=dict)
    """Requested labels that change the price, such as `service_tier`."""
    process_id: str | None = field(default_factory=this_process_id)
    """The `ProcessSeen` that handles it."""


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
    may_be_read_again: bool = False
    """True for a batch: its results may be read again, and must find this record then."""

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
    is_further_id: bool = False
    """True for another id of the same response: the id of the file with the results of a batch."""
    has_ended: bool = False
    """True if the store that it was read from has the end."""
    usages: frozenset[str] = frozenset()
    """Ids of the usages in the store that it was read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one model call: an upstream response, or a call that the provider made for it."""

    id: str
    interception: Interception
    provider_response_id: str | None
    model: str | None
    """The model that the provider names."""
    input_tokens: int | None
    """Input tokens, without those read from or written to a cache. None, like any count, if the
    provider does not state it. A call that is billed in another unit, which `extra` has, has
    neither input nor output."""
    output_tokens: int | None
    cache_read_input_tokens: int | None
    cache_write_input_tokens: int | None
    extra: Mapping[str, int | float | str]
    raw: Mapping[str, Any]
    """The provider's own usage object."""
    call: str | None = None
    """Kind of a call that the provider made by itself, such as `compaction`."""
    created_at: str
    upstream: int = 0
    """Number of the upstream request within the interception, from 0."""
    started_at: str | None = None
    """Start of the upstream request; None if unknown."""
    duration_ms: int | None = None
    """Time to the end of the upstream response; None if nobody saw it end."""
    ttft_ms: int | None = None
    """Time to the first byte of a streamed body; None for a body that is not streamed."""

    @property
    def prompt_tokens(self) -> int | None:
        """All input tokens, caches included; None if a part of them is unknown."""
        return known_sum(
            self.input_tokens, self.cache_read_input_tokens, self.cache_write_input_tokens
        )

    @property
    def unknown_counts(self) -> tuple[str, ...]:
        """The counts that the provider did not state, of a call that is billed in tokens."""
        return unknown_counts(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsageSoFar(TokenUsage):
    """Tokens that a stream reported before its end.

    A `TokenUsage` with the same id follows, unless the process dies.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a model call by list prices, in nano-dollars; None if it is unknown."""

    cost_nano_usd: int | None = None
    uncached_cost_nano_usd: int | None = None
    """The price of the same tokens without a cache."""
    price_source: str | None = None
    """The prices that were matched, with their date."""
    unpriced_reason: str | None = None
    """Set if there is no cost."""
    provider_cost_nano_usd: int | None = None
    """The cost that the provider itself reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePriced:
    """The price of a usage; published when both are recorded."""

    usage: TokenUsage
    price: Price

    @property
    def interception(self) -> Interception:
        """The interception of the usage."""
        return self.usage.interception


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
    duration_ms: int | None = None
    """Duration of the call of a central tool."""
    result_bytes: int | None = None
    """Size of the result of a central tool, as UTF-8."""


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
class RequestContent:
    """The body of an upstream request; published only if its content is recorded."""

    interception: Interception
    upstream: int
    """Number of the upstream request: 0 is the client's own, the others are follow-ups."""
    body: bytes = field(repr=False)
    """The decoded body; of the client's own request as the client sent it."""
    capture: frozenset[str]
    """Words of `aibridge_capture`: the contents that may be recorded."""
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseContent:
    """The body of an upstream response; published only if its content is recorded."""

    interception: Interception
    upstream: int
    """Number of the upstream request."""
    provider_response_id: str | None
    body: bytes = field(repr=False)
    """The decoded body as it was received, a stream or a document; partial if it broke off."""
    status: int
    """HTTP status."""
    capture: frozenset[str]
    """Words of `aibridge_capture`: the contents that may be recorded."""
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
class ResponseBegan:
    """The head of a provider's response to an upstream request."""

    interception: Interception
    http_status: int
    retry_after: float | None
    """Seconds after which the provider accepts a retry, if it states them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitsSeen:
    """Headers about rate limits in the head of a provider's response."""

    interception: Interception
    """The request that was answered; a handshake of a WebSocket has no record of its own."""
    headers: Mapping[str, str]
    """Values as the provider sent them, by names in lower case."""
    seen_at: str
