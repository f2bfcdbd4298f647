"""The seam between the inner loop and the wire formats. Sans-io.

The loop asks a model, runs the injected calls of its turn, and asks again, until a turn has none;
the client sees one message. Each wire format knows how its messages are cut and joined:

- `inject` offers central tools in a request;
- a `Splicer` (streamed) or a `Merger` (complete) makes the client's response from several upstream;
- `continue_request` appends a turn and its results;
- `transcript` and `restore` put hidden turns back into later requests.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Protocol, TypedDict

import msgspec

from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.offer_limits import OfferLimits
from aibridge_addon.raw_json import JSON, appended, array_reader, as_raw, elements, joined, read

type Members = dict[str, msgspec.Raw]
"""Members of a request's body, undecoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedCall:
    """A call of a central tool by the model."""

    call_id: str
    name: str
    """The injected name."""
    arguments: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The model's turn in one upstream response."""

    items: tuple[JSON, ...] = ()
    """The turn in the shape that the API accepts back: content blocks, a message, items; without
    injected calls that the model does not wait for, since they get no results."""
    calls: tuple[InjectedCall, ...] = ()
    """Empty unless the model waits for them."""
    client_calls: tuple[str, ...] = ()
    """Ids of the calls that the client must run; empty where a host gives none."""
    text: str = ""
    """Visible text, for `run_key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """The hidden turns behind a response that the client saw: the ledger's entry for one run."""

    sequence: tuple[JSON, ...]
    """Messages or items, in order, that replace the client's own."""
    results: tuple[JSON, ...] = ()
    """Results of injected calls that belong beside the client's own results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Elements `start` to `end` of a request's array: an earlier response, as the client sends it.

    An empty run stands for a response that the provider has stored.
    """

    start: int
    end: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastResponse:
    """An earlier response: elements `start` to `end` of a request's array, and their content."""

    start: int
    end: int
    client_calls: Sequence[str]
    """Ids of the calls that the client had to run."""
    text: str


class Transcript(NamedTuple):
    """The part of a conversation that a request shows."""

    runs: list[Run]
    text_since: str
    """Text since the last response: part of the key of the next response."""


@dataclass(slots=True)
class History:
    """The hidden side of one response, gathered while the loop runs."""

    sequence: list[JSON] = field(default_factory=list)
    results: list[JSON] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError:
    """An error that ends a client's stream."""

    message: str
    error_type: str | None = None
    """The provider's own type, if it gave one."""
    http_status: int | None = None
    """The provider's status, if it refused the request."""
    body: JSON = None
    """The provider's error, decoded."""


class Splicer(Protocol):
    """Joins several streamed responses into the client's stream."""

    hides: bool
    """True once the client's stream differs from the upstream one."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Read an event and its decoded data; return the bytes that the client gets for it."""

    def pass_text(self, run: bytes) -> bool:
        """Take a run of text deltas that the client gets unchanged; False: feed each of them."""

    def turn(self) -> Turn:
        """Return the turn of an upstream response that has ended."""

    def resume(self) -> None:
        """Prepare for the next upstream response."""

    def finish(self) -> bytes:
        """Return the end of the client's message."""

    def ping(self) -> bytes:
        """Return a keep-alive for a client that waits."""

    def error(self, error: StreamError) -> bytes:
        """Return an error that ends the client's stream, with the provider's own type."""


class Merger(Protocol):
    """Joins several complete responses into the client's response."""

    hides: bool
    """True if the client's response differs from the upstream one."""

    def add(self, response: JSON) -> Turn:
        """Add an upstream response; return its turn."""

    def finish(self) -> bytes:
        """Return the client's response."""


