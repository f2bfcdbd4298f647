"""Money as text. Amounts are integer nano-dollars; an unknown amount is a dash, never zero."""

from decimal import ROUND_HALF_UP, Decimal

UNKNOWN = "—"
NANO_USD = 1_000_000_000
_CENTS = Decimal("0.01")
_FINE = Decimal("0.0001")
_SMALLEST = "<$0.0001"


def usd(nano: int | None) -> str:
    """Return an amount as text: `$12.30`; below a dollar `$0.0123`; `—` if it is unknown."""
    if nano is None:
        return UNKNOWN
    amount = abs(Decimal(nano)) / NANO_USD
    sign = "-" if nano < 0 else ""
    if not nano:
        return "$0.00"
    if amount >= 1:
        return f"{sign}${amount.quantize(_CENTS, ROUND_HALF_UP):,}"
    rounded = amount.quantize(_FINE, ROUND_HALF_UP)
    return f"{sign}${rounded}" if rounded else f"{sign}{_SMALLEST}"


def short_usd(nano: int | None) -> str:
    """Return an amount in as few characters as say most: `$12.30`, `$0.37`, `$0.012`."""
    if nano is None or not 0 < nano < NANO_USD:
        return usd(nano)
    amount = Decimal(nano) / NANO_USD
    step = Decimal(1).scaleb(min(-2, amount.adjusted() - 1))
    return f"${amount.quantize(step, ROUND_HALF_UP)}" if step >= _FINE else usd(nano)


def exact_usd(nano: int | None) -> str:
    """Return an amount in dollars with all nine decimals, for machines; empty if it is unknown."""
    return "" if nano is None else f"{Decimal(nano) / NANO_USD:.9f}"
