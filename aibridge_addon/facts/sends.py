"""Facts of requests that are sent again, with another key or to another provider instance."""

from dataclasses import dataclass

from aibridge_addon.facts.records import Interception

UNPROCESSED = "unprocessed"
"""Failure of a send that the provider has not begun to process; nothing is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFailed:
    """A failed upstream request whose client has received nothing; it is sent again."""

    interception: Interception
    """With the provider instance and the key of this send."""
    http_status: int | None
    """None: there was no response."""
    failure: str
    """Kind of the failure."""
    to: str
    """Receiver of the next send: `other_key`, `same_key` or `fallback`."""
    retry_after: float | None
    """Seconds after which the provider accepts a retry, if it states them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedElsewhere:
    """A request that another provider instance serves from now on."""

    interception: Interception
    """With that instance."""
    reason: str
    """Kind of the failure; empty if the request returns to an earlier instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedAway:
    """A request that its provider instance does not serve; `ServedElsewhere` follows."""

    interception: Interception
    """With the instance that it leaves."""
