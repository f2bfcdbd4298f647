"""Input and result of a policy. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aibridge_addon.access.sender import Sender
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.routing import Route


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
    """Returns the decoded body or message; None if there is no body."""
    is_message: bool = False
    """True if `content` is a WebSocket message."""
    model: str | None = None
    """The model in the record; None if it is unknown."""
    must_name_model: bool
    is_recorded: bool
    uses_central_tools: bool = False

    def values(self, name: bytes) -> list[str]:
        """Return the values of a header field, given in lower case."""
        return [
            value.decode("latin-1").strip() for field, value in self.fields if field.lower() == name
        ]

    @property
    def uses_operator_resources(self) -> bool:
        """True if it uses the central key or central tools, which belong to the operator."""
        is_central = self.credential is not None and self.credential.kind == "centralized"
        return is_central or self.uses_central_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The refusal of a request: the status and the error of the response to the client."""

    status: int
    """400 where a retry cannot help: agents retry after 401, 403 and 5xx."""
    reason: str
    """For records and metrics."""
    message: str
    """For the client's user."""
    denies_access: bool = False
    """True if the sender must not use the proxy at all; then its prompts are not recorded."""


class Policy(Protocol):
    """A rule that requests must meet."""

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that breaks the rule."""
