"""The seam of wire formats: `Format`, and what is passed to it. Sans-io.

To add a format, subclass `Format` and hand an instance to `formats.register`; the routes that use
it belong to a provider type (`providers.types`).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from aibridge_addon.facts import NOTHING_SPOKEN, RequestFacts, ResponseFacts, SpokenInput
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.output_limits import Places, largest_limit, lowered, places
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.tool_protocol import Members, ToolFormat
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, are_all_members


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """The parts of a request that a format reads."""

    members: Mapping[str, msgspec.Raw]
    """Members of the body, undecoded."""
    method: str = "POST"
    path: str = ""
    """Path as the client sent it, without the query."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Values by name in lower case."""
    path_values: Mapping[str, str] = field(default_factory=dict)
    """Values that the route's template captures in the path, such as `model`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """The head of a response."""

    status: int
    headers: Mapping[str, str]
    """Values by name; names are looked up in lower case."""
    answers_stream: bool = False
    """True if the request asked for a streamed response."""

    @property
    def media_type(self) -> str:
        """Media type in lower case, without parameters; empty if none is stated."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


SESSION = "aibridge_session"
"""Member that a WebSocket's conversation adds to a request, with the state of its session."""


class EventDecoder(Protocol):
    """Splits the body of a streamed response into events; `SSEParser` is one."""

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished event."""

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        """Return the events that a chunk completes; `Event.raw` has each byte exactly once.

        Args:
            chunk: decoded bytes of the body.
            unwanted: matches runs of events that need not be read; each may become one event.

        Raises:
            EventTooLargeError: the unfinished event is larger than the bound.
        """

    def close(self) -> Event | None:
        """Return the unfinished event at the end of the body, if there is one."""


class Format(ABC):
    """A wire format: reads requests and responses into facts, and shapes errors."""

    name: str
    """The API's name in the records, and in the routes of provider types."""
    output_limits: Places = places()
    """Members of a request that limit its output tokens."""
    bills_later = False
    """True for batches: a request has no usage, which a later poll or the results bring."""
    makes_objects = False
    """True if a later request names what a request makes at the provider."""
    is_held_in_budgets = True
    """False if a budget holds nothing for a request in flight, since it is free or billed later."""
    takes_forms = False
    """True if requests may be `multipart/form-data`; its fields are read as members."""
    tools: ToolFormat | None = None
    """Support for central tools; None if the format has no inner loop."""
    view: View | None = None
    """Reader of bodies into the content model; None if their content is not shown."""

    @abstractmethod
    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request. Never raises: a member of the wrong shape counts as missing."""

    @abstractmethod
    def reader(self) -> Reader:
        """Return a new reader for one streamed response."""

    @abstractmethod
    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""

    @abstractmethod
    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape that this format's clients show to their users.

        `code` identifies the error for programs, where the format has a place for it.
        """

    def decoder(self, head: ResponseHead) -> EventDecoder | None:
        """Return the decoder of a response that this head announces as a stream.

        None, the default: the body is either server-sent events or one JSON document, and its
        first bytes decide.
        """
        return None

    def add_head(self, facts: ResponseFacts, head: ResponseHead) -> ResponseFacts:
        """Return the facts of a response with what only its head states; by default nothing."""
        return facts

    def output_limit(self, members: Members) -> int | None:
        """Return the most output tokens that a request allows; None if it states no limit."""
        return largest_limit(members, self.output_limits)

    def api_of(self, members: Members) -> str:
        """Return the wire format of a request; one that counts tokens may hold one of another."""
        return self.name

    def choices(self, members: Members) -> int:
        """Return the number of outputs that a request asks for, each of them up to the limit."""
        return 1

    def units(self, members: Members) -> Mapping[str, int]:
        """Return the amounts in other units than tokens that a request will probably be billed."""
        return {}

    def spoken_input(self, members: Members) -> SpokenInput:
        """Return the input of a request beside its text."""
        return NOTHING_SPOKEN

    def least_output_limit(self, members: Members) -> int:
        """Return the lowest limit of output tokens that is legal beside the other members."""
        return 0

    def lower_output_limit(self, body: bytes, members: Members, most: int) -> bytes:
        """Return the body of a request, given with its members, with no higher limit than `most`.

        The result must be legal for the API; every other byte stays as it is.
        """
        most = max(most, self.least_output_limit(members))
        largest = largest_limit(members, self.output_limits)
        if (largest is None or largest <= most) and are_all_members(body, members):
            return body
        return lowered(body, self.output_limits, most)

    def with_model(self, members: Members, model: str) -> Mapping[str, JSON]:
        """Return the members that name the model, with another model."""
        return {"model": model} if "model" in members else {}

    def ask_for_usage(self, members: Members) -> Members | None:
        """Return a streamed request that asks for usage; None if it needs no such change."""
        return None

    def is_usage_only(self, event: Event) -> bool:
        """Return whether an event was sent only because `ask_for_usage` changed the request."""
        return False
