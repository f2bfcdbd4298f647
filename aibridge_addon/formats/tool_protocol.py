"""What the inner loop and the wire formats say to each other. Sans-io.

The loop asks a model, runs the injected calls of its turn, and asks again, until a turn has none;
the client sees one message. Each wire format knows how its messages are cut and joined:

- `inject` offers central tools in a request;
- a `Splicer` (streamed) or a `Merger` (whole) makes one answer for the client of several upstream;
- `continue_request` appends a turn and its results;
- `transcript` and `restore` put hidden turns back into later requests.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.raw_json import JSON, read

type Members = dict[str, msgspec.Raw]
"""A request's members, undecoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedCall:
    """A call that the model makes of a central tool."""

    call_id: str
    name: str
    """The injected name."""
    arguments: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the model did in one upstream answer."""

    items: tuple[JSON, ...] = ()
    """The model's turn as the wire format takes it back: content blocks, a message, items; without
    injected calls that it does not wait for, since they get no results."""
    calls: tuple[InjectedCall, ...] = ()
    """Empty unless the model waits for them."""
    client_calls: tuple[str, ...] = ()
    """Ids of the calls that are the client's to answer; empty where a host gives none."""
    text: str = ""
    """What it said aloud, for `run_key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """What stood in place of what the client saw: the ledger's entry for one run."""

    sequence: tuple[JSON, ...]
    """Messages or items, in order, that replace the client's own."""
    results: tuple[JSON, ...] = ()
    """Results of injected calls that belong beside those that the client brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What stands of one answer in a later request: elements `start` to `end` of its array."""

    start: int
    end: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAnswer:
    """An earlier answer: elements `start` to `end` of a request's array, and what they say."""

    start: int
    end: int
    client_calls: Sequence[str]
    """Ids of the calls that were the client's to answer."""
    text: str


class Transcript(NamedTuple):
    """What a request shows of its conversation."""

    runs: list[Run]
    said_since: str
    """What was said since the last answer: for the key of the answer to it."""


@dataclass(slots=True)
class History:
    """The hidden side of one answer, gathered while the loop runs."""

    sequence: list[JSON] = field(default_factory=list)
    results: list[JSON] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError:
    """An error that ends a client's stream."""

    message: str
    error_type: str | None = None
    """The provider's own, if it gave one."""
    http_status: int | None = None
    """The provider's, if it refused the request."""
    body: JSON = None
    """The provider's error as it came, decoded."""


class Splicer(Protocol):
    """Makes one stream of several."""

    def feed(self, event: Event, data: JSON) -> bytes:
        """Take an event and its decoded data; return what the client gets of it, if anything."""

    def turn(self) -> Turn:
        """Return the turn, once an upstream answer has ended."""

    def resume(self) -> None:
        """Get ready for the next upstream answer."""

    def finish(self) -> bytes:
        """Return the end of the client's message."""

    def ping(self) -> bytes:
        """Return what keeps the client waiting."""

    def error(self, error: StreamError) -> bytes:
        """Return the end of the client's stream: an error, with the provider's own type."""


class Merger(Protocol):
    """Makes one whole answer of several."""

    hides: bool
    """Whether the client's answer is another than the upstream's."""

    def add(self, answer: JSON) -> Turn:
        """Take an upstream answer; return its turn."""

    def finish(self) -> bytes:
        """Return the client's answer."""


class ToolFormat(Protocol):
    """How a wire format takes part in the inner loop."""

    RESTORES_WITHOUT_TOOLS: bool
    """Whether hidden turns can stand in a request that offers no central tools."""

    def inject(self, request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
        """Offer tools in a request, in place; return those offered, none if that cannot be."""

    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""

    def merger(self, names: frozenset[str]) -> Merger:
        """Return a merger that hides calls of these names."""

    def answer_items(self, turn: Turn) -> list[JSON]:
        """Return a turn as elements of a request's array."""

    def result_items(self, results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
        """Return results as elements of a request's array."""

    def sequence_of_results(self, results: Sequence[JSON]) -> list[JSON]:
        """Return result items as what brings them in a request's array."""

    def continue_request(
        self, request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
    ) -> Members:
        """Return the next request; if it is the last one, with no tool to be called any more."""

    def alias_key(self, response_id: str) -> str | None:
        """Return the key under which later requests name a whole answer by its id, if they do.

        Its restoration is the id of the last upstream answer, whose state is complete.
        """

    def transcript(self, request: Members) -> Transcript:
        """Find earlier answers in a request, and what was said since the last one."""

    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put back what was hidden, in place, by the key of a run; return whether anything was."""


_CALL = "call:"
"""Begins the keys of answers that called a tool of the client."""


def run_key(client_calls: Iterable[str], said_before: str, text: str) -> str:
    """Return what an answer is known by in later requests.

    By the first of the client's own calls if it has one, since their ids are unique; else by what
    was said before it and in it, since clients give no ids back. White space does not count: one
    client joins what another keeps apart, or leaves out what is blank.
    """
    for call_id in filter(None, client_calls):
        return f"{_CALL}{call_id}"
    digest = hashlib.sha256()
    for part in (said_before, text):
        words = "".join(part.split())
        digest.update(hashlib.sha256(words.encode("utf-8", "replace")).digest())
    return f"text:{digest.hexdigest()}"


def taken_down(conversation: Iterable[PastAnswer | str]) -> Transcript:
    """Take down a conversation: answers, and between them what tells others from them.

    That is what a person said, and the calls whose results came.
    """
    runs = []
    said: list[str] = []
    called: set[str] = set()
    for part in conversation:
        if isinstance(part, str):
            said.append(part)
            continue
        key = run_key(part.client_calls, "\n".join(said), part.text)
        said.clear()
        if key in called:  # a call is made once; repeating its id must not multiply what is hidden
            continue
        if key.startswith(_CALL):
            called.add(key)
        runs.append(Run(start=part.start, end=part.end, key=key))
    return Transcript(runs, "\n".join(said))


def has_readable_tools(request: Members) -> bool:
    """Return whether tools can be added; the provider has to refuse what is not an array."""
    tools = request.get("tools")
    return tools is None or bytes(tools).lstrip()[:1] == b"[" or read(tools) is None


def call_arguments(arguments: Any) -> dict[str, Any] | None:
    """Return arguments that a tool can take; None if they are no object."""
    return arguments if isinstance(arguments, dict) else None
