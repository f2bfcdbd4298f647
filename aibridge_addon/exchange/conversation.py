"""Base of the conversations in WebSockets, which have one class per wire format."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from aibridge_addon.facts import ProviderError, Status
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.raw_json import members, readings

SWITCHING_PROTOCOLS = 101

type Begin = Callable[[Members, bytes], InterceptionRecord]
"""Begins the record of a request, given its members and its message; raises `RefusedError` if a
policy refuses it."""
type Check = Callable[[bytes], None]
"""Raises `RefusedError` if a policy refuses a message that is not a request."""


def read_message(content: bytes, is_request: Callable[[Members], bool]) -> Members | None:
    """Return the members of a client's message; None if it is not an object.

    If members are repeated, a reading by which the message asks for a response takes precedence.
    """
    if (last := members(content)) is None:
        return None
    return next((each for each in readings(content, last) if is_request(each)), last)


class RefusedError(Exception):
    """A policy refuses a message; `message` is the error for the client."""

    def __init__(self, message: bytes) -> None:
        super().__init__()
        self.message = message


class Conversation(ABC):
    """Reads the messages of one connection, and records its requests."""

    keeps_state: ClassVar[bool]
    """True if another connection could not continue the conversation."""

    def __init__(
        self,
        begin: Begin,
        begin_unasked: Begin,
        check: Check = lambda message: None,
        *,
        max_bytes: int = sys.maxsize,
    ) -> None:
        """Take `begin`, which may refuse a request, and `begin_unasked`, which never does."""
        self._begin = begin
        self._begin_unasked = begin_unasked
        self._check = check
        self._max_bytes = max_bytes
        """Bound of the content of a response that is recorded."""

    @abstractmethod
    def on_message(self, content: bytes, *, from_client: bool) -> bool:
        """Read a message; return True if a response ended with it.

        Raises:
            RefusedError: a policy refuses it.
        """

    @abstractmethod
    def is_request(self, message: Members) -> bool:
        """Return True for a message that asks for a response."""

    @property
    @abstractmethod
    def is_responding(self) -> bool:
        """True while a response is open."""

    @abstractmethod
    def may_follow(self, message: Members) -> Sequence[Members]:
        """Return the requests that the provider may make by itself after a message."""

    @abstractmethod
    def complete(self, request: Members) -> Members:
        """Return a request with what the connection has said before."""

    def on_end(self, *, by_client: bool) -> None:
        """End the records of open responses, because the connection ended."""
        self._break_off(*_end_of_open_requests(by_client=by_client))

    def interrupt(self, error: ProviderError) -> None:
        """End the records of open responses, because the proxy shuts down."""
        self._break_off(Status.INTERRUPTED, error)

    @abstractmethod
    def _break_off(self, status: Status, error: ProviderError) -> None:
        """End the records of open responses."""


def _end_of_open_requests(*, by_client: bool) -> tuple[Status, ProviderError]:
    """Return the status and the error of requests whose connection one side has closed."""
    return (
        Status.CANCELLED if by_client else Status.FAILED,
        ProviderError(
            type="client_left" if by_client else "upstream_error",
            message="The WebSocket ended before the response did.",
        ),
    )
