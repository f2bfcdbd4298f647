"""`LimitBook`: counts shared limits in a store, together with all processes that use it. Pure."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aibridge_addon.access.limits.rules import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """An amount that is debited to a bound of a limit."""

    limit: str
    scope: str
    bound: Bound
    most: int
    """The bound: a number of open requests, or a rate per minute."""
    amount: float
    """Of open requests, 1 takes a slot, and -1 frees it. A negative rest gives back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """A bound without room; nothing is debited then."""

    index: int
    """Place of the bound among the changes."""
    seconds: float | None
    """Time until there is room; None if that depends on the end of other requests."""


class LimitBook(Protocol):
    """Counts the requests of this process; a request has an id."""

    @property
    @abstractmethod
    def is_available(self) -> bool:
        """False while the store does not respond: `take` raises at once then."""

    @abstractmethod
    async def take(self, request_id: str, changes: Sequence[LimitChange]) -> Lack | None:
        """Debit all changes, or none if one lacks room: slots are looked at before rates.

        Raises:
            BookUnavailableError: the store does not respond. Nothing stays debited.
        """

    @abstractmethod
    def change(self, request_id: str, changes: Sequence[LimitChange]) -> None:
        """Debit changes without a check; does not wait, and is dropped if the store is away.

        Slots that it frees are freed in any case, later then.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop. The slots of requests that still run are freed when their lease ends."""
