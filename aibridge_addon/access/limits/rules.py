"""`Limit`: a row of `[[limits]]`, the requests that it is for, and the scopes that it counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
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

    @property
    def rates(self) -> Mapping[Bound, int]:
        """The rates per minute that the limit sets."""
        return _rates(
            self.requests_per_minute, self.input_tokens_per_minute, self.output_tokens_per_minute
        )

    def scopes(self, asked: Asked) -> tuple[str, ...]:
        """Return the scopes in which a request counts; none if the limit is not for it."""
        if not self.selection.matches(asked):
            return ()
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


@lru_cache
def _rates(
    requests: int | None, input_tokens: int | None, output_tokens: int | None
) -> Mapping[Bound, int]:
    rates: dict[Bound, int | None] = {
        "requests": requests,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
    }
    return {bound: rate for bound, rate in rates.items() if rate is not None}
