"""`Counter`: what a budget counts its charges in."""

from dataclasses import dataclass

from aibridge_addon.budgets.budget import Unit


@dataclass(frozen=True, slots=True, order=True)
class Counter:
    """A counter of a budget in a scope."""

    budget: str
    scope: str
    epoch: int
    """Number of resets before."""
    unit: Unit
    bucket: str
    """Start of a window, or of a sixtieth of a rolling one."""

    @property
    def key(self) -> tuple[str, str, int, Unit, str]:
        """The values of its columns."""
        return (self.budget, self.scope, self.epoch, self.unit, self.bucket)
