"""Computes the charge of a call when its interception ends. Pure."""

from dataclasses import dataclass
from typing import Literal

from aibridge_addon.budgets.budget import Unit

type How = Literal["told", "estimated", "unpriced", "none", "correction"]
"""Origin of a charge: reported by the provider, estimated, reported without a known price, not
billed; or a later correction of an estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold, as a store keeps it."""

    amount: int
    likely: int
    input: int
    """The likely charge, and the part for the input alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of an interception, and the usage in its record."""

    status: str
    http_status: int | None
    usages: int
    """Number of model calls that reported usage."""
    unpriced: int
    """Those of them without a price."""
    cost_nano_usd: int
    tokens: int
    """Input, cache writes and output, as far as they are known; cache reads do not count."""
    incomplete: int = 0
    """Number of model calls in tokens that did not report all of these."""
    other_units: int = 0
    """Number of model calls that are billed in another unit, such as seconds."""

    @property
    def lacks_tokens(self) -> bool:
        """True if the tokens of some model calls are not known."""
        return bool(self.incomplete or self.other_units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The amount that a budget is debited with."""

    amount: int
    how: How


def charge_of(unit: Unit, hold: Hold, outcome: Outcome) -> Charge:
    """Return the charge of an interception in one budget.

    A response that reported only some of its tokens costs at least what was likely, and one that
    broke off at least its reported tokens and its estimated input, as does one in another unit in a
    budget of tokens. Without usage, or without a price for it, it costs what was likely. A refused
    or failed request is free.
    """
    told = outcome.cost_nano_usd if unit == "usd" else outcome.tokens
    broke_off = outcome.status in ("cancelled", "interrupted")
    failed = outcome.http_status is not None and outcome.http_status >= 400
    if outcome.usages:
        if unit == "usd" and outcome.unpriced:
            # Of a call that broke off, the reported part may just not have been priced yet.
            is_estimate = broke_off and hold.likely > 0
            how: How = "estimated" if is_estimate else "unpriced"
            return Charge(amount=max(told, hold.likely), how=how)
        if unit == "tokens" and outcome.incomplete:
            return Charge(amount=max(told, hold.likely), how="estimated")
        if broke_off or (unit == "tokens" and outcome.other_units):
            return Charge(amount=max(told, hold.input), how="estimated")
        return Charge(amount=told, how="told")
    if outcome.status == "refused" or failed:
        return Charge(amount=0, how="none")
    if broke_off:
        return Charge(amount=hold.input, how="estimated")
    if outcome.http_status is None:  # the connection failed
        return Charge(amount=0, how="none")
    return Charge(amount=hold.likely, how="estimated")


def crossed(thresholds: tuple[int, ...], limit: int, before: int, after: int) -> tuple[int, ...]:
    """Return the percentages of a limit that a settlement has crossed."""
    return tuple(percent for percent in thresholds if before * 100 < percent * limit <= after * 100)