class ToolFormat(ABC):
    """A wire format's part in the inner loop; the defaults are those of OpenAI Chat Completions."""

    restores_without_tools = True
    """True if hidden turns are legal in a request that offers no central tools."""
    echoes_tools = False
    """True if responses repeat the tools of the request."""
    limits = OfferLimits()
    """The API's limits on the tools of a request."""
    offers_first = False
    """True if central tools are offered before the client's own."""
    history_member = "messages"
    """Member of a request that holds the conversation."""
    no_calls: ClassVar[JSON] = "none"
    """Value of `tool_choice` that forbids calls."""

    def for_model(self, model: str | None) -> "ToolFormat":
        """Return the rules for a model, where models of one API differ."""
        return self

    @abstractmethod
    def may_offer(self, request: Members) -> bool:
        """Return whether central tools may be offered in a request without changing its sense."""

    @abstractmethod
    def tool_name(self, tool: JSON) -> str | None:
        """Return the name of a tool that a client defines."""

    @abstractmethod
    def definition(self, tool: CentralTool) -> JSON:
        """Return the definition of a central tool."""

    @abstractmethod
    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""

    @abstractmethod
    def merger(self, names: frozenset[str]) -> Merger:
        """Return a merger that hides calls of these names."""

    @abstractmethod
    def result_items(self, results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
        """Return results in the shape that the API accepts."""

    @abstractmethod
    def transcript(self, request: Members) -> Transcript:
        """Find earlier responses in a request, and the text since the last one."""

    @abstractmethod
    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put hidden turns back, in place, by the key of a run; return whether anything changed."""

    def inject(self, request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
        """Offer tools in a request, in place; return the offered tools."""
        if not has_readable_tools(request) or not self.may_offer(request):
            return ()
        names = [self.tool_name(tool) for tool in _read_names(request.get("tools"))]
        offered = self.limits.selected(tools, names)
        if offered:
            own = elements(request.get("tools"))
            added = self.definitions(offered)
            request["tools"] = joined([*added, *own] if self.offers_first else [*own, *added])
        return offered

    def definitions(self, tools: Iterable[CentralTool]) -> list[msgspec.Raw]:
        """Return the encoded definitions of tools."""
        return [_definition(self, tool) for tool in tools]

    def turn_items(self, turn: Turn) -> list[JSON]:
        """Return a turn as elements of the request's conversation."""
        return list(turn.items)

    def result_messages(self, results: Sequence[JSON]) -> list[JSON]:
        """Return result items as elements of the request's conversation."""
        return list(results)

    def continue_request(
        self, request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
    ) -> Members:
        """Return the next request: with the turn and its results, and no more calls if `last`."""
        added = [*self.turn_items(turn), *self.result_messages(results)]
        name = self.history_member
        return self.without_calls({**request, name: appended(request[name], added)}, last)

    def without_calls(self, request: Members, last: bool) -> Members:
        """Forbid calls in the last request of a loop, in place; return the request."""
        if last:
            request["tool_choice"] = as_raw(self.no_calls)
        return request

    def alias_key(self, response_id: str) -> str | None:
        """Return the key under which later requests name a response by its id; None: they do not.

        Its restoration is the id of the last upstream response, whose stored state is complete.
        """
        return None


@lru_cache(maxsize=1024)
def _definition(tool_format: ToolFormat, tool: CentralTool) -> msgspec.Raw:
    """Return an encoded definition; encoded once, since each request has the same ones."""
    return as_raw(tool_format.definition(tool))


class _Named(TypedDict, total=False):
    name: JSON


class _ToolName(TypedDict, total=False):
    """The members of a client's tool that may hold its name."""

    name: JSON
    function: _Named
    custom: _Named


_read_names = array_reader(_ToolName)


_CALL = "call:"
"""Start of the key of a response that called a tool of the client."""


def run_key(client_calls: Iterable[str], text_before: str, text: str) -> str:
    """Return the key by which a response is recognised in later requests.

    By the first of the client's own calls if it has one, since their ids are unique; else by the
    text before it and in it, since clients give no ids back. White space does not count: one client
    joins what another keeps apart, or leaves out what is blank.
    """
    for call_id in filter(None, client_calls):
        return f"{_CALL}{call_id}"
    digest = hashlib.sha256()
    for part in (text_before, text):
        words = "".join(part.split())
        digest.update(hashlib.sha256(words.encode("utf-8", "replace")).digest())
    return f"text:{digest.hexdigest()}"


def build_transcript(conversation: Iterable[PastResponse | str]) -> Transcript:
    """Build a transcript from responses and the texts between them.

    The texts are those that a person typed, and the ids of the calls whose results came.
    """
    runs = []
    texts: list[str] = []
    called: set[str] = set()
    for part in conversation:
        if isinstance(part, str):
            texts.append(part)
            continue
        key = run_key(part.client_calls, "\n".join(texts), part.text)
        texts.clear()
        if key in called:  # a call is made once; repeating its id must not multiply what is hidden
            continue
        if key.startswith(_CALL):
            called.add(key)
        runs.append(Run(start=part.start, end=part.end, key=key))
    return Transcript(runs, "\n".join(texts))


def has_readable_tools(request: Members) -> bool:
    """Return whether tools can be added; the provider has to refuse tools that are not an array."""
    tools = request.get("tools")
    return tools is None or bytes(tools).lstrip()[:1] == b"[" or read(tools) is None


def call_arguments(arguments: Any) -> dict[str, Any] | None:
    """Return arguments that a tool can take; None if they are not an object."""
    return arguments if isinstance(arguments, dict) else None
