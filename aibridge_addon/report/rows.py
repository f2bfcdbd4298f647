"""Rows of the reports. Times are UTC in ISO 8601; None is unknown, never zero."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aibridge_addon.facts import known_sum
from aibridge_addon.report.figures import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Page[Row]:
    """Some rows of a list, and the cursor of the next page."""

    rows: tuple[Row, ...] = ()
    next_cursor: str = ""
    """Goes into `RequestQuery.cursor`; empty: there are no more rows."""
    note: str = ""
    """A limitation of the rows that a person should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """Figures of one group."""

    names: tuple[str | None, ...]
    """A name for each grouping of the query; None: the requests have none, such as no session."""
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Figures by groups; times in order, else the most expensive first."""

    rows: tuple[GroupRow, ...] = ()
    more: int = 0
    """Groups that `limit` left out."""
    overall: Figures = field(default_factory=Figures)
    """Figures of all requests: by tool, less than the sum of the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A client session of one actor."""

    id: str
    actor: str
    client: str
    started_at: str
    """Start of its first request."""
    latest_at: str
    """Start of its newest request."""
    models: tuple[str, ...]
    """Requested models; the list may be cut."""
    prompt: str | None
    """Beginning of the first typed prompt; None: none was recorded."""
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUse:
    """Use of one access token."""

    id: str
    figures: Figures
    """`figures.latest` is its last use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """An actor with the programs and access tokens that were used."""

    actor: str
    clients: tuple[str, ...]
    models: tuple[str, ...]
    tokens: tuple[TokenUse, ...]
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles over completed requests, in ms to within 1.6 %; None: nothing was measured."""

    requests: int = 0
    ttft_ms_p50: int | None = None
    """Time to the first byte of a streamed body."""
    ttft_ms_p95: int | None = None
    duration_ms_p50: int | None = None
    """Time from the request's head to the end of the response."""
    duration_ms_p95: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One recorded client request, as a line of a list."""

    id: str
    actor: str
    team: str | None
    token: str | None
    """Id of the access token."""
    client: str
    session: str | None
    provider: str
    """Name of the provider instance."""
    api: str
    model: str | None
    """As requested."""
    served_model: str | None
    """As the provider names it; of the last call."""
    kind: str | None
    prompt_id: str | None
    agent_id: str | None
    """The client's id of the sub-agent; None: the main conversation."""
    credential_kind: str | None
    streaming: bool
    started_at: str
    ended_at: str | None
    status: str | None
    """A value of `facts.Status`; None while the request is open."""
    http_status: int | None
    error_type: str | None
    error_message: str | None
    partial: bool
    ttft_ms: int | None
    duration_ms: int | None
    upstream_requests: int
    """Upstream requests that reported usage: more than 1 if central tools were called."""
    tools: tuple[str, ...]
    """Names of the called tools; the list may be cut."""
    prompt: str | None
    """Beginning of the typed prompt; None: none was recorded."""
    brings_results: bool = False
    """True if the request continues after tool calls, so that nobody typed a prompt."""
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One billed model call of a request."""

    id: str
    upstream: int
    """Number of the upstream request within the interception."""
    call: str | None
    """Kind of a call that the provider made by itself, such as `compaction`."""
    response_id: str | None
    model: str | None
    service_tier: str | None
    started_at: str | None
    created_at: str
    duration_ms: int | None
    ttft_ms: int | None
    input: int | None
    """None, like any count, if it is unknown, or if the call is billed in another unit."""
    cache_read: int | None
    cache_write: int | None
    output: int | None
    extra: Mapping[str, Any]
    cost_nano_usd: int | None
    uncached_cost_nano_usd: int | None
    provider_cost_nano_usd: int | None
    price_source: str | None
    unpriced_reason: str | None

    @property
    def prompt_tokens(self) -> int | None:
        """All input tokens, caches included; None if a part of them is unknown."""
        return known_sum(self.input, self.cache_read, self.cache_write)

    @property
    def is_in_tokens(self) -> bool:
        """True if the call is billed in tokens."""
        return self.input is not None or self.output is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallRow:
    """One tool call that the model selected."""

    id: str
    tool: str
    call_id: str | None
    response_id: str | None
    server_url: str | None
    injected: bool
    """True for a central tool."""
    input: str
    """Arguments as JSON text."""
    error: str | None
    duration_ms: int | None
    result_bytes: int | None
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """A typed prompt or a shown thought."""

    kind: str
    """`prompt`, or the source of a thought: `thinking`, `reasoning_summary`, `commentary`."""
    text: str
    response_id: str | None
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A stored part of a request or response; `View.read_part` turns it into the content model."""

    upstream: int
    position: int
    role: str
    kind: str
    digest: str
    """In hexadecimal: equal parts have equal digests."""
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InterceptionDetail:
    """Everything that is recorded of one request, each list in order of time."""

    row: RequestRow
    user_agent: str | None
    credential_hint: str | None
    metadata: Mapping[str, Any]
    correlating_tool_call_id: str | None = None
    """The tool call whose result the request contains."""
    texts: tuple[TextRow, ...] = ()
    calls: tuple[CallRow, ...] = ()
    tools: tuple[ToolCallRow, ...] = ()
    messages: tuple[StoredMessage, ...] = ()
    """Empty if the content was not captured, or after its retention."""
    previous_id: str | None = None
    """The request before it in the session, to compare with. Exports have no neighbours."""
    next_id: str | None = None
    """The request after it in the session, which contains the results of its tool calls."""
    same_prompt: tuple[RequestRow, ...] = ()
    """Other requests of the same typed prompt, oldest first: attempts, tool round trips and
    sub-agents. The list may be cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """A session and its requests, oldest first."""

    session: SessionRow
    requests: tuple[RequestRow, ...] = ()
    more: int = 0
    """Requests that were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Requests that ended, in the order of commits."""

    rows: tuple[RequestRow, ...] = ()
    cursor: str = ""
    """Continues after these rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A recorded text that contains the words of a search."""

    request: RequestRow
    source: str
    """Kind of the text: `prompt`, `answer`, `thought`, `arguments` or `result`."""
    snippet: str
    """Text around the words; each is between U+0002 and U+0003 (see `search_text.fragments`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRow:
    """One request for export."""

    cursor: str
    """Goes into `RequestQuery.cursor` to resume after this row."""
    detail: InterceptionDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedModelRow:
    """Calls of a model whose price was found in the same way."""

    provider: str
    """Name of the provider instance."""
    model: str | None
    """The model that was billed."""
    source: str | None
    """The prices that were matched; None if the calls are unpriced."""
    reason: str | None
    """The reason why the calls are unpriced."""
    calls: int
    cost_nano_usd: int | None
    """Cost of the calls, without those on a subscription."""
    list_price_nano_usd: int | None
    """List price of the calls on a subscription, which are not billed."""
    latest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitRow:
    """A rate limit as a provider last reported it."""

    provider: str
    """Name of the provider instance."""
    credential_kind: str | None
    credential_hint: str | None
    actor: str
    header: str
    value: str
    seen_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelRow:
    """Tunnels to a host of an AI service that is not read."""

    host: str
    service: str
    actor: str | None
    """The actor, if the rows are grouped by actor too."""
    actors: int
    """Number of actors."""
    tunnels: int
    bytes_sent: int
    bytes_received: int
    duration_ms: int
    """Sum of the durations."""
    latest: str
