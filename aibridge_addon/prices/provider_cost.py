"""Reads the cost that a provider itself reports, in nano-dollars. Pure."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

_NANO_PER_UNIT: Mapping[str, Decimal] = {
    "cost": Decimal(10) ** 9,  # USD: OpenRouter, Perplexity
    "cost_in_usd_ticks": Decimal("0.1"),  # xAI: 10,000,000,000 ticks are a dollar
}
_MOST = 2**63
"""Larger numbers do not fit into a column."""


def provider_cost_nano_usd(extra: Mapping[str, int | float | str]) -> int | None:
    """Return the reported cost; None if it is missing or not an amount of money."""
    for name, nano in _NANO_PER_UNIT.items():
        if name in extra:
            return _nano(extra[name], nano)
    return None


def _nano(value: float | str, nano: Decimal) -> int | None:
    try:
        amount = Decimal(str(value)) * nano
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount < _MOST:
        return None
    return int(amount.to_integral_value(ROUND_HALF_UP))
