"""Input and result of a policy. Pure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from aibridge_addon.access.sender import Sender
from aibridge_addon.facts import Interception
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.routing import Route
from aibridge_addon.raw_json import members


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A client request, a WebSocket message, or an upstream request of the inner loop."""

    sender: Sender
    route: Route
    credential: Credential | None
    method: str
    path: str
    """The path with the query."""
    fields: tuple[tuple[bytes, bytes], ...]
    """The header fields, without secrets."""
    hosts: tuple[str, ...]
    """The authorities that the request names: `Host`, `:authority`, absolute-form target."""
    to_reverse_proxy: bool
    """True if `hosts` name the proxy; otherwise they name the provider."""
    content: Callable[[], bytes | None]
    """Returns the decoded body or message; of a form, its text fields as JSON; empty if it is not
    decoded; None if there is no body."""
    unread: Callable[[], bytes | None] = lambda: None
    """Returns the body if `content` lacks a part of it, such as the files of a form."""
    members: dict[str, msgspec.Raw] | None = None
    """The members of `content`, if it was parsed already."""
    completed: dict[str, msgspec.Raw] | None = None
    """The request that a WebSocket message makes, with what the connection has said before."""
    has_left: Callable[[], bool] = lambda: False
    """Returns True once the client has disconnected."""
    can_wait: Callable[[], bool] = lambda: True
    """Returns False while a wait would hold up open responses of the same WebSocket."""
    on_remaining: Callable[[int], None] = lambda nano_usd: None
    """Receives the money that is left in the tightest budget that shows it, in nano-dollars."""
    is_signed: bool = False
    """True if the client's signature covers the request, so that nothing in it can be changed."""
    opens_websocket: bool = False
    is_message: bool = False
    """True if `content` is a WebSocket message."""
    model: str | None = None
    """The model in the record; None if it is unknown."""
    interception: Interception | None = None
    """The interception that begins with the request or message, or that it belongs to."""
    must_name_model: bool
    is_recorded: bool
    uses_central_tools: bool = False

    def may_wait(self) -> bool:
        """Return True if it may wait for room that other requests occupy."""
        return self.can_wait() and not self.has_left()

    def values(self, name: bytes) -> list[str]:
        """Return the values of a header field; its name is given in lower case."""
        return [
            value.decode("latin-1").strip() for field, value in self.fields if field.lower() == name
        ]

    @property
    def is_unread_call(self) -> bool:
        """True if it may cost money and nobody reads its usage: its body or route is not read."""
        if self.is_recorded or self.is_message:
            return False
        if self.method != "POST" and not self.opens_websocket:
            return False
        if not self.route.names_models or self.route.counts_for is not None:
            return False
        return self.opens_websocket or not self._is_free()

    def _is_free(self) -> bool:
        """Return True if the body of a request has no member that could cost money."""
        free = self.route.free_members
        if free is None:
            return False
        content = self.content()
        if content is None:
            return True
        found = members(content)
        return found is not None and found.keys() <= free

    @property
    def uses_operator_resources(self) -> bool:
        """True if it uses the central key or central tools, which belong to the operator."""
        is_central = self.credential is not None and self.credential.kind == "centralized"
        return is_central or self.uses_central_tools


OWN_MESSAGE = "aibridge: "
"""Beginning of the messages of the built-in policies."""
_MOST_RETRY_SECONDS = 60
"""Longest `retry-after`: some clients give up above it, others sleep for as long as it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The refusal of a request: the status and the error of the response to the client."""

    status: int
    """400 where a retry cannot help: agents retry after 401, 403 and 5xx."""
    reason: str
    """For records and metrics, and the `code` of the error where its format has one."""
    message: str
    """For the client's user."""
    denies_access: bool = False
    """True if the sender must not use the proxy at all; then its prompts are not recorded."""
    retry_after: float | None = None
    """Seconds after which a retry may succeed; None: a retry cannot help."""
    opens_at: datetime | None = None
    """The time from which the request would be admitted, if a definitive refusal ends by itself."""
    failure: str | None = None
    """Kind of the failure of the provider that it anticipates, so that a fallback may serve the
    request: as in `on` of `fallbacks`. None: the request itself is refused."""

    @property
    def is_final(self) -> bool:
        """True if the proxy refuses the request in any form, and at any time soon."""
        is_ours = self.message.startswith(OWN_MESSAGE)
        return is_ours and self.status == 400 and self.retry_after is None

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that tell clients if and when to retry; SDKs follow them before the status."""
        if self.retry_after is None:
            opens = self.opens_at and {"x-aibridge-resets-at": _rfc3339(self.opens_at)}
            return {"x-should-retry": "false", **(opens or {})}
        seconds = min(_MOST_RETRY_SECONDS, max(1, math.ceil(self.retry_after)))
        return {
            "retry-after": str(seconds),
            "retry-after-ms": str(seconds * 1000),
            "x-should-retry": "true",
        }


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def checked(verdict: object) -> Refusal | None:
    """Return the verdict of a policy that others wrote.

    Raises:
        TypeError: it is neither None nor a refusal with the status of an error and a message.
    """
    if verdict is None:
        return None
    if not isinstance(verdict, Refusal):
        raise TypeError(f"it returned {type(verdict).__name__}, not None or a Refusal")
    if not isinstance(verdict.status, int) or not 400 <= verdict.status <= 599:
        raise TypeError(f"its refusal has the status {verdict.status!r}, not one of 400 to 599")
    if not isinstance(verdict.message, str) or not isinstance(verdict.reason, str):
        raise TypeError("message and reason of its refusal must be texts")
    return verdict


class Policy(Protocol):
    """A rule that requests must meet.

    A policy that counts requests has a method `admit(asked)` too, which is called once no policy
    has refused the request. One whose verdict depends on nothing but the request and the settings
    says so by `is_constant = True`: it is asked once.
    """

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that breaks the rule; change nothing."""
