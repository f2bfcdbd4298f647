"""Prices of the config file, `[[prices]]`, which win over the price data. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from aibridge_addon.patterns import matches_any
from aibridge_addon.prices.billed_call import BilledCall, UnpriceableError
from aibridge_addon.prices.rates import Price, Rates
from aibridge_addon.prices.sellers import Seller


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Prices that the operator states for some models."""

    match: str
    """A model, or a shell pattern of models."""
    seller: str | None = None
    """A seller or a provider instance; None: all."""
    since: date | None = None
    """The first day on which the prices apply (UTC)."""
    above: int | None = None
    """They apply to prompts of more tokens than that."""
    modifiers: Mapping[str, str] = field(default_factory=dict)
    """They apply to calls with exactly these modifiers."""
    prices: Mapping[str, Decimal]
    """USD per million tokens, or per thousand searches, by the names of `rates`."""

    rates: Rates = field(init=False, repr=False, compare=False)
    """The prices, for a calculation."""

    def __post_init__(self) -> None:
        rates = Rates(
            prices={name: Price(base=price) for name, price in self.prices.items()},
            source=f"config file, {self.match}",
            since=f"from {self.since}" if self.since else "always",
        )
        object.__setattr__(self, "rates", rates)  # the only way to set a field of a frozen class

    def applies_to(self, call: BilledCall, seller: Seller | None) -> bool:
        """Return True if the override is for a call, whatever its modifiers."""
        sellers = (call.provider_name, seller.id if seller else None)
        return (
            matches_any(call.model, (self.match,))
            and (self.seller is None or self.seller in sellers)
            and (self.since is None or call.time >= _midnight(self.since))
            and (self.above is None or call.prompt_tokens > self.above)
        )


def find_override(
    overrides: Sequence[Override],
    call: BilledCall,
    seller: Seller | None,
    selected: Mapping[str, str],
) -> Override | None:
    """Return the override for a call: the latest, and of these the first; None without a match.

    Raises:
        UnpriceableError: the model has an override, and none for the modifiers of this call.
    """
    found = [override for override in overrides if override.applies_to(call, seller)]
    fitting = [override for override in found if override.modifiers == selected]
    if fitting:
        return max(fitting, key=lambda override: (override.since or date.min, override.above or 0))
    if selected and (standard := next((one for one in found if not one.modifiers), None)):
        named = ", ".join(f"{name}={value}" for name, value in selected.items())
        raise UnpriceableError(f"[[prices]] for {standard.match} has no price for {named}")
    return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
