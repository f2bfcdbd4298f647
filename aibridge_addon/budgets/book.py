"""`BudgetBook`: holds and charges in a store, shared by all processes that use it. Pure."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from aibridge_addon.budgets.admission import Verdict
from aibridge_addon.budgets.budget import Budget, Estimate, Standing, Unit
from aibridge_addon.facts import new_id

UNKNOWN = Standing(spent=0, held=0)
"""Of a store that cannot be asked."""


class BookUnavailableError(Exception):
    """The store of the budgets cannot be used at the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetedCall:
    """A request, and the budgets that all must have room for it."""

    interception_id: str
    scopes: tuple[tuple[Budget, str], ...]
    """Each budget that matches, with the scope in which it counts the request."""
    estimate: Callable[[Unit], Estimate | None]
    """Returns the estimated charge; called on any thread."""
    must_hold: bool = False
    """True if the request has been sent already, so that it is held in any case."""
    id: str = field(default_factory=new_id)
    """Id of its holds."""
    remaining: list[int] = field(default_factory=list)
    """Money or tokens left in each budget that shows it, after the hold; an admission adds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRefusal:
    """The first budget without room; nothing is held in any budget then."""

    verdict: Verdict | Literal["unavailable"]
    """`unavailable`: the store cannot be asked."""
    budget: Budget
    scope: str
    standing: Standing = UNKNOWN
    opens_at: datetime | None = None
    """The time from which there is room again, if it is known."""
    is_set_aside: bool = False
    """True if other processes have set room aside, which they give back in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarning:
    """A settlement that crossed a threshold of a budget: reported once per window."""

    budget: Budget
    scope: str
    percent: int
    spent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Room of a budget in a scope that this process has set aside."""

    budget: str
    unit: Unit
    held: int
    """The part that its calls hold."""
    free: int
    """The part from which it admits its next calls."""
    is_spare: bool = False
    """True if it does so without the store, which is away."""


class BudgetBook(Protocol):
    """Executes admissions; settlements follow from the recorded ends of interceptions."""

    on_warning: Callable[[BudgetWarning], None]
    """Called on any thread, once a settlement is committed that crossed a threshold."""

    @abstractmethod
    async def admit(self, call: BudgetedCall) -> BudgetRefusal | None:
        """Hold the estimate in all budgets, or in none; return None once that is committed.

        Raises:
            BookUnavailableError: nothing can be held or counted now.
        """

    def admit_now(self, call: BudgetedCall) -> bool:
        """Hold the estimate in all budgets without waiting; return False if that is not possible.

        The hold precedes everything that is recorded after this call.
        """
        return False

    @abstractmethod
    def hold(self, call: BudgetedCall) -> Awaitable[None]:
        """Hold the estimate of a call that cannot be refused any more.

        The hold precedes everything that is recorded after this call, awaited or not.
        """

    def set_aside(self) -> Sequence[SetAside]:
        """Return the room that this process has set aside; may be called on any thread."""
        return ()

    @abstractmethod
    def release(self, call: BudgetedCall) -> Awaitable[None]:
        """Remove the holds of a call that is not sent after all, awaited or not."""
