"""`Budget`: a row of `[[budgets]]`. Pure."""

from dataclasses import dataclass
from typing import Literal

from aibridge_addon.budgets.windows import WindowRule

type Per = Literal["actor", "team", "total"]
type Unit = Literal["usd", "tokens"]
type Action = Literal["refuse", "warn"]
type HoldRule = Literal["worst", "likely"]
type StoreFailure = Literal["refuse", "slice"]
type Choice = Literal["refuse", "allow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A ceiling. Its name is its identity: a changed limit keeps the counters."""

    name: str
    per: Per
    unit: Unit
    limit: int
    """Nano-dollars, or tokens."""
    window: WindowRule
    action: Action = "refuse"
    warn_at: tuple[int, ...] = (80, 100)
    """Percentages of the limit that are reported when they are crossed."""
    hold: HoldRule = "worst"
    is_strict: bool = False
    """True if not even the last call of a window may exceed the limit."""
    unpriced: Choice = "refuse"
    """The choice for calls of models without a price."""
    unread: Choice = "refuse"
    """The choice for billed requests whose usage is not read, such as batches."""
    credential_kinds: tuple[str, ...] = ("centralized",)
    on_store_failure: StoreFailure = "refuse"
    """The choice while the store is away: refuse, or use up the slice that the process owns."""
    wait_s: float = 20.0
    """Longest time that a request waits while calls in flight hold the room."""
    shows_remaining: bool = False
    """True if a header of each response states the money that is left."""

    @property
    def refuses(self) -> bool:
        """True if the budget is a hard one."""
        return self.action == "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The charge of a call before it is sent, in the unit of a budget."""

    worst: int
    """With all output tokens that the request allows."""
    likely: int
    """With the output of the model's usual responses."""
    input: int
    """The part for the input alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of a budget in a scope, at the moment of an admission."""

    spent: int
    held: int
    """Held by calls in flight."""
