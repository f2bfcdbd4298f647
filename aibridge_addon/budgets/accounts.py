"""The state of budgets, for people: what was spent and is held in the current window. Pure."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aibridge_addon.budgets.budget import Budget

ALL = "*"
"""All scopes of a budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A budget in a scope, in the current window."""

    budget: Budget
    scope: str
    spent: int
    held: int
    """Held by calls in flight."""
    set_aside: int
    """The part of the room from which proxies admit their next calls; it counts as free."""
    calls: int
    estimated: int
    """The part of `spent` that no provider has reported."""
    unpriced: int
    """Number of calls whose tokens are known, and whose price is not."""
    opens_at: datetime | None
    """The end of the window; None if it has no end, or rolls."""

    @property
    def room(self) -> int:
        """The amount that can still be spent; never below zero."""
        return max(0, self.budget.limit - self.spent - self.held)

    @property
    def share(self) -> float:
        """The spent part of the limit; above 1 if it was exceeded."""
        return self.spent / self.budget.limit

    @property
    def excess(self) -> int:
        """The amount by which the limit was exceeded."""
        return max(0, self.spent - self.budget.limit)


def unused_account(budget: Budget, scope: str, moment: datetime) -> Account:
    """Return the account of a scope without charges."""
    return Account(
        budget=budget,
        scope=scope,
        spent=0,
        held=0,
        set_aside=0,
        calls=0,
        estimated=0,
        unpriced=0,
        opens_at=budget.window.at(moment).ends_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A charge in the ledger."""

    interception_id: str
    charge: int
    how: str
    created_at: str


class BudgetAccounts(Protocol):
    """Reads and resets the budgets in a store. All methods may block and raise `StoreError`."""

    @abstractmethod
    def accounts(self, budgets: Sequence[Budget], moment: datetime) -> list[Account]:
        """Return the accounts with charges or holds, per budget, the most spent first."""

    @abstractmethod
    def entries(self, budget: Budget, scope: str, moment: datetime, limit: int) -> list[Entry]:
        """Return the newest charges of the current window."""

    @abstractmethod
    def reset(self, budget: str, scope: str) -> None:
        """Count from zero again in a scope, or in `ALL`; open calls belong to the old count."""

    @abstractmethod
    def rebuild(self) -> int:
        """Compute the counters from the ledger; return the number of those that were wrong."""
