"""`Limit`: a row of `[[limits]]`, the requests that it is for, and the scopes that it counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.selection import Selection

type Per = Literal["actor", "team", "token", "instance", "total"]
type Bound = Literal["requests", "input_tokens", "output_tokens", "open_requests"]
"""The quantity that a bound counts."""

_NO_TOKEN = "none"  # noqa: S105 not a secret
"""Scope of all requests without an access token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Bounds on the requests that a selection matches, each counted per scope."""

    name: str
    selection: Selection
    per: Per = "actor"
    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    """Input tokens, without those read from a cache."""
    output_tokens_per_minute: int | None = None
    open_requests: int | None = None
    """Requests that run at the same time."""
    queue: int = 0
    """Requests to a provider instance that may wait for room; 0: none waits."""
    queue_wait_s: float = 20.0
    """Longest time that a request waits."""
    is_shared: bool = False
    """True if all processes count together in the database; otherwise each enforces its share."""

    rates: Mapping[Bound, int] = field(init=False, repr=False, compare=False)
    """The rates per minute that the limit sets."""

    def __post_init__(self) -> None:
        rates: dict[Bound, int | None] = {
            "requests": self.requests_per_minute,
            "input_tokens": self.input_tokens_per_minute,
            "output_tokens": self.output_tokens_per_minute,
        }
        given = {bound: rate for bound, rate in rates.items() if rate is not None}
        object.__setattr__(self, "rates", given)  # the only way to set a field of a frozen class

    def scopes(self, asked: Asked) -> tuple[str, ...]:
        """Return the scopes in which the limit counts a request that it is for."""
        match self.per:
            case "actor":
                return (asked.sender.actor.id,)
            case "team":
                return asked.sender.actor.teams
            case "token":
                token = asked.sender.admission.token
                return (token.id if token else _NO_TOKEN,)
            case "instance":
                return (asked.route.provider.name,)
            case "total":
                return ("total",)
