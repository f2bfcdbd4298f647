"""`Slice`: the room of a budget that a process has set aside, as the process remembers it."""

from dataclasses import dataclass

from aibridge_addon.budgets.admission import decide
from aibridge_addon.budgets.budget import Budget, Estimate, Standing
from aibridge_addon.store.sql.counters import Counter


@dataclass(slots=True, kw_only=True)
class Slice:
    """The slice of a counter."""

    counter: Counter
    first_bucket: str
    limit: int
    owned: int
    held: int
    """The part of `owned` that its calls hold."""
    refill_at: int
    """A call is not admitted from the slice if less than this is left of it then."""
    is_used: bool = True
    safe: tuple[int, int] | None = None
    """`owned` and `held` as the last commit left them; None: none has."""
    promising_until: float = 0.0
    """End of the time in which calls may be admitted in memory, once it is committed."""
    promised_until: float = 0.0
    """The same, as the last commit left it."""

    @property
    def free(self) -> int:
        """The amount that no call holds."""
        return self.owned - self.held

    def hold_for(
        self, budget: Budget, estimate: Estimate | None, *, refill_at: int | None = None
    ) -> int | None:
        """Return the amount to hold for a call; None: the slice does not have it."""
        if not budget.refuses:
            return decide(budget, Standing(spent=0, held=0), estimate).hold
        if estimate is None or (budget.is_strict and estimate.worst > budget.limit):
            return None
        amount = estimate.worst if budget.hold == "worst" else estimate.likely
        least = self.refill_at if refill_at is None else refill_at
        return amount if self.free - amount >= least else None

    def hold_in_memory_for(self, budget: Budget, estimate: Estimate | None) -> int | None:
        """Return the amount to hold for a call, whatever becomes of the running transaction."""
        amount = self.hold_for(budget, estimate)
        if amount is None or self.safe is None:
            return None
        owned, held = self.safe
        return None if budget.refuses and owned - held < amount else amount

    def hold_in_memory(self, amount: int) -> None:
        """Hold an amount for a call, whatever becomes of the running transaction."""
        assert self.safe, "`hold_in_memory_for` has looked"
        owned, held = self.safe
        self.safe = owned, held + amount
        self.held += amount
        self.is_used = True

    def commit(self) -> None:
        """Note that a transaction has left it as it is."""
        self.safe = self.owned, self.held
        self.promised_until = self.promising_until
